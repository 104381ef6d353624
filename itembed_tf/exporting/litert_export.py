"""Export of a finished run for LiteRT at several precisions, each measured on dev and refused if it loses much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from itembed_tf.config import arguments
from itembed_tf.data.readers import Group, read_dataset
from itembed_tf.evaluation.embeddings import Embeddings, embed_split
from itembed_tf.evaluation.evaluate import evaluate_embeddings
from itembed_tf.export_layout import litert_name
from itembed_tf.exporting.card import write_card
from itembed_tf.exporting.litert_convert import PRECISIONS, converter, embed_all
from itembed_tf.exporting.litert_files import parity_settings, text_parity, write_beside
from itembed_tf.exporting.litert_targets import (
    CALIBRATION_CAPTIONS,
    CALIBRATION_IMAGES,
    Dev,
    Target,
    image_target,
    text_target,
)
from itembed_tf.exporting.pair import EncoderPair, load_pair
from itembed_tf.exporting.parity import ParityError
from itembed_tf.files import write_atomically
from itembed_tf.locks import locked_folder
from itembed_tf.progress import Steps, running_clock
from itembed_tf.retrieval import QUERY_DIRECTIONS, RetrievalTable
from itembed_tf.training.run_directory import open_run

# Percentage points of R@1 on dev, mean of both directions, that a precision may lose against float32.
BUDGETS = {"float32": 0.1, "float16": 0.1, "dynamic": 1.0, "int8": 1.0}


@dataclass(frozen=True)
class MeasuredFile:
    """One .tflite file measured on dev, the other encoder being the float32 model."""

    encoder: str  # "image_encoder" or "text_encoder"
    precision: str
    file: str
    bytes: int
    ms: float  # median of one call on one thread
    cosine_mean: float  # to the float32 model's embeddings
    cosine_worst: float
    embeddings: np.ndarray = field(repr=False)  # of dev, float32 [n, D]
    table: RetrievalTable = field(repr=False)
    loss: float  # percentage points of R@1, mean of both directions; below 0 where it is better
    budget: float
    written: bool = False


@dataclass(frozen=True)
class LiteRTExport:
    """All measured files; `both` has the figures of the two int8 files together, where both were written."""

    folder: Path
    dev: Dev
    files: tuple[MeasuredFile, ...]
    both: RetrievalTable | None = None
    both_loss: float = 0.0


def export_litert(
    run: str | Path,
    out: str | Path,
    *,
    text: Sequence[str] = tuple(BUDGETS),
    image: Sequence[str] = ("int8",),
    accept_loss: bool = False,
    overrides: Sequence[str] = (),
) -> LiteRTExport:
    """Convert, measure and write each file, reporting progress on standard error.

    A file that loses more than its budget is not written, and one of that name from an earlier export is removed.

    Args:
        run: a finished run directory; its dataset must be available with train and dev.
        out: folder of the files.
        text, image: precisions of each encoder, of `PRECISIONS`.
        accept_loss: write files that exceed their budget too.
        overrides: as `load_pair` takes them, and of the section dataset.

    Raises:
        ValueError: an unknown precision, or a dataset without train or dev.
        Locked: another process writes to `out`.
        and those of `load_pair` and of `read_dataset`.
    """
    for precision in (*text, *image):
        if precision not in PRECISIONS:
            raise ValueError(f"unknown precision {precision!r}; allowed: {', '.join(PRECISIONS)}")
    names = [("text_encoder", p) for p in text] + [("image_encoder", p) for p in image]
    steps = Steps(["embed dev with the float32 model", *(litert_name(*name) for name in names)])
    with locked_folder(out, "give another output folder"):
        steps.start("embed dev with the float32 model")
        pair, dev, train = read_dev(run, overrides)
        export = write_measured(out, pair, dev, train, text=text, image=image, accept_loss=accept_loss, steps=steps)
        if any(file.written for file in export.files):
            write_card(out, run, overrides)
        return export


def read_dev(run: str | Path, overrides: Sequence[str] = ()) -> tuple[EncoderPair, Dev, list[Group]]:
    """The encoders of a run, its dev split with the live model's embeddings, and all groups of train."""
    of_data = [override for override in overrides if override.startswith("dataset.")]
    model, pair = load_pair(run, [override for override in overrides if override not in of_data])
    _, config, groups, live = embed_split(open_run(run), "dev", overrides, model)
    dev = Dev(config, groups, live, evaluate_embeddings(config, "dev", groups, live))
    return pair, dev, read_dataset(**{**arguments(config.dataset), "splits": ("train",)})


def write_measured(
    out: str | Path,
    pair: EncoderPair,
    dev: Dev,
    train: Sequence[Group],
    *,
    text: Sequence[str],
    image: Sequence[str],
    accept_loss: bool,
    steps: Steps | None = None,
) -> LiteRTExport:
    """`export_litert` of what `read_dev` returns."""
    order = np.random.default_rng(0).permutation(len(train))
    samples = [train[i] for i in order[: max(CALIBRATION_CAPTIONS, CALIBRATION_IMAGES)]]
    out, files = Path(out), []
    for target, precisions in ((text_target, text), (image_target, image)):
        if precisions:
            files += _write_target(out, target(pair, dev, samples), pair, precisions, dev, accept_loss, steps)
    int8 = {file.encoder: file.embeddings for file in files if file.precision == "int8" and file.written}
    if len(int8) < 2:
        return LiteRTExport(out, dev, tuple(files))
    embeddings = Embeddings(int8["image_encoder"], int8["text_encoder"])
    both = evaluate_embeddings(dev.config, "dev", dev.groups, embeddings)
    return LiteRTExport(out, dev, tuple(files), both, _loss(dev.table, both))


def _write_target(
    out: Path,
    target: Target,
    pair: EncoderPair,
    precisions: Sequence[str],
    dev: Dev,
    accept_loss: bool,
    steps: Steps | None,
) -> list[MeasuredFile]:
    """Convert, measure and write one encoder at each precision, then its settings; remove files of older exports."""
    settings, measured = target.settings, []
    calibration = target.calibration() if "int8" in precisions else ()
    with converter(target.encoder, target.input_name) as convert:
        for precision in precisions:
            if steps:
                steps.start(litert_name(target.name, precision))
            content = target.describe(convert(precision, calibration if precision == "int8" else ()), precision)
            if precision == "float32" and target.name == "text_encoder":
                settings = settings | parity_settings(text_parity(content, pair))
            file = _measure(target, precision, content, dev)
            measured.append(replace(file, written=_write(out, content, file, accept_loss)))
    for path in out.glob(f"{target.name}.*.tflite"):
        if path.name not in {file.file for file in measured}:
            path.unlink()  # of an earlier export, perhaps with other weights
    if written := {file.file: _file_entry(file) for file in measured if file.written}:
        write_beside(out, target.name, {**settings, "files": written}, target.files)
    return measured


def _measure(target: Target, precision: str, content: bytes, dev: Dev) -> MeasuredFile:
    name = litert_name(target.name, precision)
    embeddings, ms = embed_all(content, target.inputs(), total=len(target.live), progress=f"measuring {name} on dev")
    lengths = np.linalg.norm(embeddings, axis=1)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ParityError(
            f"{name}: some of its embeddings of dev are NaN, infinite or zero, and cannot be used for search; it was "
            "not written. Leave this precision out"
        )
    cosines = (target.live * embeddings).sum(axis=1) / lengths
    is_text = target.name == "text_encoder"
    mixed = replace(dev.live, captions=embeddings) if is_text else replace(dev.live, images=embeddings)
    with running_clock("recall on dev and its intervals"):
        table = evaluate_embeddings(dev.config, "dev", dev.groups, mixed)
    one_query = 50 / min(table.gallery_images, table.gallery_captions)  # effect of one query on the mean
    return MeasuredFile(
        encoder=target.name,
        precision=precision,
        file=name,
        bytes=len(content),
        ms=ms,
        cosine_mean=float(cosines.mean()),
        cosine_worst=float(cosines.min()),
        embeddings=embeddings,
        table=table,
        loss=_loss(dev.table, table),
        budget=max(BUDGETS[precision], one_query),
    )


def _loss(before: RetrievalTable, after: RetrievalTable) -> float:
    """Percentage points of R@1 lost, mean of both directions; below 0 where it is better."""
    return float(np.mean([before[query]["R@1"] - after[query]["R@1"] for query in QUERY_DIRECTIONS]))


def _write(out: Path, content: bytes, file: MeasuredFile, accept_loss: bool) -> bool:
    # NaN exceeds the budget too; 1e-9 allows for rounding in sums of hundredths.
    if accept_loss or file.loss <= file.budget + 1e-9:
        write_atomically(out / file.file, content)
        return True
    (out / file.file).unlink(missing_ok=True)
    return False


def _file_entry(file: MeasuredFile) -> dict[str, Any]:
    """The entry of one file in ``text_encoder.json`` or ``image_encoder.json``."""
    return {
        "bytes": file.bytes,
        "cosine_to_float32": {"mean": file.cosine_mean, "worst": file.cosine_worst},
        "dev": {"protocol": file.table.protocol, **{query: file.table[query]["R@1"] for query in QUERY_DIRECTIONS}},
        "R@1_lost": file.loss,
        "allowed": file.budget,
    }
