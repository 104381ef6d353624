"""The run directory: config, vocabulary, weights and metrics of a run on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from itembed_tf.config import Config, ConfigError, check_settings, dump_config, load_config
from itembed_tf.data.unreadable import UnreadableImage
from itembed_tf.files import write_atomically
from itembed_tf.text import Vocabulary, load_vocabulary
from itembed_tf.training.checkpoints import has_checkpoint
from itembed_tf.training.errors import RunError


@dataclass(frozen=True)
class Run:
    path: Path
    config: Config
    vocabulary: Vocabulary


def start_run(path: Path, config: Config) -> bool:
    """Create the directory and write its config; True where it already holds a run of exactly this config.

    A directory in which nothing was trained yet (because the dataset was missing, for example) takes the new config.

    Raises:
        ConfigError: the config trains without a train split or selects weights without a dev split.
        RunError: the directory holds a run of another config.
    """
    check_settings(config)
    text, file = dump_config(config), path / "config.toml"
    before = _rewritten(file) if file.exists() else ""
    if before == text:
        return True
    if before and (has_checkpoint(path) or read_metrics(path)):
        changed = sorted(set(before.splitlines()) ^ set(text.splitlines()))
        raise RunError(
            f"{path} holds a run of another config; these lines differ:\n  "
            + "\n  ".join(changed[:20])
            + "\nGive another run directory, or remove this one."
        )
    (path / "skipped.json").unlink(missing_ok=True)
    write_config(path, config)
    return False


def with_tokenizer_of_run(path: Path, config: Config) -> Config:
    """The config with ``text.tokenizer = "auto"`` replaced by what a run that is trained already has chosen."""
    file = path / "config.toml"
    if config.text.tokenizer != "auto" or not file.exists() or not (has_checkpoint(path) or read_metrics(path)):
        return config
    try:
        tokenizer = load_config(file).text.tokenizer
    except ConfigError:  # of a version that `start_run` refuses
        return config
    return replace(config, text=replace(config.text, tokenizer=tokenizer))


def write_config(path: Path, config: Config) -> None:
    write_atomically(path / "config.toml", dump_config(config))


def _rewritten(file: Path) -> str:
    """The config of a run as this version writes it; unchanged if this version cannot read it."""
    try:
        return dump_config(load_config(file))
    except ConfigError:
        return file.read_text(encoding="utf-8")


def open_run(path: str | Path) -> Run:
    """Read the config and vocabulary of a run directory.

    Raises:
        RunError: it is not a run directory.
    """
    path = Path(path)
    if not (path / "config.toml").exists():
        raise RunError(f"{path} is not a run directory (it has no config.toml); itembed train creates one")
    config = load_config(path / "config.toml")
    text = config.text
    vocabulary = load_vocabulary(
        path / "vocabulary.txt", tokenizer=text.tokenizer, lowercase=text.lowercase, length=text.length
    )
    return Run(path, config, vocabulary)


def weights_file(path: Path) -> Path:
    return path / "weights" / "final.weights.h5"


def save_weights(path: Path, model: keras.Model) -> None:
    """Write the final weights, atomically."""
    file = weights_file(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name("new.weights.h5")
    model.save_weights(temporary)
    os.replace(temporary, file)


def write_metrics(path: Path, metrics: dict[str, Any]) -> None:
    write_atomically(path / "metrics.json", json.dumps(metrics, indent=1) + "\n")


def read_metrics(path: Path) -> dict[str, Any]:
    """The content of metrics.json; empty before the first stage has finished."""
    file = path / "metrics.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def write_skipped(path: Path, skipped: Sequence[UnreadableImage]) -> None:
    write_atomically(path / "skipped.json", json.dumps([asdict(each) for each in skipped], indent=1) + "\n")


def read_skipped(path: Path) -> list[UnreadableImage] | None:
    """The unreadable images that the run left out; None before the images were checked."""
    file = path / "skipped.json"
    if not file.exists():
        return None
    return [UnreadableImage(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))]


def write_classes(path: Path, classes: np.ndarray) -> None:
    write_atomically(path / "classes.json", json.dumps(classes.tolist()))


def read_classes(path: Path) -> np.ndarray | None:
    """The class of each training group, int32 [G], where classes are clusters; None before they were computed."""
    file = path / "classes.json"
    return np.array(json.loads(file.read_text(encoding="utf-8")), np.int32) if file.exists() else None
