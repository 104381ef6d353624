"""Does the doctor find copies that were planted, however altered, and nothing that is no copy?

    ITEMBED_FLICKR8K=... python -m benchmarks.doctor [--copies 25] [--quick]

First what it finds on OpenMoji and on Flickr8k (train and dev) as they are: findings to be looked at, not judged.
Then, in a folder of photographs of Flickr8k and drawings of OpenMoji, copies are planted in another split: the same
file, JPEG at quality 60, half the size, mirrored, cropped by 2 % in width and height, darker by a fifth, all of these
at once (photographs only). What must not be reported are the untouched pictures among themselves, pictures in whose
middle another stands, pictures whose colours changed places, and drawings with a spot painted on. Faults of captions
and files are planted too, one of each. The figure is what was missed and what was reported wrongly. --quick draws its
own pictures and looks at no data set.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageOps, ImageStat

from benchmarks.runner import flickr8k, print_versions, verdict
from itembed_tf.config import arguments
from itembed_tf.config.schema import Dataset
from itembed_tf.data.readers import read_dataset
from itembed_tf.doctor.__main__ import main as doctor

CONFIG = str(Path(__file__).parents[1] / "configs" / "flickr8k.toml")


def cropped(picture: Image.Image) -> Image.Image:
    across, down = picture.width / 100, picture.height / 100
    return picture.crop((round(across), round(down), round(picture.width - across), round(picture.height - down)))


def half(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2))


def darker(picture: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(0.8)


def same(picture: Image.Image) -> Image.Image:
    return picture


def all_at_once(picture: Image.Image) -> Image.Image:
    return darker(half(cropped(ImageOps.mirror(picture))))


COPIES: dict[str, tuple[Callable[[Image.Image], Image.Image], int]] = {  # and the quality of the JPEG
    "quality 60": (same, 60),
    "half the size": (half, 90),
    "mirrored": (ImageOps.mirror, 90),
    "cropped by 2 %": (cropped, 90),
    "darker by a fifth": (darker, 90),
}


def middle_of_another(picture: Image.Image, other: Image.Image) -> Image.Image:
    changed, (w, h) = picture.copy(), picture.size
    changed.paste(other.resize((w // 2, h // 2)), (w // 4, h // 4))
    return changed


def other_colours(picture: Image.Image, other: Image.Image) -> Image.Image:
    red, green, blue = picture.split()
    changed = Image.merge("RGB", (blue, red, green))
    # Of a grey picture that would be a copy.
    apart = sum(ImageStat.Stat(ImageChops.difference(picture, changed)).mean) / 3
    return changed if apart > 10 else middle_of_another(picture, other)


def spotted(picture: Image.Image, _other: Image.Image) -> Image.Image:
    changed, (w, h) = picture.copy(), picture.size
    ImageDraw.Draw(changed).ellipse((w * 0.4, h * 0.4, w * 0.55, h * 0.55), fill=(40, 120, 60), outline="black")
    return changed


# Kinds of change that make another picture.
OTHERS = {"middle of another": middle_of_another, "other colours": other_colours, "a spot": spotted}


def photographs(quick: bool, count: int, rng: random.Random) -> list[Image.Image]:
    """Photographs that are no copies of each other; quick: smooth noise of several scales."""
    if quick:
        import numpy as np

        pictures = []
        for _ in range(count):
            dice = np.random.default_rng(rng.randrange(2**32))
            noise = (Image.fromarray(dice.integers(0, 256, (n, n, 3), np.uint8)) for n in (3, 7, 20))
            layers = [np.asarray(layer.resize((240, 200)), np.float32) for layer in noise]
            mixed = layers[0] * 0.55 + layers[1] * 0.3 + layers[2] * 0.15
            pictures.append(Image.fromarray(mixed.astype(np.uint8)))
        return pictures
    settings = Dataset(name="flickr8k", root=flickr8k(), splits=("train", "dev"))
    groups = rng.sample(read_dataset(**arguments(settings)), count)
    return [Image.open(io.BytesIO(Path(str(group.images[0])).read_bytes())).convert("RGB") for group in groups]


def drawings(quick: bool, count: int, rng: random.Random, alike: set[str]) -> list[Image.Image]:
    """Drawings of OpenMoji that have no likeness among themselves; quick: none."""
    if quick:
        return []
    groups = [group for group in read_dataset(**arguments(Dataset())) if group.id not in alike]
    # Of one base emoji only one: its skin tones differ by little, and which pairs do is what the first part shows.
    bases = {group.id.split("-")[0]: group for group in groups if isinstance(group.images[0], bytes)}
    chosen = rng.sample(sorted(bases), count)
    return [Image.open(io.BytesIO(bytes(bases[base].images[0]))).convert("RGB") for base in chosen]  # type: ignore[arg-type]


def plant(folder: Path, kinds: dict[str, list[Image.Image]], per_kind: int) -> tuple[dict[str, str], set[str]]:
    """Write the folder; gives copy -> original of all planted copies, and the names of what is no copy."""
    planted: dict[str, str] = {}
    innocent: set[str] = set()
    rows: list[tuple[str, str, str]] = []

    def write(name: str, picture: Image.Image, split: str, quality: int = 0) -> str:
        name += ".jpg" if quality else ".png"
        picture.save(folder / name, quality=quality)  # PNG has none, and takes no notice
        rows.append((name, f"caption of {name.replace('.', ' ')} alone", split))
        return name

    for what, pictures in kinds.items():
        originals = [write(f"{what} {i}", picture, "train") for i, picture in enumerate(pictures)]
        deck = iter(range(len(pictures)))
        ways = dict(COPIES) | ({"all at once": (all_at_once, 60)} if what == "photograph" else {})
        for way, (change, quality) in ways.items():
            for _ in range(per_kind):
                i = next(deck)
                planted[write(f"{what} {i} {way}", change(pictures[i]), "dev", quality)] = originals[i]
        for _ in range(per_kind):
            i = next(deck)
            copy = f"{what} {i} same file.png"
            (folder / copy).write_bytes((folder / originals[i]).read_bytes())
            rows.append((copy, f"caption of {copy}", "dev"))
            planted[copy] = originals[i]
        for way, alter in OTHERS.items():
            if (what, way) == ("photograph", "a spot"):  # a photograph with a mark on it is a copy to some
                continue
            for _ in range(per_kind):
                i = next(deck)
                innocent.add(write(f"{what} {i} {way}", alter(pictures[i], pictures[i - 1]), "dev"))
    rows += [(rows[0][0], "...", "train"), (rows[0][0], "word " * 40, "train")]
    rows += [(rows[n][0], "one sentence on two pictures", "train") for n in (0, 1)]
    (folder / "cut.png").write_bytes((folder / rows[0][0]).read_bytes()[:400])
    rows.append(("cut.png", "a file that was cut short", "train"))
    with (folder / "captions.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("image", "caption", "split"), *rows])
    return planted, innocent


def examine(out: Path, config: str, settings: list[str]) -> dict[str, Any]:
    """Run the program as a user would, echo its summary, and give its findings."""
    started, said = time.monotonic(), io.StringIO()
    with contextlib.redirect_stdout(said):
        code = doctor([config, str(out), *(part for each in settings for part in ("--set", each))])
    print(said.getvalue().split("\npage:")[0].strip())
    print(f"  exit status {code}; {time.monotonic() - started:.0f} s", flush=True)
    return {**json.loads((out / "doctor.json").read_text(encoding="utf-8")), "code": code}


def judge(report: dict[str, Any], planted: dict[str, str]) -> list[str]:
    """What was missed and what was reported wrongly, in words."""
    wrong = []
    found = {id: set(entry["groups"]) for entry in report["alike"] for id in entry["groups"]}
    for copy, original in planted.items():
        if original not in found.get(copy, ()):
            wrong.append(f"missed: {copy}")
    for entry in report["alike"]:
        allowed = {name for copy, original in planted.items() for name in (copy, original) if copy in entry["groups"]}
        wrong += [f"no copy: {id}" for id in entry["groups"] if id not in allowed]
    captions = report["captions"]
    for kind, count in (("wordless", 1), ("long", 1)):
        if captions[kind]["count"] != count:
            wrong.append(f"{kind}: {captions[kind]['count']} captions, {count} were planted")
    if [(entry["sentence"], entry["count"]) for entry in captions["same"]["shown"]] != [
        ("one sentence on two pictures", 2)
    ]:
        wrong.append(f"same sentence: {captions['same']['shown'][:3]}")
    if [Path(entry["image"]).name for entry in report["broken"]] != ["cut.png"]:
        wrong.append(f"broken files: {report['broken'][:3]}")
    if report["code"] != 1:
        wrong.append("a leak, and exit status 0")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=25, help="planted copies of a kind, of photographs and drawings")
    parser.add_argument("--out", default="runs/doctor", help="folder for the pages about the real data sets")
    parser.add_argument("--quick", action="store_true", help="drawn pictures, a few copies, no data set")
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    print_versions()
    alike: set[str] = set()
    if not args.quick:
        report = examine(Path(args.out) / "openmoji", "", [])
        alike = {id for entry in report["alike"] for id in entry["groups"]}
        examine(Path(args.out) / "flickr8k", CONFIG, [f"dataset.root={flickr8k()}", 'dataset.splits=["train","dev"]'])
    copies = 2 if args.quick else args.copies
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "planted"
        root.mkdir()
        kinds = {"photograph": photographs(args.quick, 10 * copies, rng)}
        kinds |= {"drawing": shown} if (shown := drawings(args.quick, 9 * copies, rng, alike)) else {}
        planted, innocent = plant(root, kinds, copies)
        print(f"planted: {len(planted)} copies, {len(innocent)} changed pictures that are none", flush=True)
        (Path(folder) / "planted.toml").write_text("", encoding="utf-8")
        settings = ["dataset.name=folder", f"dataset.root={root}", 'dataset.splits=["train","dev"]', "text.length=32"]
        settings += ["word_vectors.source=random"]
        wrong = judge(examine(Path(folder) / "out", str(Path(folder) / "planted.toml"), settings), planted)
    for line in wrong:
        print(f"  {line}")
    checked = len(planted) + len(innocent) + 5
    return verdict("doctor", f"{len(wrong)} of {checked} planted faults and non-faults missed or wrong", "0", not wrong)


if __name__ == "__main__":
    sys.exit(main())
