"""COCO 5K evaluation, 5,000 pictures by 25,010 captions of 1,024 numbers: seconds, memory, and VSE++'s own loop beside.

    python -m benchmarks.coco_eval_speed [--quick]

Each side runs in a process of its own. Ours is the whole metrics block: ranks both ways, the table and its intervals.
VSE++'s way, written anew from what its evaluation does: for each query one product with all items, a full sort, and a
search for the places of the right ones; there in float64, here in float32, which favours it. It knows five captions a
picture only, so it gets 25,000. The embeddings are made: each caption is its picture and noise, so that ranks go from
first to far. Memory is the largest resident set of the process less what that was with the embeddings made.

The bar is for a machine of two cores with nothing else on it; the processor seconds tell whether there was.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.runner import print_versions, verdict
from itembed_tf.evaluation.gallery import Gallery
from itembed_tf.evaluation.protocols import measure
from itembed_tf.retrieval import scores_of

SECONDS, GIB = 10.0, 1.0
PICTURES, WIDTH = 5000, 1024


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coco_eval_speed", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the pictures")
    parser.add_argument("--repeat", type=int, default=3, help="runs of ours; the middle one counts")
    parser.add_argument("--side", choices=("ours", "vsepp"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    pictures = PICTURES // 10 if args.quick else PICTURES
    if args.side:
        print(json.dumps(timed(args.side, pictures)))
        return 0
    print_versions()
    print(f"load before: {os.getloadavg()[0]:.1f}")
    ours = sorted((child("ours", args.quick) for _ in range(args.repeat)), key=lambda told: told["seconds"])
    theirs = child("vsepp", args.quick)
    for name, told in (*(("ours", told) for told in ours), ("VSE++'s loop", theirs)):
        print(
            f"{name}: {told['seconds']:.1f} s ({told['processor']:.1f} s of processor), {told['gib']:.2f} GiB above "
            f"the embeddings; R@1 {told['R@1'][0]:.2f} / {told['R@1'][1]:.2f} on {told['captions']:,} captions"
        )
    middle = ours[len(ours) // 2]
    memory = max(told["gib"] for told in ours)
    print(f"VSE++'s loop takes {theirs['seconds'] / middle['seconds']:.1f} times as long")
    ok = middle["seconds"] < SECONDS and memory < GIB
    figure = f"{middle['seconds']:.1f} s, {memory:.2f} GiB"
    return verdict("coco_eval_speed", figure, f"under {SECONDS:.0f} s and {GIB:.0f} GiB", ok)


def child(side: str, quick: bool) -> dict:
    command = [sys.executable, "-m", "benchmarks.coco_eval_speed", "--side", side, *(["--quick"] if quick else [])]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def timed(side: str, pictures: int) -> dict:
    images, captions, groups = embeddings(pictures)
    if side == "vsepp":
        captions, groups = captions[: 5 * pictures], groups[: 5 * pictures]
    before = _peak()
    wall, processor = time.monotonic(), time.process_time()
    if side == "ours":
        names = Gallery(np.arange(pictures).astype(str), groups.astype(str))
        block, _ = measure("whole", scores_of(images, captions), names)
        recall = [block[way]["R@1"] for way in ("image_query", "text_query")]
    else:
        recall = vsepp(images, captions)
    return {
        "seconds": time.monotonic() - wall,
        "processor": time.process_time() - processor,
        "gib": (_peak() - before) / 2**20,
        "R@1": recall,
        "captions": len(captions),
    }


def embeddings(pictures: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors of the pictures, of five captions each and ten more, and the captions' groups."""
    draws = np.random.default_rng(0)
    groups = np.concatenate([np.repeat(np.arange(pictures), 5), np.arange(10)])
    images = draws.standard_normal((pictures, WIDTH), dtype=np.float32)
    captions = draws.standard_normal((len(groups), WIDTH), dtype=np.float32)
    for start in range(0, len(captions), 1000):
        captions[start : start + 1000] += 0.12 * images[groups[start : start + 1000]]
    for side in (images, captions):
        for row in side:
            row /= np.linalg.norm(row)
    return images, captions, groups


def vsepp(images: np.ndarray, captions: np.ndarray) -> list[float]:
    """R@1 in percent, both ways, of captions that stand five by five in the order of the pictures."""
    first = []
    for i, image in enumerate(images):
        order = np.argsort(image @ captions.T)[::-1]
        first.append(min(np.flatnonzero(order == j)[0] for j in range(5 * i, 5 * i + 5)))
    place = []
    for i in range(len(images)):
        for row in captions[5 * i : 5 * i + 5] @ images.T:
            place.append(np.flatnonzero(np.argsort(row)[::-1] == i)[0])
    return [float(100 * np.mean(np.array(found) < 1)) for found in (first, place)]


def _peak() -> int:
    """The largest resident set so far, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
