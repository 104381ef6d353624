"""A folder tree of many files as the input of an index: does anything grow faster than their number, and the memory?

    python -m benchmarks.many_files [--files 200000] [--links 5] [--quick]

Tiny distinct PNG files, each under `--links` names (hard links), 1,000 names in a folder, are indexed with a fake
encoder that costs nothing, so that what is measured is all the rest: listing, reading, hashing, thumbnails, SQLite.
Then the index is brought up to date without a change, and with 1,000 new files. Bars: the last tenth of the new files
takes at most 1.5 times the CPU time of the second tenth (the first one fills caches); an update without a change
takes at most 100 us of CPU time a name; at most 1,500 bytes of memory a name.
"""

from __future__ import annotations

import argparse
import os
import resource
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.fake_encoder import empty_index, fake_vector
from benchmarks.runner import print_versions, verdict
from itembed_tf.index.build import build_index
from itembed_tf.index.records import BuildReport
from itembed_tf.index.sources import find_source

IN_FOLDER = 1_000
GROWTH, MICROSECONDS, BYTES = 1.5, 100.0, 1_500.0  # bars
SETTLED = 1 << 27  # bytes of memory that do not depend on the number of files: thumbnails being made, SQLite's cache


class Clock:
    """The fake encoder; it notes the CPU time at which each content was encoded."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, contents: Sequence[bytes]) -> list[NDArray[np.float32] | str]:
        now = time.process_time()
        self.times += [now] * len(contents)
        return [fake_vector(content) for content in contents]

    def tenth(self, number: int) -> float:
        """CPU seconds of a tenth of the contents, 0 to 9."""
        step = len(self.times) // 10
        return self.times[min((number + 1) * step, len(self.times) - 1)] - self.times[number * step]


def png(text: str) -> bytes:
    """A PNG image of one pixel with a text."""
    pixel = zlib.compress(b"\0\x80\x80\x80")
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)), (b"tEXt", b"Comment\0" + text.encode()))
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in (*chunks, (b"IDAT", pixel), (b"IEND", b"")):
        parts.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
    return b"".join(parts)


def write_files(root: Path, first: int, count: int, links: int) -> None:
    for number in range(first, first + count):
        folder = root / f"{number // IN_FOLDER:05d}"
        if number % IN_FOLDER == 0 or number == first:
            for link in range(links):
                (root / str(link) / folder.name).mkdir(parents=True, exist_ok=True)
        file = root / "0" / folder.name / f"{number}.png"
        file.write_bytes(png(f"file {number}"))
        for link in range(1, links):
            os.link(file, root / str(link) / folder.name / f"{number}.png")


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def update(index: Path, sources: Sequence[Path], clock: Clock, what: str, names: int) -> tuple[BuildReport, float]:
    """Bring the index up to date; its report, and the CPU seconds."""
    wall, cpu = time.monotonic(), time.process_time()
    report = build_index(index, [find_source(str(source)) for source in sources], embed_images=clock)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    print(
        f"{what}: {wall:.1f} s, {cpu:.1f} s of CPU time ({1e6 * cpu / names:.0f} us a name); {report.encoded:,} "
        f"encoded, {report.unchanged:,} unchanged; at most {peak_bytes() / 2**20:,.0f} MB",
        flush=True,
    )
    return report, cpu


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.many_files",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--files", type=int, default=200_000, help="files of different content (%(default)s)")
    parser.add_argument("--links", type=int, default=5, help="names of each (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="1,000 files of two names, and no bar of time")
    args = parser.parse_args(argv)
    files, links = (1000, 2) if args.quick else (args.files, args.links)
    names = files * links
    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        root, index, clock = Path(folder) / "files", empty_index(Path(folder) / "i.index"), Clock()
        write_files(root, 0, files, links)
        before = peak_bytes()
        built, _ = update(index, [root], clock, f"{names:,} names of {files:,} files", names)
        growth = clock.tenth(9) / max(clock.tenth(1), 1e-9)
        print(f"CPU time of each tenth of the new files: {', '.join(f'{clock.tenth(n):.1f}' for n in range(10))} s")
        again, cpu = update(index, [], clock, "again, without a change", names)
        write_files(root, files, IN_FOLDER, 1)
        added, _ = update(index, [], clock, f"with {IN_FOLDER:,} more files", names)
        memory = max(0, peak_bytes() - before - SETTLED) / names
    right = (built.items, built.encoded, again.unchanged, added.added) == (names, files, names, IN_FOLDER)
    figure = f"{growth:.2f} x, {1e6 * cpu / names:.0f} us, {memory:,.0f} bytes" + ("" if right else ", wrong counts")
    held = growth <= GROWTH and 1e6 * cpu / names <= MICROSECONDS and memory <= BYTES
    return verdict(
        "many_files", figure, f"{GROWTH} x, {MICROSECONDS:.0f} us, {BYTES:,.0f} bytes", right and (args.quick or held)
    )


if __name__ == "__main__":
    sys.exit(main())
