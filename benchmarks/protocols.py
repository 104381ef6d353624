"""Our evaluator and the package eccv-caption on the same similarity matrices: COCO 1K and 5K, CxC, ECCV Caption, PMRP.

    python -m benchmarks.protocols [--quick]

The bar: every figure equal, on 20 random matrices and one real set of relations. "Equal" is within 1e-9 of a percent
point: the two sum in another order, so that the last bits of a mean differ where no digit that anybody prints does.

The matrices are 5,000 pictures by 25,000 captions under COCO's own ids. Random ones are noise, to which a strength
from nothing to much is added where original, CxC or ECCV Caption call a pair right, so that the figures go from chance
to nearly all. We have no COCO photographs here, so the 21st is no encoder's: its embeddings are **made from the ids'
own relations** (each picture is drawn towards what CxC and ECCV call alike, some pictures draw all, some captions are
the same twice) and go through our whole road, from embeddings, with its rule for ties. PMRP's plausible matches are not
in the package; both sides are given the same made-up ones.
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
from itembed_tf.evaluation.coco_positives import captions_in_order, pictures_of_captions, right_answers
from itembed_tf.evaluation.gallery import Gallery
from itembed_tf.evaluation.protocols import by_answers, measure
from itembed_tf.retrieval import Scores, given_scores, scores_of

EQUAL = 1e-9  # percent points
KS = (1, 5, 10)
DEPTH = 60  # of the lists; no query has more right answers
QUERY_DIRECTIONS = {"image_query": "i2t", "text_query": "t2i"}
Relations = tuple[Mapping[int, Sequence[int]], Mapping[int, Sequence[int]]]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.protocols", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one random matrix and no made embeddings")
    parser.add_argument("--matrices", type=int, default=20, help="random matrices")
    args = parser.parse_args(argv)
    from importlib.metadata import version

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that ujson is not there
        from eccv_caption import Metrics

    print_versions()
    print(f"eccv-caption {version('eccv-caption')}")
    captions, owners = captions_in_order(), pictures_of_captions()
    pictures = np.array([owners[caption] for caption in captions[::5].tolist()])
    worst, figures = 0.0, 0
    with tempfile.TemporaryDirectory() as place:
        plausible = write_plausible(Path(place), pictures, captions)
        peer = Metrics(extra_file_dir=place)
        for name, scores, matrix in matrices(pictures, captions, 1 if args.quick else args.matrices, args.quick):
            started = time.monotonic()
            ours = our_figures(scores, pictures, captions, plausible)
            between = time.monotonic()
            theirs = peer_figures(peer, matrix, scores, pictures, captions, plausible)
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


def our_figures(scores: Scores, pictures: np.ndarray, captions: np.ndarray, plausible: Relations) -> dict[str, float]:
    owners = pictures_of_captions()
    groups = np.array([str(owners[caption]) for caption in captions.tolist()])
    gallery = Gallery(pictures.astype(str), groups, captions)
    blocks = {name: measure(name, scores, gallery)[0] for name in ("coco-1k", "coco-5k", "cxc", "eccv")}
    blocks["pm"] = by_answers(scores, gallery, plausible, "pm", precision=True)[0]
    return {
        f"{name} {way} {key}": block[way][key]
        for name, block in blocks.items()
        for way in QUERY_DIRECTIONS
        for key in block[way]
    }


def peer_figures(
    peer: Any, matrix: np.ndarray, scores: Scores, pictures: np.ndarray, captions: np.ndarray, plausible: Relations
) -> dict[str, float]:
    """The package's figures of the ranked ids that it asks for, under our names.

    Where scores come from embeddings, our rule puts a wrong item that is as good within rounding before a right one;
    the package cannot know that, so it is given lists in which the right ones are lowered by as much.
    """
    found: dict[str, float] = {}
    sides = (matrix, np.ascontiguousarray(matrix.T))
    heads = [head(side) for side in sides]
    relations = {name: right_answers(name) for name in ("original", "cxc", "eccv")} | {"pm": plausible}
    for name, answers in relations.items():
        lists = {
            "i2t": ranked(sides[0], heads[0], pictures, captions, answers[0], scores.image_ties),
            "t2i": ranked(sides[1], heads[1], captions, pictures, answers[1], scores.caption_ties),
        }
        if name == "pm":
            put(found, "pm", "R-Precision", peer.pmrp(lists, "all"))
            continue
        recalls = {"original": peer.coco_5k_recalls, "cxc": peer.cxc_recalls, "eccv": peer.eccv_recalls}[name]
        ours = "coco-5k" if name == "original" else name
        for k in KS:
            put(found, ours, f"R@{k}", recalls(lists, "all", K=k))
        if name == "eccv":
            with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
                told = peer.eccv_metrics(lists, "all")
            for key, theirs in (("R@1", "eccv_r1"), ("R-Precision", "eccv_rprecision"), ("mAP@R", "eccv_map_at_r")):
                put(found, "eccv", key, told[theirs])
    # For COCO 1K the package leaves of each list what is of the fold. It gets lists that hold no more than that, from
    # the best down: the same after its own filter, and 250 million list entries fewer.
    lists = {"i2t": {}, "t2i": {}}
    for fold in range(5):
        rows, columns = slice(1000 * fold, 1000 * fold + 1000), slice(5000 * fold, 5000 * fold + 5000)
        part, own = matrix[rows, columns], relations["original"]
        ties = scores.image_ties[rows], scores.caption_ties[columns]
        lists["i2t"] |= ranked(part, head(part), pictures[rows], captions[columns], own[0], ties[0])
        lists["t2i"] |= ranked(part.T, head(part.T), captions[columns], pictures[rows], own[1], ties[1])
    for k in KS:
        put(found, "coco-1k", f"R@{k}", peer.coco_1k_recalls(lists, "all", K=k))
    return found


def put(found: dict[str, float], protocol: str, key: str, told: Mapping[str, float]) -> None:
    for ours, theirs in QUERY_DIRECTIONS.items():
        found[f"{protocol} {ours} {key}"] = 100 * float(told[theirs])


def head(matrix: np.ndarray) -> np.ndarray:
    """The places of the best items of each row, in no order: twice as many as any query has right ones, and some."""
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
    """Query id -> ids of the best items, best first, as the package takes them; of equal ones wrong first."""
    place = {item: i for i, item in enumerate(items.tolist())}
    lists = {}
    for query, row, near, tie in zip(queries.tolist(), matrix, heads, ties):
        if query not in answers:
            continue
        right = np.isin(near, [place[item] for item in answers[query] if item in place])
        lowered = row[near] - np.where(right, tie, np.float32(0))
        lists[query] = items[near[np.lexsort((right, -lowered))][:DEPTH]].tolist()
    return lists


def matrices(
    pictures: np.ndarray, captions: np.ndarray, count: int, quick: bool
) -> Iterator[tuple[str, Scores, np.ndarray]]:
    """Named scores, and the whole matrix of them for the package."""
    rows = {picture: i for i, picture in enumerate(pictures.tolist())}
    columns = {caption: i for i, caption in enumerate(captions.tolist())}
    pairs = {}
    for name in ("original", "cxc", "eccv"):
        by_picture, by_caption = right_answers(name)
        found = {(rows[p], columns[c]) for p, own in by_picture.items() for c in own if c in columns}
        found |= {(rows[p], columns[c]) for c, own in by_caption.items() for p in own}
        pairs[name] = np.array(sorted(found)).T
    for seed in range(count):
        draws = np.random.default_rng(seed)
        matrix = draws.standard_normal((len(pictures), len(captions)), dtype=np.float32)
        for own in pairs.values():  # not the same for all pairs of a relation: some are hard
            strength = 5 * seed / max(count - 1, 1) * draws.random(own.shape[1], dtype=np.float32)
            matrix[own[0], own[1]] += strength
        yield f"random {seed}", given_scores(matrix), matrix
        del matrix
    if not quick:
        sides = made_embeddings(pairs, len(pictures), len(captions))
        yield "made embeddings", scores_of(*sides), sides[0] @ sides[1].T


def made_embeddings(pairs: dict[str, np.ndarray], n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors [n, 256] and [m, 256] whose neighbours follow the relations, with hubs and equal captions."""
    draws = np.random.default_rng(99)
    images = draws.standard_normal((n, 256), dtype=np.float32)
    captions = 1.5 * draws.standard_normal((m, 256), dtype=np.float32)
    for own in (pairs["cxc"], pairs["eccv"]):
        np.add.at(captions, own[1], 0.5 * images[own[0]])
    np.add.at(captions, pairs["original"][1], 0.7 * images[pairs["original"][0]])
    hubs = draws.choice(n, 50, replace=False)
    images[hubs] += 0.6 * captions.mean(axis=0) * np.sqrt(n)
    again = draws.choice(m, 400, replace=False)
    captions[again[:200]] = captions[again[200:]]
    return tuple(side / np.linalg.norm(side, axis=1, keepdims=True) for side in (images, captions))


def write_plausible(folder: Path, pictures: np.ndarray, captions: np.ndarray) -> Relations:
    """Made-up plausible matches in the package's format: 5 to 60 captions a picture, 1 to 20 pictures a caption."""
    draws = np.random.default_rng(7)
    sides = ((pictures, captions, 5, DEPTH, "image_to_caption"), (captions, pictures, 1, 20, "caption_to_image"))
    for queries, items, least, most, name in sides:
        sizes = draws.integers(least, most + 1, len(queries))
        right = {q: draws.choice(items, size, replace=False).tolist() for q, size in zip(queries.tolist(), sizes)}
        (folder / f"pm_{name}.json").write_text(json.dumps(right), encoding="utf-8")
    return right_answers("pm", folder)


if __name__ == "__main__":
    sys.exit(main())
