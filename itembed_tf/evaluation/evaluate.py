"""Evaluation of a run, or of given embeddings, by a protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from itembed_tf.config import PLACES, Config
from itembed_tf.data.readers import Group
from itembed_tf.evaluation.catalogue import PROTOCOLS
from itembed_tf.evaluation.embeddings import Embeddings, embed_split
from itembed_tf.evaluation.gallery import Gallery
from itembed_tf.evaluation.protocols import measure, protocol_for
from itembed_tf.evaluation.rank_files import write_ranks
from itembed_tf.export_layout import CONTRACT_FILE
from itembed_tf.files import checksum
from itembed_tf.progress import running_clock
from itembed_tf.retrieval import Calibration, RetrievalTable, Scores, embedding_scores, read_calibration
from itembed_tf.training.run_directory import open_run


def evaluate_run(
    path: str | Path, split: str, overrides: Sequence[str] = (), protocol: str | None = None
) -> RetrievalTable:
    """`evaluate_run_corrected` without the hubness-corrected table."""
    return evaluate_run_corrected(path, split, overrides, protocol)[0]


def evaluate_run_corrected(
    path: str | Path, split: str, overrides: Sequence[str] = (), protocol: str | None = None
) -> tuple[RetrievalTable, RetrievalTable | None]:
    """Evaluate one split of a finished run; `RetrievalTable.to_json` gives what `itembed evaluate --json` prints.

    The per-query ranks are written into the run directory, for `itembed compare`, unless an override changes what is
    measured. The place of the dataset does not.

    Returns:
        The table of the cosines, and that of the hubness-corrected scores: None without a calibration, or where an
        override changes the encoders, whose hubs are then others.

    Raises:
        RunError: the run does not exist or is not finished, or its dataset has no such split.
        ConfigError: an invalid override, or one of dataset.splits.
        ValueError: the protocol does not fit the split.
        CalibrationError: its calibration is damaged or of other encoders.
    """
    run = open_run(path)
    _, config, groups, embeddings = embed_split(run, split, overrides)
    same = all(override.partition("=")[0].strip() in PLACES for override in overrides)
    ranks_to = run.path if same else None
    table = evaluate_embeddings(config, split, groups, embeddings, protocol, ranks_to)
    calibration = _calibration(run.path / "encoders") if same else None
    if calibration is None:
        return table, None
    return table, evaluate_embeddings(config, split, groups, embeddings, protocol, ranks_to, calibration)


def _calibration(encoders: Path) -> Calibration | None:
    """The calibration of a run's exported encoders, whose contract hash is that of its weights and settings."""
    try:
        contract = json.loads((encoders / CONTRACT_FILE).read_text(encoding="utf-8"))["contract"]
    except (OSError, ValueError, KeyError, TypeError):  # exports are not needed to evaluate
        return None
    return read_calibration(encoders, contract)


def evaluate_embeddings(
    config: Config,
    split: str,
    groups: Sequence[Group],
    embeddings: Embeddings,
    protocol: str | None = None,
    ranks_to: Path | None = None,
    calibration: Calibration | None = None,
) -> RetrievalTable:
    """Retrieval table of the embeddings of a split.

    Args:
        config: of the run.
        split: name of the split.
        groups: of the embeddings, in their order.
        embeddings: as `embedder` returns them.
        protocol: one of `PROTOCOLS`; None: the one that published results on the dataset use.
        ranks_to: run directory for the per-query ranks; None writes none.
        calibration: of the encoders, for a table of hubness-corrected scores, whose name says so; None: cosines.
    """
    ids = [number for group in groups for number in group.caption_ids]
    captions = np.array([group.id for group in groups for _ in group.captions])
    gallery = Gallery(
        images=np.array([group.id for group in groups for _ in group.images]),
        captions=captions,
        caption_ids=np.array(ids, np.int64) if len(ids) == len(captions) else None,
    )
    name = protocol or protocol_for(config.dataset.name, gallery)
    with running_clock("computing ranks and intervals"):
        scores = embedding_scores(embeddings.images, embeddings.captions)
        by_image, by_text = _corrected(scores, embeddings, calibration) if calibration else (scores, None)
        measured = measure(name, by_image, gallery, by_text)
    corrected = "hubness-corrected " if calibration else ""
    averaging = f"flip={'yes' if config.evaluation.flip else 'no'} shifts={config.evaluation.shifts}"
    averaging += f" crops={config.evaluation.crops}" if config.evaluation.crops else ""
    table = replace(
        measured.table,
        protocol=f"{config.dataset.name} {split}, {corrected}{name}: {PROTOCOLS[name]}; {averaging}",
        name=f"{measured.table.name} {corrected}".rstrip(),
        split=split,
        dataset=config.dataset.name,
        gallery=checksum(*(part for g in groups for part in (g.id, str(len(g.images)), *g.captions)))[:16],
    )
    if ranks_to:
        write_ranks(ranks_to, table, measured.queries, corrected=calibration is not None)
    return table


def _corrected(scores: Scores, embeddings: Embeddings, calibration: Calibration) -> tuple[Scores, Scores]:
    """The corrected scores of image queries, less the bias of each caption, and of text queries, of each image."""
    _, captions = calibration.item_biases(embeddings.captions, "text")
    images, _ = calibration.item_biases(embeddings.images, "image")
    return (
        replace(scores, block=lambda rows, columns: scores.block(rows, columns) - captions[columns]),
        replace(scores, block=lambda rows, columns: scores.block(rows, columns) - images[rows, None]),
    )
