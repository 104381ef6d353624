"""Lessons on Flickr8k dev: 20 new names, one image each; are other views of the same thing found by the name?

    ITEMBED_FLICKR8K=... python -m benchmarks.teach [RUN] [--quick]

RUN (default runs/flickr8k) is a finished run of the config flickr8k; it is trained if it is missing. 20 photographs of
dev are taken out of the gallery. Of each, one part is taught, and four other views are put into the gallery: the
opposite corner (which shares 9 % of the photograph's area with what is taught), the mirrored middle, one in the dark,
and a small one, tilted and compressed. They stand in for other photographs of one thing, of which Flickr8k has none.
Ten names are invented words, five have an invented and a known word, five only known words.

A view is found if it is among the first ten hits, the taught image left out. Each lesson is a command of its own, and
its time is that of the whole command. Printed beside it: other photographs of the same kind of thing (those with a word
in at least three of their five captions, such as "snowboarder", taught by one of them under an invented name), and the
same by similarity to the taught image, which bounds it. --quick does all of it with a small run on generated images.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

import itembed_tf
from benchmarks.runner import flickr8k, print_versions, train, verdict
from benchmarks.tiny_flickr8k import SMALL, write_tiny_flickr8k
from itembed_tf.config import arguments, load_config
from itembed_tf.data.readers import Group, read_dataset, read_image
from itembed_tf.exporting import read_contract
from itembed_tf.index import Query, open_searcher, writing
from itembed_tf.index.database import reading
from itembed_tf.index.encoders import pack_encoders, store_image_encoder
from itembed_tf.index.generations import start_generation
from itembed_tf.index.items import add_source, put_items
from itembed_tf.index.records import NewItem
from itembed_tf.index.teaching_data import data_file
from itembed_tf.retrieval.calibration import parse_calibration
from itembed_tf.teaching import Lesson, TeachingData, read_data, teaching_bytes
from itembed_tf.teaching.features import text_features
from itembed_tf.teaching.learning import learn
from itembed_tf.teaching.preparation import data_of_run

BAR_FOUND, BAR_LOSS, BAR_SECONDS = 80.0, 0.3, 20.0
NAMES, TOP = 20, 10
SYLLABLES = ("bra", "dor", "fen", "gli", "hax", "jum", "kor", "lup", "mib", "nof", "pri", "quo", "rud", "sil", "tov")
# Things that can be seen, with 4 to 12 photographs in Flickr8k dev; chosen by their names, before any measurement.
KINDS = (
    *("baby", "baseball", "basketball", "bicycle", "bird", "boat", "bus", "cat", "climbing", "couch"),
    *("football", "guitar", "motorcycle", "mountain", "ocean", "playground", "slide", "snowboarder", "swing", "tennis"),
)


@dataclass(frozen=True)
class Thing:
    """A thing to teach: its name, the image file that is taught, and those that are to be found."""

    name: str
    taught: bytes
    others: tuple[bytes, ...]


def views(content: bytes) -> tuple[bytes, ...]:
    """Five views of a photograph as JPEG files: the first is taught, the others are to be found."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    width, height = image.size

    def part(left: float, top: float, right: float, bottom: float) -> Image.Image:
        return image.crop((int(left * width), int(top * height), int(right * width), int(bottom * height)))

    small = image.rotate(8, expand=False, fillcolor=(128, 128, 128)).resize((width // 3 + 1, height // 3 + 1))
    return (
        _jpeg(part(0, 0, 0.65, 0.65)),
        _jpeg(part(0.35, 0.35, 1, 1)),
        _jpeg(ImageOps.mirror(part(0.15, 0.15, 0.85, 0.85))),
        _jpeg(ImageEnhance.Brightness(image).enhance(0.45)),
        _jpeg(small, 35),
    )


def _jpeg(image: Image.Image, quality: int = 90) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def names(words: Sequence[str], count: int) -> list[str]:
    """Half invented words, a quarter with a known word after it, a quarter two known words."""
    random, result = np.random.default_rng(3), list[str]()
    while len(result) < count:
        invented = "".join(random.choice(SYLLABLES, 3))
        known = [str(word) for word in random.choice(words, 2)]
        number = len(result) % 4
        name = {2: f"{invented} {known[0]}", 3: " ".join(known)}.get(number, invented)
        if invented not in words and name not in result:
            result.append(name)
    return result


def build(folder: Path, exports: Path, vectors: NDArray[np.float32]) -> None:
    """An index of images; item 1 is the first."""
    packed = pack_encoders(exports)
    by_text, by_image = np.zeros((2, len(vectors)), np.float32)
    if packed.calibration:
        calibration = parse_calibration(packed.calibration, packed.contract)
        by_text, by_image = calibration.item_biases(vectors.astype(np.float16), "image")
    items = [
        NewItem(
            f"/{i}.jpg", "image", f"{i:064}", "1 1", f"{i}.jpg", "/", vector, text_bias=float(t), image_bias=float(m)
        )
        for i, (vector, t, m) in enumerate(zip(vectors, by_text, by_image))
    ]
    with writing(folder, create=True) as connection:
        generation = start_generation(connection, packed)
        source = add_source(connection, "folder", "/")
        put_items(connection, items, source=source, generation=generation.number, dimensions=packed.dimensions)
    store_image_encoder(exports, folder)


def found(index: Path, things: Sequence[Thing], first: int) -> float:
    """Percent of the views to be found that are among the first ten hits of the name of their thing."""
    searcher, hits = open_searcher(index), 0
    for number, thing in enumerate(things):
        start = first + number * len(thing.others)
        own = set(range(start, start + len(thing.others)))
        answer = searcher.search(Query(thing.name, by="vector", limit=TOP))
        hits += len(own & {hit.item.id for hit in answer.hits})
    searcher.close()
    return 100 * hits / sum(len(thing.others) for thing in things)


def print_bands(index: Path, things: Sequence[Thing], first: int) -> None:
    """What the bands, measured on captions, would promise of the hits of taught names, and what is right."""
    searcher, counts = open_searcher(index), dict[str, list[int]]()
    calibration = searcher.calibration()
    with closing(reading(index)) as connection:
        biases = dict(connection.execute("SELECT item, text_bias FROM vectors"))
    for number, thing in enumerate(things if calibration else ()):
        start = first + number * len(thing.others)
        for hit in searcher.search(Query(thing.name, by="vector", limit=TOP)).hits:
            assert calibration and hit.score is not None
            band = counts.setdefault(calibration.band("text_to_image", hit.score - biases[hit.item.id]), [0, 0])
            band[0] += start <= hit.item.id < start + len(thing.others)
            band[1] += 1
    promises = {band.name: band for band in (calibration.bands.get("text_to_image", ()) if calibration else ())}
    for name, (right, hits) in counts.items():
        if name:
            promised = 100 * promises[name].precision
            share = f"right {100 * right / hits:.0f} %, of captions of dev {promised:.0f} %"
            print(f"hits of taught names in the band {name}: {hits}, {share}")
    searcher.close()


def teach_all(index: Path, things: Sequence[Thing], folder: Path) -> tuple[list[float], list[dict[str, object]]]:
    """One command for each thing; its seconds, and what it printed."""
    seconds, cpu, lessons = [], [], []
    for thing in things:
        file = folder / "taught.jpg"
        file.write_bytes(thing.taught)
        command = [sys.executable, "-m", "itembed_tf", "teach", str(index), thing.name, "--image", str(file), "--json"]
        start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds.append(time.monotonic() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if done.returncode:
            print(f"  {thing.name:24} refused: {done.stderr.strip().splitlines()[-1]}", flush=True)
            continue
        lessons.append(json.loads(done.stdout))
        print(f"  {thing.name:24}{seconds[-1]:6.1f} s   R@1 on dev {lessons[-1]['recall_after']:.2f} %", flush=True)
    print(f"CPU time of a lesson: median {np.median(cpu):.1f} s, longest {max(cpu):.1f} s")
    return seconds, lessons


def kinds(data: TeachingData, groups: Sequence[Group]) -> tuple[float, float, int]:
    """Percent of `KINDS` of which another photograph is among the first ten, by name and by the image; and how many."""
    images, features = data.dev_images.astype(np.float32), text_features(data)
    by_name, by_image = [], []
    for number, word in enumerate(KINDS):
        shown = [i for i, group in enumerate(groups) if sum(word in _words(c) for c in group.captions) > 2]
        own = np.flatnonzero(np.isin(data.dev_image_groups, shown))
        if len(own) < 2:
            continue
        taught = learn(data, features, [Lesson(0, f"zorbal{number}", ("0" * 64,), images[own[:1]])])
        name = taught.encoder.embed(taught.encoder.vocabulary.encode([f"zorbal{number}"]))[0]
        by_name.append(_any_found(images, name, own))
        by_image.append(_any_found(images, images[own[0]], own))
    return 100 * float(np.mean(by_name)), 100 * float(np.mean(by_image)), len(by_name)


def _any_found(images: NDArray[np.float32], query: NDArray[np.float32], own: NDArray[np.intp]) -> bool:
    scores = images @ query
    scores[own[0]] = -np.inf
    return bool(np.isin(np.argsort(-scores)[:TOP], own[1:]).any())


def _words(caption: str) -> list[str]:
    return caption.lower().replace(".", " ").split()


def measure(run: Path, folder: Path, count: int) -> tuple[float, float, list[float]]:
    """Share found after, loss of recall, and seconds of the lessons; prints the rest."""
    config = load_config(run / "config.toml", ['dataset.splits=["dev"]'])
    groups = read_dataset(**arguments(config.dataset))
    chosen = np.random.default_rng(0).permutation(len(groups))[:count]
    words = (run / "vocabulary.txt").read_text(encoding="utf-8").split()
    parts = [views(read_image(groups[i].images[0])) for i in chosen]
    things = [Thing(name, part[0], part[1:]) for name, part in zip(names(words, count), parts)]
    rest = np.setdiff1d(np.arange(len(groups)), chosen)
    index, exports = folder / "photos.index", run / "encoders"
    contract = read_contract(exports).contract
    data = read_data(exports, contract) or data_of_run(run, contract)
    others = itembed_tf.load(exports).embed_images([view for thing in things for view in thing.others])
    shown = data.dev_images[np.isin(data.dev_image_groups, rest)].astype(np.float32)
    build(index, exports, np.concatenate([shown, others]))
    file = data_file(index, contract)
    file.parent.mkdir()
    file.write_bytes(teaching_bytes(data))
    first = len(shown) + 1
    print(f"gallery of {len(shown) + len(others):,} images; data of lessons of {file.stat().st_size / 1e6:.1f} MB")
    before = found(index, things, first)
    seconds, lessons = teach_all(index, things, folder)
    after = found(index, things, first)
    print_bands(index, things, first)
    untaught, last = (float(str(each)) for each in (lessons[0]["recall_before"], lessons[-1]["recall_after"]))
    print(f"views in the first {TOP}: {before:.1f} % before, {after:.1f} % after")
    print(f"R@1 on dev, mean of both directions: {untaught:.2f} % before, {last:.2f} % after all lessons")
    print(f"a lesson: median {np.median(seconds):.1f} s, longest {max(seconds):.1f} s, the whole command")
    by_name, by_image, number = kinds(data, groups)
    if number:
        print(
            f"another photograph of the same kind in the first {TOP}: {by_name:.0f} % of {number} kinds; by "
            f"similarity to the taught image {by_image:.0f} %"
        )
    return after, untaught - last, seconds


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="runs/flickr8k", help="finished run, or where to train one")
    parser.add_argument("--quick", action="store_true", help="a small run on generated images, two names")
    args = parser.parse_args(argv)
    print_versions()
    with tempfile.TemporaryDirectory() as temporary:
        folder, run, count = Path(temporary), Path(args.run), NAMES
        if args.quick:
            root, run, count = write_tiny_flickr8k(folder / "images"), folder / "quick", 3
            train(run, "flickr8k", [f"dataset.root={json.dumps(root)}", *SMALL, "stages.0.epochs=1"])
        else:
            train(run, "flickr8k", [f"dataset.root={json.dumps(flickr8k())}"])
        after, loss, seconds = measure(run, folder, count)
    ok = after >= BAR_FOUND and loss <= BAR_LOSS and max(seconds) <= BAR_SECONDS
    figure = f"{after:.1f} % found, R@1 {-loss:+.2f}, at most {max(seconds):.1f} s a lesson"
    bar = f"{BAR_FOUND:.0f} %, -{BAR_LOSS}, {BAR_SECONDS:.0f} s"
    return verdict("teach", figure, bar, ok or args.quick)


if __name__ == "__main__":
    sys.exit(main())
