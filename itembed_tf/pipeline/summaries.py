"""The summaries of training stages in metrics.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from itembed_tf.config import Config, member_configs
from itembed_tf.evaluation.protocols import selection_score
from itembed_tf.retrieval import RetrievalTable
from itembed_tf.training.state import EpochEntry


def stage_summaries(config: Config, histories: Sequence[Sequence[EpochEntry]]) -> list[dict[str, Any]]:
    """The key "stages" of metrics.json: a summary of each finished stage, of all members one after the other."""
    summaries, left = [], list(histories)
    for member in member_configs(config):
        own, left = left[: len(member.stages)], left[len(member.stages) :]
        summaries += _of_encoders(member, own)
    return summaries


def _of_encoders(config: Config, histories: Sequence[Sequence[EpochEntry]]) -> list[dict[str, Any]]:
    summaries: list[dict[str, Any]] = []
    for stage, history in zip(config.stages, histories, strict=True):
        initial = [summaries[-1]["val"]] if summaries and summaries[-1]["val"] else []
        tables = initial + [dict(entry.val) for entry in history if entry.val]
        summaries.append(_stage_summary(stage.name, history, _selected(stage.keep, tables, config.dataset.name)))
    return summaries


def _stage_summary(name: str, history: Sequence[EpochEntry], val: dict[str, Any]) -> dict[str, Any]:
    """A stage in metrics.json: totals, training figures of its last epoch, dev figures of the selected weights."""
    seconds = sum(entry.seconds for entry in history)
    images = sum(entry.seconds * entry.images_per_s for entry in history)
    return {
        "name": name,
        "epochs": len(history),
        "seconds": round(seconds, 1),
        "images_per_s": round(images / seconds, 1) if seconds else 0.0,
        "train": history[-1].train if history else {},
        "val": val,
    }


def _selected(keep: str, tables: list[dict[str, Any]], dataset: str) -> dict[str, Any]:
    """The dev table of the selected weights. The first one is of the stage's initial weights, which may be the best."""
    if not tables:
        return {}
    if keep == "last":
        return tables[-1]
    return max(tables, key=lambda table: selection_score(RetrievalTable.from_json(table), dataset))
