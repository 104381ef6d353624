"""COCO 5K evaluation, 5,000 images and 25,010 captions of 1,024 dimensions: time and memory, next to the VSE++ loop.

    python -m benchmarks.coco_eval_speed [--quick]

Each side runs in its own process. Ours is the whole retrieval table: ranks in both directions, figures and intervals.
The VSE++ loop follows its evaluation code: for each query one product with all items, a full sort, and a
search for the positions of the correct items; there in float64, here in float32, which favours it. It supports exactly
five captions per image, so it gets 25,000. Embeddings are synthetic: each caption is its image plus noise, so that
ranks range from first to last. Memory is the peak resident set of the process minus that with the embeddings created.

The bar is for a machine with two cores and no other load; the processor seconds show whether there was any.
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
from itembed_tf.retrieval import QUERY_DIRECTIONS, embedding_scores

SECONDS, GIB = 10.0, 1.0
IMAGES, WIDTH = 5000, 1024


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coco_eval_speed", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the images")
    parser.add_argument("--repeat", type=int, default=3, help="runs of ours; the median counts")
    parser.add_argument("--side", choices=("ours", "vsepp"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    images = IMAGES // 10 if args.quick else IMAGES
    if args.side:
        print(json.dumps(timed(args.side, images)))
        return 0
    print_versions()
    print(f"load before: {os.getloadavg()[0]:.1f}")
    ours = sorted((child("ours", args.quick) for _ in range(args.repeat)), key=lambda result: result["seconds"])
    theirs = child("vsepp", args.quick)
    for name, result in (*(("ours", result) for result in ours), ("VSE++ loop", theirs)):
        print(
            f"{name}: {result['seconds']:.1f} s ({result['processor']:.1f} s of processor), {result['gib']:.2f} GiB "
            f"above the embeddings; R@1 {result['R@1'][0]:.2f} / {result['R@1'][1]:.2f} on {result['captions']:,} "
            "captions"
        )
    median = ours[len(ours) // 2]
    memory = max(result["gib"] for result in ours)
    print(f"the VSE++ loop takes {theirs['seconds'] / median['seconds']:.1f} times as long")
    ok = median["seconds"] < SECONDS and memory < GIB
    figure = f"{median['seconds']:.1f} s, {memory:.2f} GiB"
    return verdict("coco_eval_speed", figure, f"under {SECONDS:.0f} s and {GIB:.0f} GiB", ok)


def child(side: str, quick: bool) -> dict:
    command = [sys.executable, "-m", "benchmarks.coco_eval_speed", "--side", side, *(["--quick"] if quick else [])]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def timed(side: str, count: int) -> dict:
    images, captions, groups = embeddings(count)
    if side == "vsepp":
        captions, groups = captions[: 5 * count], groups[: 5 * count]
    before = _peak()
    wall, processor = time.monotonic(), time.process_time()
    if side == "ours":
        gallery = Gallery(np.arange(count).astype(str), groups.astype(str))
        table = measure("whole", embedding_scores(images, captions), gallery).table
        recall = [table[direction]["R@1"] for direction in QUERY_DIRECTIONS]
    else:
        recall = vsepp(images, captions)
    return {
        "seconds": time.monotonic() - wall,
        "processor": time.process_time() - processor,
        "gib": (_peak() - before) / 2**20,
        "R@1": recall,
        "captions": len(captions),
    }


def embeddings(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors of the images, of five captions each and ten more, and the groups of the captions."""
    generator = np.random.default_rng(0)
    groups = np.concatenate([np.repeat(np.arange(count), 5), np.arange(10)])
    images = generator.standard_normal((count, WIDTH), dtype=np.float32)
    captions = generator.standard_normal((len(groups), WIDTH), dtype=np.float32)
    for start in range(0, len(captions), 1000):
        captions[start : start + 1000] += 0.12 * images[groups[start : start + 1000]]
    for side in (images, captions):
        for row in side:
            row /= np.linalg.norm(row)
    return images, captions, groups


def vsepp(images: np.ndarray, captions: np.ndarray) -> list[float]:
    """R@1 in percent in both directions; the captions are five per image, in the order of the images."""
    image_ranks = []
    for i, image in enumerate(images):
        order = np.argsort(image @ captions.T)[::-1]
        image_ranks.append(min(np.flatnonzero(order == j)[0] for j in range(5 * i, 5 * i + 5)))
    text_ranks = []
    for i in range(len(images)):
        for row in captions[5 * i : 5 * i + 5] @ images.T:
            text_ranks.append(np.flatnonzero(np.argsort(row)[::-1] == i)[0])
    return [float(100 * np.mean(np.array(ranks) < 1)) for ranks in (image_ranks, text_ranks)]


def _peak() -> int:
    """Peak resident set so far, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
