"""A finished run -> its encoders for LiteRT at several precisions, each measured on dev, refused if it loses much."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itembed_tf.config import Config, arguments
from itembed_tf.data.batches import flatten, image_batches
from itembed_tf.data.images import load_image
from itembed_tf.data.readers import Group, read_dataset
from itembed_tf.data.unreadable import drop_unreadable, find_unreadable
from itembed_tf.evaluation.embeddings import Embeddings, embed_split, metrics_block
from itembed_tf.exporting import TOLERANCE, ParityError, contract_hash, run_encoders, sides
from itembed_tf.exporting.litert import (
    file_name,
    image_settings,
    image_tflite,
    text_files,
    text_parity,
    text_settings,
    text_tflite,
    write_beside,
)
from itembed_tf.exporting.litert_convert import PRECISIONS, embed_all
from itembed_tf.files import write_atomically
from itembed_tf.training.run_directory import open_run

# Points of R@1 on dev, mean of picture and sentence query, that a precision may lose against float32.
BUDGETS = {"float32": 0.1, "float16": 0.1, "dynamic": 1.0, "int8": 1.0}
CAPTIONS, PICTURES = 500, 200  # of train, from which int8 takes its ranges
QUERIES = ("image_query", "text_query")


@dataclass(frozen=True)
class Dev:
    """What every precision is measured on: dev, and its embeddings by the float32 model."""

    config: Config
    groups: list[Group]
    live: Embeddings
    block: dict[str, Any]


def export_edge(
    run: str | Path,
    out: str | Path,
    *,
    text: Sequence[str],
    image: Sequence[str],
    accept_loss: bool,
    overrides: Sequence[str] = (),
) -> Iterator[dict[str, Any]]:
    """Convert, measure and write each file; give what was measured, file by file, as soon as it is known.

    A file that loses more than its budget is not written, and one of that name from an earlier export is removed.

    Args:
        run: a finished run directory; its data set must be there with train and dev.
        out: folder of the files.
        text, image: precisions of each encoder, of `PRECISIONS`.
        accept_loss: write what is over budget all the same.
        overrides: as `run_encoders` takes them, and of the section dataset.

    Yields:
        ``file``, ``encoder``, ``precision``, ``bytes``, ``ms`` (median of one call on one thread), ``embeddings`` of
        dev, float32 [n, D], their ``cosine_mean`` and ``cosine_worst`` to the float32 model's, ``block``
        (`metrics_block` of dev, the other encoder in float32), ``loss`` and ``allowed`` (points of R@1), ``written``.
        Last, where both are written, the row of the two int8 files together, without file and allowance.

    Raises:
        ValueError: an unknown precision, or a data set without train or dev.
        and those of `run_encoders` and of `read_dataset`.
    """
    for precision in (*text, *image):
        if precision not in PRECISIONS:
            raise ValueError(f"precision {precision!r} is not known; choose of {', '.join(PRECISIONS)}")
    yield from write_measured(out, *read_measured(run, overrides), text=text, image=image, accept_loss=accept_loss)


def read_measured(run: str | Path, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], Dev, list[Group]]:
    """The pair of a run (`itembed_tf.exporting.sides`), its dev as the live model embeds it, and all of train."""
    of_data = [override for override in overrides if override.startswith("dataset.")]
    encoders = run_encoders(run, [override for override in overrides if override not in of_data])
    pair = sides(**encoders)
    _, config, groups, live = embed_split(open_run(run), "dev", overrides, encoders["model"])
    dev = Dev(config, groups, live, metrics_block(config, "dev", groups, live))
    return pair, dev, read_dataset(**{**arguments(config.dataset), "splits": ("train",)})


def write_measured(
    out: str | Path,
    pair: dict[str, Any],
    dev: Dev,
    train: Sequence[Group],
    *,
    text: Sequence[str],
    image: Sequence[str],
    accept_loss: bool,
) -> Iterator[dict[str, Any]]:
    """What `export_edge` does once its run is read: `pair`, `dev` and `train` are those of `read_measured`."""
    order = np.random.default_rng(0).permutation(len(train))
    samples = [train[i] for i in order[: max(CAPTIONS, PICTURES)]]
    found: dict[str, np.ndarray] = {}
    for export, precisions in ((_text, text), (_image, image)):
        for row in export(Path(out), pair, precisions, dev, samples, accept_loss) if precisions else ():
            if row["precision"] == "int8" and row["written"]:
                found[row["encoder"]] = row["embeddings"]
            yield row
    if len(found) == 2:
        both = metrics_block(dev.config, "dev", dev.groups, Embeddings(found["image_encoder"], found["text_encoder"]))
        yield {"encoder": "both", "precision": "int8", "block": both, "loss": _loss(dev.block, both)}


def _text(
    out: Path, pair: dict[str, Any], precisions: Sequence[str], dev: Dev, train: list[Group], accept_loss: bool
) -> Iterator[dict[str, Any]]:
    encoder, vocabulary = pair["text_encoder"], pair["vocabulary"]
    captions = [caption for group in train for caption in group.captions][:CAPTIONS]
    samples = [ids for ids in vocabulary.encode(captions) if ids.any()]
    settings, files = text_settings(encoder, vocabulary, contract_hash(**pair)), text_files(vocabulary)
    ids = vocabulary.encode(flatten(dev.groups).captions)
    measured = {}
    for precision in precisions:
        content = text_tflite(encoder, settings, files, precision=precision, samples=samples)
        if precision == "float32":
            settings |= {"parity": text_parity(content, encoder, vocabulary), "tolerance": TOLERANCE}
        embeddings, ms = embed_all(content, ids)
        row = _measure("text_encoder", precision, len(content), ms, embeddings, dev)
        measured[precision] = row | {"written": _write(out, content, row, accept_loss)}
        yield measured[precision]
    _finish(out, "text_encoder", settings, measured, files)


def _image(
    out: Path, pair: dict[str, Any], precisions: Sequence[str], dev: Dev, train: list[Group], accept_loss: bool
) -> Iterator[dict[str, Any]]:
    encoder, image = pair["image_encoder"], pair["image"]

    def pixels(groups: Sequence[Group], at_most: int | None = None) -> Iterator[np.ndarray]:
        pictures = flatten(groups).images[:at_most]
        for batch in image_batches(pictures, lambda data, i: load_image(data, **image), 16):
            yield from np.asarray(batch)

    samples: list[np.ndarray] = []
    if "int8" in precisions:
        known = drop_unreadable(train[:PICTURES], find_unreadable(train[:PICTURES]), 100.0)
        samples = list(pixels(known, PICTURES))
    settings = image_settings(encoder, image, pair["encoding"]["flip"], contract_hash(**pair))
    measured = {}
    for precision in precisions:
        content = image_tflite(encoder, settings, precision=precision, samples=samples)
        embeddings, ms = embed_all(content, pixels(dev.groups))
        row = _measure("image_encoder", precision, len(content), ms, embeddings, dev)
        measured[precision] = row | {"written": _write(out, content, row, accept_loss)}
        yield measured[precision]
    _finish(out, "image_encoder", settings, measured, {})


def _measure(encoder: str, precision: str, size: int, ms: float, embeddings: np.ndarray, dev: Dev) -> dict[str, Any]:
    """One row, as `export_edge` gives it but for ``written``."""
    lengths = np.linalg.norm(embeddings, axis=1)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ParityError(
            f"{file_name(encoder, precision)}: some of its embeddings of dev are NaN, infinite or zero: nothing can be "
            "searched by them, and it was not written. Leave this precision out"
        )
    is_text = encoder == "text_encoder"
    live = dev.live.captions if is_text else dev.live.images
    cosines = (live * embeddings).sum(axis=1) / lengths
    both = Embeddings(dev.live.images, embeddings) if is_text else Embeddings(embeddings, dev.live.captions)
    block = metrics_block(dev.config, "dev", dev.groups, both)
    one_query = 50 / min(block["gallery_images"], block["gallery_captions"])  # what one query is worth in the mean
    return {
        "file": file_name(encoder, precision),
        "encoder": encoder,
        "precision": precision,
        "bytes": size,
        "ms": ms,
        "cosine_mean": float(cosines.mean()),
        "cosine_worst": float(cosines.min()),
        "embeddings": embeddings,
        "block": block,
        "loss": _loss(dev.block, block),
        "allowed": max(BUDGETS[precision], one_query),
    }


def _loss(before: dict[str, Any], now: dict[str, Any]) -> float:
    """Points of R@1 lost, mean of both queries; below 0 where it is better."""
    return float(np.mean([before[query]["R@1"] - now[query]["R@1"] for query in QUERIES]))


def _write(out: Path, content: bytes, row: dict[str, Any], accept_loss: bool) -> bool:
    # Written so that NaN is over budget; a hair for sums of hundredths.
    if accept_loss or row["loss"] <= row["allowed"] + 1e-9:
        write_atomically(out / row["file"], content)
        return True
    (out / row["file"]).unlink(missing_ok=True)
    return False


def _finish(
    out: Path, encoder: str, settings: dict[str, Any], measured: dict[str, dict[str, Any]], files: dict[str, str]
) -> None:
    """Settings with what dev said of each file; files of an earlier export, made of other weights perhaps, go."""
    for file in out.glob(f"{encoder}.*.tflite"):
        if file.name not in {row["file"] for row in measured.values()}:
            file.unlink()
    kept = {
        row["file"]: {
            "bytes": row["bytes"],
            "cosine_to_float32": {"mean": row["cosine_mean"], "worst": row["cosine_worst"]},
            "dev": {"protocol": row["block"]["protocol"], **{q: row["block"][q]["R@1"] for q in QUERIES}},
            "R@1_lost": row["loss"],
            "allowed": row["allowed"],
        }
        for row in measured.values()
        if row["written"]
    }
    if kept:
        write_beside(out, encoder, {**settings, "files": kept}, files)
