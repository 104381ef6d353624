"""Building an index: how much slower is it than the image encoder alone, and is a resumed index the same?

    python -m benchmarks.index_build --encoders RUN [--images 1000] [--rounds 3] [--kills 3] [--no-ray]
                                   [--quick]

The images are those of Flickr8k (`ITEMBED_FLICKR8K`), in the order of their names. In turn, in one process, with the
same loaded encoder: the encoder alone, called with batches of 32 files that are in memory; and `build_index` into a new
index, which lists, reads, hashes, encodes, corrects for hubs, makes thumbnails and commits. The figure is the median of
the rounds' ratios of images per second. Then the command `itembed index` is killed (SIGKILL) several times and given
again; all items, vectors and thumbnails must be equal bit for bit to those of an undisturbed index, and so must those
of an index that two Ray workers build.

`--quick` is a smoke test: 64 drawn images and a tiny encoder, whose speed says nothing, so that only equality counts.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from benchmarks.runner import flickr8k, print_versions, verdict

BATCH = 32
BAR = 0.9
TABLES = {
    "items": "SELECT * FROM items ORDER BY id",
    "vectors": "SELECT * FROM vectors ORDER BY row",
    "thumbnails": "SELECT * FROM thumbnails ORDER BY content",
    "texts": "SELECT rowid, captions, name, folder FROM texts ORDER BY rowid",
    "unreadable": "SELECT * FROM unreadable ORDER BY place",
}


def copy_images(folder: Path, count: int, *, drawn: bool) -> Path:
    """The first images of Flickr8k in a folder of their own, or as many `drawn` ones."""
    folder.mkdir()
    if drawn:
        for number in range(count):
            Image.new("RGB", (60 + number % 9, 40), (number % 251, 80, 11 * number % 256)).save(
                folder / f"{number}.jpg"
            )
        return folder
    files = sorted((Path(flickr8k()) / "Flicker8k_Dataset").glob("*.jpg"))
    for file in files[:count]:
        shutil.copy2(file, folder)
    return folder


class Time(NamedTuple):
    """Seconds on the clock, and of CPU time in all threads of this process."""

    wall: float
    cpu: float


def timed(action: Callable[[], object]) -> Time:
    wall, cpu = time.monotonic(), time.process_time()
    action()
    return Time(time.monotonic() - wall, time.process_time() - cpu)


def encode(encoder: Any, contents: Sequence[bytes]) -> None:
    for start in range(0, len(contents), BATCH):
        encoder.embed(contents[start : start + BATCH])


def build(encoder: Any, index: Path, photos: Path) -> None:
    from itembed_tf.index.build import build_index
    from itembed_tf.index.sources import find_source

    report = build_index(index, [find_source(str(photos))], embed_images=encoder.embed)
    if report.unreadable or report.problems:
        raise SystemExit(f"unreadable images: {report.unreadable} {report.problems}")


def empty_index(folder: Path, encoders: Path) -> Path:
    """An index with encoders and no items."""
    from itembed_tf.index.database import writing
    from itembed_tf.index.encoders import find_exports, pack_encoders, store_image_encoder
    from itembed_tf.index.generations import start_generation

    exports = find_exports(encoders)
    with writing(folder, create=True) as connection:
        start_generation(connection, pack_encoders(exports))
        store_image_encoder(exports, folder)
    return folder


def empty_copy(empty: Path, index: Path) -> Path:
    return Path(shutil.copytree(empty, index))


def content(index: Path) -> dict[str, list[Any]]:
    """All rows of the tables."""
    from itembed_tf.index.database import reading

    with closing(reading(index)) as connection:
        return {name: connection.execute(query).fetchall() for name, query in TABLES.items()}


def resumed(empty: Path, index: Path, photos: Path, kills: int, duration: float, draw: random.Random) -> int:
    """Build with the command, killed several times; returns how many of the kills came before its end."""
    empty_copy(empty, index)
    done = 0
    command = [sys.executable, "-m", "itembed_tf", "index", str(index), str(photos)]
    for attempt in range(kills + 1):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if attempt < kills:
            items = len(content(index)["items"])
            while process.poll() is None and len(content(index)["items"]) == items:
                time.sleep(0.02)  # loading the encoder is no part of what is to be interrupted
            time.sleep(draw.uniform(0, duration / (kills + 1)))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                done += 1
        error = process.communicate()[1]
        if process.returncode not in (0, -signal.SIGKILL):
            raise SystemExit(f"itembed index failed:\n{error}")
    return done


def measure(
    encoders: Path, folder: Path, images: int, rounds: int, kills: int, *, ray: bool, drawn: bool
) -> tuple[float, list[str]]:
    """The median ratio of the rates, and what differs between a resumed and an undisturbed index."""
    from itembed_tf.index.build import build_index
    from itembed_tf.index.database import reading
    from itembed_tf.index.generations import current_generation
    from itembed_tf.index.image_encoder import ImageEncoder
    from itembed_tf.index.sources import find_source

    photos = copy_images(folder / "photos", images, drawn=drawn)
    empty = empty_index(folder / "empty.index", encoders)
    with closing(reading(empty)) as connection:
        generation = current_generation(connection)
        assert generation is not None
    encoder = ImageEncoder(empty, generation.contract)
    contents = [file.read_bytes() for file in sorted(photos.iterdir())]
    encode(encoder, contents[: 2 * BATCH])  # traces, and fills the caches
    ratios, of_build = [], Time(0, 0)
    for number in range(rounds):
        index = empty_copy(empty, folder / f"{number}.index")
        alone = timed(lambda: encode(encoder, contents))
        of_build = timed(lambda index=index: build(encoder, index, photos))  # type: ignore[misc]
        ratios.append(alone.wall / of_build.wall)
        print(
            f"round {number + 1}: encoder alone {images / alone.wall:.1f} images/s, index {images / of_build.wall:.1f} "
            f"images/s, ratio {ratios[-1]:.3f}, in CPU time {alone.cpu / of_build.cpu:.3f}",
            flush=True,
        )
    done = resumed(empty, folder / "resumed.index", photos, kills, of_build.wall, random.Random(0))
    undisturbed, other = content(folder / "0.index"), content(folder / "resumed.index")
    different = [name for name in TABLES if undisturbed[name] != other[name]]
    print(f"resumed after {done} kills: {', '.join(different) or 'nothing'} differs from the undisturbed index")
    if kills and not done:
        different.append("no kill came before the end")
    if ray:
        begun = time.monotonic()
        build_index(empty_copy(empty, folder / "ray.index"), [find_source(str(photos))], ray_workers=2)
        apart = [name for name, rows in content(folder / "ray.index").items() if rows != undisturbed[name]]
        text = ", ".join(apart) or "nothing"
        print(f"two Ray workers: {images / (time.monotonic() - begun):.1f} images/s with their start; {text} differs")
        different += [f"{name} by Ray" for name in apart]
    return statistics.median(ratios), different


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.index_build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--encoders", metavar="RUN", help="a run directory, or a folder of exports")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="64 drawn images, a tiny encoder, no bar for the rate")
    parser.add_argument("--no-ray", action="store_true", help="leave out the index that two Ray workers build")
    args = parser.parse_args(argv)
    ray = not (args.no_ray or args.quick)
    if not args.quick and not args.encoders:
        parser.error("--encoders RUN names the encoders to measure with")
    print_versions()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encoders = Path(args.encoders) if args.encoders else tiny_export(folder / "export")
        images, rounds, kills = (64, 1, 1) if args.quick else (args.images, args.rounds, args.kills)
        ratio, different = measure(encoders, folder, images, rounds, kills, ray=ray, drawn=args.quick)
    ok = not different and (args.quick or ratio >= BAR)
    same = "others equal" if not different else f"others differ: {', '.join(different)}"
    return verdict("index_build", f"{100 * ratio:.1f} % of the encoder's rate, {same}", f"{100 * BAR:.0f} %, equal", ok)


def tiny_export(folder: Path) -> Path:
    """An export of a tiny model with random weights."""
    from benchmarks.served import toy_export

    return toy_export(folder)


if __name__ == "__main__":
    sys.exit(main())
