"""Log of the epochs: a line on the screen, a line in history.jsonl, and the figures for the loggers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from itembed_tf.config import Stage
from itembed_tf.files import write_atomically
from itembed_tf.progress import rounded_duration
from itembed_tf.retrieval import CUTOFFS, RetrievalTable
from itembed_tf.training.errors import RunError
from itembed_tf.training.loggers import TrainingLogger
from itembed_tf.training.state import EpochEntry

HISTORY = "history.jsonl"
COMPILATION_SECONDS = 300.0  # an epoch longer than this is hardly affected by compilation
NOTABLE_CHANCE = 30.0  # rsum of a random order, of 600; a gallery of 100 images has about 32
LABELS = {"image_query": "image → text", "text_query": "text → image"}


def log_epoch(
    path: Path,
    loggers: Sequence[TrainingLogger],
    before: Sequence[Sequence[EpochEntry]],
    stage: Stage,
    seconds_after: Callable[[float], float],
    entry: EpochEntry,
) -> None:
    """Log a finished epoch of a run.

    An epoch that was logged already, by a run that was killed before its next checkpoint, is replaced.

    Args:
        path: run directory.
        loggers: that get the figures of the epoch.
        before: histories of the stages before this one.
        stage: of the epoch.
        seconds_after: estimated seconds from the end of the stage to the end of the run, given those of an epoch.
        entry: of the epoch.
    """
    step = sum(len(history) for history in before) + entry.epoch
    entries = read_history(path)[: step - 1]
    seconds = [each["seconds"] for each in entries[-2:] if each["stage"] == stage.name]
    print(epoch_line(stage, entry, seconds, seconds_after), flush=True)
    for logger in loggers:
        logger.on_epoch(step, _scalars(entry))
    lines = [json.dumps(each) for each in [*entries, entry.to_json()]]
    write_atomically(path / HISTORY, "\n".join(lines) + "\n")


def epoch_line(
    stage: Stage, entry: EpochEntry, before: Sequence[float], seconds_after: Callable[[float], float]
) -> str:
    """The line on the screen: loss, figures on dev, speed, and the time until the end of the stage and of the run.

    The time is estimated from the fastest of this epoch and those `before` it (seconds): the first epoch of a process
    includes the compilation of the step, which can take a minute. A short first epoch gives no estimate.
    """
    facts = [f"loss {entry.train['loss']:.3f}"]
    if entry.val:
        facts.append(f"dev rsum {entry.val['rsum']:.1f}{_chance(entry.val)}")
        facts += [f"{label} R@1 {entry.val[query]['R@1']:.1f}" for query, label in LABELS.items()]
    facts.append(f"{entry.images_per_s:.0f} images/s")
    seconds = min([entry.seconds, *before])
    if before or seconds > COMPILATION_SECONDS:
        left = seconds * (stage.epochs - entry.epoch)
        facts += [f"stage ends in about {rounded_duration(left)}"] if left else []
        facts.append(f"run ends in about {rounded_duration(left + seconds_after(seconds))}")
    return f"stage {entry.stage}, epoch {entry.epoch}/{stage.epochs}: {', '.join(facts)}"


def _chance(table: Mapping[str, Any]) -> str:
    """The chance level of the rsum, where the gallery is so small that the figure alone would mislead."""
    levels = RetrievalTable.from_json(table)
    chance = sum(levels[query].chance.get(f"R@{k}", 0.0) for query in LABELS for k in CUTOFFS)
    return f" (chance {chance:.0f})" if chance >= NOTABLE_CHANCE else ""


def _scalars(entry: EpochEntry) -> dict[str, float]:
    scalars = {f"train/{key}": value for key, value in entry.train.items()} | {"learning_rate": entry.learning_rate}
    if entry.val:
        for query in LABELS:
            scalars |= {f"dev/{query} {key}": value for key, value in entry.val[query].items()}
        scalars["dev/rsum"] = entry.val["rsum"]
    return scalars


def read_history(path: Path) -> list[dict[str, Any]]:
    """The lines of history.jsonl; empty without the file.

    Raises:
        RunError: a line is damaged.
    """
    file = path / HISTORY
    entries: list[dict[str, Any]] = []
    try:
        for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
            entry = json.loads(line)
            EpochEntry.from_json(entry)  # has all fields
            entries.append(entry)
    except (ValueError, TypeError) as error:
        raise RunError(
            f"{file} is damaged in line {len(entries) + 1} ({error}); remove that line, or the file: it holds only the "
            "curves of the report"
        ) from error
    return entries
