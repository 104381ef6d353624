"""Our evaluation and the package eccv-caption on the same similarity matrices: COCO 1K and 5K, CxC, ECCV Caption, PMRP.

    python -m benchmarks.protocols [--quick]

The bar: every figure equal, on 20 random matrices and one set of embeddings built from real relations. "Equal" means
within 1e-9 percent points: the two implementations sum in different orders, so the last bits of a mean differ.

The matrices have 5,000 images and 25,000 captions with COCO's ids. Random ones are noise plus a bonus, from zero to
large, for the pairs that the original data, CxC or ECCV Caption list as correct, so that the figures range from chance
to nearly 100 %. COCO's photographs are not used, so the 21st is not from an encoder: its embeddings are **built from
the published relations** (each caption is moved towards the images that CxC and ECCV list, some images are hubs, some
captions occur twice) and pass through the whole evaluation, from embeddings, with its rule for ties. PMRP's plausible
matches are not in the package; both sides get the same synthetic ones.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runner import print_versions, verdict
from itembed_tf.evaluation.coco_positives import captions_in_order, correct_answers, image_of_caption
from itembed_tf.evaluation.gallery import Gallery
from itembed_tf.evaluation.protocols import by_answers, measure
from itembed_tf.retrieval import Scores, embedding_scores, matrix_scores

EQUAL = 1e-9  # percent points
KS = (1, 5, 10)
DEPTH = 60  # length of the ranked lists; no query has more correct answers
PEER_DIRECTIONS = {"image_query": "i2t", "text_query": "t2i"}
Relations = tuple[Mapping[int, Sequence[int]], Mapping[int, Sequence[int]]]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.protocols", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one random matrix and no embeddings")
    parser.add_argument("--matrices", type=int, default=20, help="random matrices")
    args = parser.parse_args(argv)
    from importlib.metadata import version

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ujson is not installed
        from eccv_caption import Metrics

    print_versions()
    print(f"eccv-caption {version('eccv-caption')}")
    captions, owners = captions_in_order(), image_of_caption()
    images = np.array([owners[caption] for caption in captions[::5].tolist()])
    worst, figures = 0.0, 0
    with tempfile.TemporaryDirectory() as place:
        plausible = write_plausible(Path(place), images, captions)
        peer = Metrics(extra_file_dir=place)
        for name, scores, matrix in matrices(images, captions, 1 if args.quick else args.matrices, args.quick):
            started = time.monotonic()
            ours = our_figures(scores, images, captions, plausible)
            between = time.monotonic()
            theirs = peer_figures(peer, matrix, scores, images, captions, plausible)
            apart = {key: abs(ours[key] - theirs[key]) for key in theirs}
            key = max(apart, key=lambda key: apart[key])
            worst, figures = max(worst, apart[key]), figures + len(apart)
            print(
                f"{name}: {len(apart)} figures, at most {apart[key]:.1e} points apart ({key}); "
                f"coco-5k R@1 {ours['coco-5k image_query R@1']:.2f} / {ours['coco-5k text_query R@1']:.2f}, eccv mAP@R "
                f"{ours['eccv image_query mAP@R']:.2f} / {ours['eccv text_query mAP@R']:.2f}; "
                f"{between - started:.0f} s against {time.monotonic() - between:.0f} s",
                flush=True,
            )
            for key in (key for key in apart if apart[key] > EQUAL):
                print(f"  {key}: ours {ours[key]!r}, eccv-caption {theirs[key]!r}")
    ok = worst <= EQUAL
    return verdict("protocols", f"{figures} figures, at most {worst:.1e} points apart", f"{EQUAL:.0e}", ok)


def our_figures(scores: Scores, images: np.ndarray, captions: np.ndarray, plausible: Relations) -> dict[str, float]:
    owners = image_of_caption()
    groups = np.array([str(owners[caption]) for caption in captions.tolist()])
    gallery = Gallery(images.astype(str), groups, captions)
    tables = {name: measure(name, scores, gallery).table for name in ("coco-1k", "coco-5k", "cxc", "eccv")}
    tables["pm"] = by_answers(scores, gallery, plausible, "pm", precision=True).table
    return {
        f"{name} {direction} {key}": value
        for name, table in tables.items()
        for direction in PEER_DIRECTIONS
        for key, value in table[direction].values.items()
    }


def peer_figures(
    peer: Any, matrix: np.ndarray, scores: Scores, images: np.ndarray, captions: np.ndarray, plausible: Relations
) -> dict[str, float]:
    """The package's figures of the ranked ids, under our names.

    Where scores come from embeddings, our rule ranks an incorrect item before a correct one if they are equal within
    rounding. The package has no such rule, so its lists are built with the scores of correct items lowered by as much.
    """
    figures: dict[str, float] = {}
    sides = (matrix, np.ascontiguousarray(matrix.T))
    heads = [head(side) for side in sides]
    relations = {name: correct_answers(name) for name in ("original", "cxc", "eccv")} | {"pm": plausible}
    for name, answers in relations.items():
        lists = {
            "i2t": ranked(sides[0], heads[0], images, captions, answers[0], scores.image_ties),
            "t2i": ranked(sides[1], heads[1], captions, images, answers[1], scores.caption_ties),
        }
        if name == "pm":
            put(figures, "pm", "R-Precision", peer.pmrp(lists, "all"))
            continue
        recalls = {"original": peer.coco_5k_recalls, "cxc": peer.cxc_recalls, "eccv": peer.eccv_recalls}[name]
        ours = "coco-5k" if name == "original" else name
        for k in KS:
            put(figures, ours, f"R@{k}", recalls(lists, "all", K=k))
        if name == "eccv":
            with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
                results = peer.eccv_metrics(lists, "all")
            for key, theirs in (("R@1", "eccv_r1"), ("R-Precision", "eccv_rprecision"), ("mAP@R", "eccv_map_at_r")):
                put(figures, "eccv", key, results[theirs])
    # For COCO 1K the package filters each list by fold. It gets lists that hold items of the fold only, best first:
    # the result is the same, with 250 million fewer list entries.
    lists = {"i2t": {}, "t2i": {}}
    for fold in range(5):
        rows, columns = slice(1000 * fold, 1000 * fold + 1000), slice(5000 * fold, 5000 * fold + 5000)
        part, own = matrix[rows, columns], relations["original"]
        ties = scores.image_ties[rows], scores.caption_ties[columns]
        lists["i2t"] |= ranked(part, head(part), images[rows], captions[columns], own[0], ties[0])
        lists["t2i"] |= ranked(part.T, head(part.T), captions[columns], images[rows], own[1], ties[1])
    for k in KS:
        put(figures, "coco-1k", f"R@{k}", peer.coco_1k_recalls(lists, "all", K=k))
    return figures


def put(figures: dict[str, float], protocol: str, key: str, results: Mapping[str, float]) -> None:
    for ours, theirs in PEER_DIRECTIONS.items():
        figures[f"{protocol} {ours} {key}"] = 100 * float(results[theirs])


def head(matrix: np.ndarray) -> np.ndarray:
    """Positions of the best items of each row, unordered: over twice as many as any query has correct items."""
    count = min(2 * DEPTH + 8, matrix.shape[1])
    return np.stack([np.argpartition(row, -count)[-count:] for row in matrix])


def ranked(
    matrix: np.ndarray,
    heads: np.ndarray,
    queries: np.ndarray,
    items: np.ndarray,
    answers: Mapping[int, Sequence[int]],
    ties: np.ndarray,
) -> dict[int, list[int]]:
    """Query id -> ids of the best items, best first, as the package expects; of equal scores, incorrect items first."""
    place = {item: i for i, item in enumerate(items.tolist())}
    lists = {}
    for query, row, near, tie in zip(queries.tolist(), matrix, heads, ties):
        if query not in answers:
            continue
        correct = np.isin(near, [place[item] for item in answers[query] if item in place])
        lowered = row[near] - np.where(correct, tie, np.float32(0))
        lists[query] = items[near[np.lexsort((correct, -lowered))][:DEPTH]].tolist()
    return lists


def matrices(
    images: np.ndarray, captions: np.ndarray, count: int, quick: bool
) -> Iterator[tuple[str, Scores, np.ndarray]]:
    """Named scores, each with the full matrix for the package."""
    rows = {image: i for i, image in enumerate(images.tolist())}
    columns = {caption: i for i, caption in enumerate(captions.tolist())}
    pairs = {}
    for name in ("original", "cxc", "eccv"):
        by_image, by_caption = correct_answers(name)
        relations = {(rows[p], columns[c]) for p, own in by_image.items() for c in own if c in columns}
        relations |= {(rows[p], columns[c]) for c, own in by_caption.items() for p in own}
        pairs[name] = np.array(sorted(relations)).T
    for seed in range(count):
        generator = np.random.default_rng(seed)
        matrix = generator.standard_normal((len(images), len(captions)), dtype=np.float32)
        for own in pairs.values():  # random per pair: some pairs are hard
            strength = 5 * seed / max(count - 1, 1) * generator.random(own.shape[1], dtype=np.float32)
            matrix[own[0], own[1]] += strength
        yield f"random {seed}", matrix_scores(matrix), matrix
        del matrix
    if not quick:
        sides = synthetic_embeddings(pairs, len(images), len(captions))
        yield "synthetic embeddings", embedding_scores(*sides), sides[0] @ sides[1].T


def synthetic_embeddings(pairs: dict[str, np.ndarray], n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors [n, 256] and [m, 256] whose neighbours follow the relations, with hubs and equal captions."""
    generator = np.random.default_rng(99)
    images = generator.standard_normal((n, 256), dtype=np.float32)
    captions = 1.5 * generator.standard_normal((m, 256), dtype=np.float32)
    for own in (pairs["cxc"], pairs["eccv"]):
        np.add.at(captions, own[1], 0.5 * images[own[0]])
    np.add.at(captions, pairs["original"][1], 0.7 * images[pairs["original"][0]])
    hubs = generator.choice(n, 50, replace=False)
    images[hubs] += 0.6 * captions.mean(axis=0) * np.sqrt(n)
    duplicates = generator.choice(m, 400, replace=False)
    captions[duplicates[:200]] = captions[duplicates[200:]]
    return tuple(side / np.linalg.norm(side, axis=1, keepdims=True) for side in (images, captions))


def write_plausible(folder: Path, images: np.ndarray, captions: np.ndarray) -> Relations:
    """Synthetic plausible matches in the package's format: 5 to 60 captions per image, 1 to 20 images per caption."""
    generator = np.random.default_rng(7)
    sides = ((images, captions, 5, DEPTH, "image_to_caption"), (captions, images, 1, 20, "caption_to_image"))
    for queries, items, low, high, name in sides:
        sizes = generator.integers(low, high + 1, len(queries))
        answers = {q: generator.choice(items, size, replace=False).tolist() for q, size in zip(queries.tolist(), sizes)}
        (folder / f"pm_{name}.json").write_text(json.dumps(answers), encoding="utf-8")
    return correct_answers("pm", folder)


if __name__ == "__main__":
    sys.exit(main())
