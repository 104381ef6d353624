"""Detection of near-duplicates: does the doctor find altered copies, and nothing else?

    ITEMBED_FLICKR8K=... python -m benchmarks.doctor [--copies 25] [--quick]

First it runs on OpenMoji and on Flickr8k (train and dev); these findings are printed for inspection. Then copies are
added in another split to a folder of photographs of Flickr8k and drawings of OpenMoji: the same file, JPEG at quality
60, half the size, mirrored, cropped by 2 % in width and height, darker by a fifth, all of these at once (photographs
only). Images that must not be reported: the originals among themselves, images with another image in their centre,
with exchanged colour channels, drawings with a painted spot, and plain swatches of similar colours. One of each fault
of captions and files is added too.
The figure is the number of missed and false findings. --quick generates its images and reads no dataset.
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


def cropped(image: Image.Image) -> Image.Image:
    across, down = image.width / 100, image.height / 100
    return image.crop((round(across), round(down), round(image.width - across), round(image.height - down)))


def half(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2))


def darker(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(0.8)


def same(image: Image.Image) -> Image.Image:
    return image


def all_at_once(image: Image.Image) -> Image.Image:
    return darker(half(cropped(ImageOps.mirror(image))))


COPIES: dict[str, tuple[Callable[[Image.Image], Image.Image], int]] = {  # and the JPEG quality
    "quality 60": (same, 60),
    "half the size": (half, 90),
    "mirrored": (ImageOps.mirror, 90),
    "cropped by 2 %": (cropped, 90),
    "darker by a fifth": (darker, 90),
}


def middle_of_another(image: Image.Image, other: Image.Image) -> Image.Image:
    changed, (w, h) = image.copy(), image.size
    changed.paste(other.resize((w // 2, h // 2)), (w // 4, h // 4))
    return changed


def other_colours(image: Image.Image, other: Image.Image) -> Image.Image:
    red, green, blue = image.split()
    changed = Image.merge("RGB", (blue, red, green))
    # The result for a grey image would be a copy.
    apart = sum(ImageStat.Stat(ImageChops.difference(image, changed)).mean) / 3
    return changed if apart > 10 else middle_of_another(image, other)


def spotted(image: Image.Image, _other: Image.Image) -> Image.Image:
    changed, (w, h) = image.copy(), image.size
    ImageDraw.Draw(changed).ellipse((w * 0.4, h * 0.4, w * 0.55, h * 0.55), fill=(40, 120, 60), outline="black")
    return changed


UNREADABLE = {
    "cut.png": "a truncated PNG image",
    "page.jpg": "an HTML page",
    "pointer.jpg": "a Git LFS pointer",
    "scan.jpg": "a TIFF image",
}
# Changes that make another image.
OTHERS = {"middle of another": middle_of_another, "other colours": other_colours, "a spot": spotted}


SWATCHES = [(level, level // 2, 40) for level in range(60, 240, 15)] + [(level,) * 3 for level in range(30, 240, 15)]


def photographs(quick: bool, count: int, rng: random.Random) -> list[Image.Image]:
    """Photographs without duplicates; quick: smooth noise at several scales."""
    if quick:
        import numpy as np

        images = []
        for _ in range(count):
            dice = np.random.default_rng(rng.randrange(2**32))
            noise = (Image.fromarray(dice.integers(0, 256, (n, n, 3), np.uint8)) for n in (3, 7, 20))
            layers = [np.asarray(layer.resize((240, 200)), np.float32) for layer in noise]
            mixed = layers[0] * 0.55 + layers[1] * 0.3 + layers[2] * 0.15
            images.append(Image.fromarray(mixed.astype(np.uint8)))
        return images
    settings = Dataset(name="flickr8k", root=flickr8k(), splits=("train", "dev"))
    groups = rng.sample(read_dataset(**arguments(settings)), count)
    return [Image.open(io.BytesIO(Path(str(group.images[0])).read_bytes())).convert("RGB") for group in groups]


def drawings(quick: bool, count: int, rng: random.Random, duplicates: set[str]) -> list[Image.Image]:
    """Drawings of OpenMoji without near-duplicates; quick: none."""
    if quick:
        return []
    groups = [group for group in read_dataset(**arguments(Dataset())) if group.id not in duplicates]
    # One per base emoji: its skin tones are near-duplicates, as the first part shows.
    bases = {group.id.split("-")[0]: group for group in groups if isinstance(group.images[0], bytes)}
    chosen = rng.sample(sorted(bases), count)
    return [Image.open(io.BytesIO(bytes(bases[base].images[0]))).convert("RGB") for base in chosen]  # type: ignore[arg-type]


def plant(folder: Path, kinds: dict[str, list[Image.Image]], per_kind: int) -> tuple[dict[str, str], set[str]]:
    """Write the folder; returns the original of each planted copy, and the names of images that are no copies."""
    planted: dict[str, str] = {}
    others: set[str] = set()
    rows: list[tuple[str, str, str]] = []

    def write(name: str, image: Image.Image, split: str, quality: int = 0) -> str:
        name += ".jpg" if quality else ".png"
        image.save(folder / name, quality=quality)  # ignored for PNG
        rows.append((name, f"caption of {name.replace('.', ' ')} alone", split))
        return name

    for what, images in kinds.items():
        originals = [write(f"{what} {i}", image, "train") for i, image in enumerate(images)]
        deck = iter(range(len(images)))
        ways = dict(COPIES) | ({"all at once": (all_at_once, 60)} if what == "photograph" else {})
        for way, (change, quality) in ways.items():
            for _ in range(per_kind):
                i = next(deck)
                planted[write(f"{what} {i} {way}", change(images[i]), "dev", quality)] = originals[i]
        for _ in range(per_kind):
            i = next(deck)
            copy = f"{what} {i} same file.png"
            (folder / copy).write_bytes((folder / originals[i]).read_bytes())
            rows.append((copy, f"caption of {copy}", "dev"))
            planted[copy] = originals[i]
        for way, alter in OTHERS.items():
            if (what, way) == ("photograph", "a spot"):  # arguably a copy
                continue
            for _ in range(per_kind):
                i = next(deck)
                others.add(write(f"{what} {i} {way}", alter(images[i], images[i - 1]), "dev"))
    for i, colour in enumerate(SWATCHES):
        others.add(write(f"swatch {i}", Image.new("RGB", (90, 60), colour), "dev"))
    rows += [(rows[0][0], "...", "train"), (rows[0][0], "word " * 40, "train"), (rows[0][0], " ", "train")]
    rows += [(rows[n][0], "one caption of two images", "train") for n in (0, 1)]
    (folder / "cut.png").write_bytes((folder / rows[0][0]).read_bytes()[:400])
    (folder / "page.jpg").write_text("<!DOCTYPE html><html></html>", encoding="utf-8")
    (folder / "pointer.jpg").write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")
    kinds["photograph"][0].save(folder / "scan.jpg", "TIFF")
    rows += [(name, f"the file {name.split('.')[0]}", "train") for name in UNREADABLE]
    Image.new("RGB", (9, 9)).save(folder / "no caption.png")
    with (folder / "captions.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("image", "caption", "split"), *rows])
    return planted, others


def examine(out: Path, config: str, settings: list[str]) -> dict[str, Any]:
    """Run the command, print its summary, and return its findings."""
    started, out_text = time.monotonic(), io.StringIO()
    with contextlib.redirect_stdout(out_text):
        code = doctor([config, str(out), *(part for each in settings for part in ("--set", each))])
    print(out_text.getvalue().split("\npage:")[0].strip())
    print(f"  exit code {code}; {time.monotonic() - started:.0f} s", flush=True)
    return {**json.loads((out / "doctor.json").read_text(encoding="utf-8")), "code": code}


def judge(report: dict[str, Any], planted: dict[str, str]) -> list[str]:
    """Missed and false findings, in words."""
    wrong = []
    sets = {id: set(entry["groups"]) for entry in report["near_duplicates"] for id in entry["groups"]}
    for copy, original in planted.items():
        if original not in sets.get(copy, ()):
            wrong.append(f"missed: {copy}")
    for entry in report["near_duplicates"]:
        allowed = {name for copy, original in planted.items() for name in (copy, original) if copy in entry["groups"]}
        wrong += [f"no copy: {id}" for id in entry["groups"] if id not in allowed]
    captions = report["captions"]
    for kind, count in (("without_words", 1), ("truncated", 1), ("empty", 1)):
        if captions[kind]["count"] != count:
            wrong.append(f"{kind}: {captions[kind]['count']} captions, {count} were planted")
    duplicates = captions["duplicates"]["shown"]
    if [(entry["caption"], entry["count"]) for entry in duplicates] != [("one caption of two images", 2)]:
        wrong.append(f"duplicate captions: {duplicates[:3]}")
    reasons = {Path(entry["image"]).name: entry["reason"] for entry in report["unreadable"]}
    if reasons.keys() != UNREADABLE.keys() or any(what not in reasons[name] for name, what in UNREADABLE.items()):
        wrong.append(f"unreadable images: {reasons}")
    if report["without_caption"] != ["no caption.png"]:
        wrong.append(f"images without a caption: {report['without_caption'][:3]}")
    if report["code"] != 1:
        wrong.append("leakage, and exit code 0")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=25, help="copies of each kind, of photographs and of drawings")
    parser.add_argument("--out", default="runs/doctor", help="folder of the reports on the datasets")
    parser.add_argument("--quick", action="store_true", help="generated images, a few copies, no dataset")
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    print_versions()
    duplicates: set[str] = set()
    if not args.quick:
        report = examine(Path(args.out) / "openmoji", "", [])
        duplicates = {id for entry in report["near_duplicates"] for id in entry["groups"]}
        examine(Path(args.out) / "flickr8k", CONFIG, [f"dataset.root={flickr8k()}", 'dataset.splits=["train","dev"]'])
    copies = 2 if args.quick else args.copies
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "planted"
        root.mkdir()
        kinds = {"photograph": photographs(args.quick, 10 * copies, rng)}
        kinds |= {"drawing": shown} if (shown := drawings(args.quick, 9 * copies, rng, duplicates)) else {}
        planted, others = plant(root, kinds, copies)
        print(f"planted: {len(planted)} copies, {len(others)} changed images that are none", flush=True)
        (Path(folder) / "planted.toml").write_text("", encoding="utf-8")
        settings = ["dataset.name=folder", f"dataset.root={root}", 'dataset.splits=["train","dev"]', "text.length=32"]
        settings += ["word_vectors.source=random"]
        wrong = judge(examine(Path(folder) / "out", str(Path(folder) / "planted.toml"), settings), planted)
    for line in wrong:
        print(f"  {line}")
    checked = len(planted) + len(others) + 6 + len(UNREADABLE)
    return verdict("doctor", f"{len(wrong)} of {checked} copies and other images missed or false", "0", not wrong)


if __name__ == "__main__":
    sys.exit(main())
