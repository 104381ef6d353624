"""The run directory: config, vocabulary, weights, checkpoints and metrics on disk; save and load."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from itembed_tf.config import Config, ConfigError, arguments, check_selection, dump_config, load_config
from itembed_tf.errors import UserError
from itembed_tf.files import write_atomically
from itembed_tf.models.dual_path import dual_path_model
from itembed_tf.models.image_tower import image_tower
from itembed_tf.models.text_tower import text_tower
from itembed_tf.sentence_features.layers import sentence_features
from itembed_tf.text import Vocabulary, load_vocabulary


class RunError(UserError, RuntimeError):
    """A run directory that cannot be used as asked; the message says what to do."""


@dataclass(frozen=True)
class Run:
    path: Path
    config: Config
    vocabulary: Vocabulary


def start_run(path: Path, config: Config) -> bool:
    """Make the directory and write its config; True where a run with this very config is there already.

    A directory in which nothing was trained yet (the data set was not found, say) takes the new config.

    Raises:
        ConfigError: the config would learn without train, or choose weights without dev.
        RunError: the directory holds a run of another config.
    """
    check_selection(config)
    text, file = dump_config(config), path / "config.toml"
    before = _dumped_again(file) if file.exists() else ""
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
    write_atomically(file, text)
    return False


def _dumped_again(file: Path) -> str:
    """The config of a run as this version writes it; as it is where this version cannot read it."""
    try:
        return dump_config(load_config(file))
    except ConfigError:
        return file.read_text(encoding="utf-8")


def open_run(path: str | Path) -> Run:
    """Read a run directory's config and vocabulary."""
    path = Path(path)
    if not (path / "config.toml").exists():
        raise RunError(f"{path} is not a run directory (no config.toml); python -m itembed_tf.train makes one")
    config = load_config(path / "config.toml")
    text = config.text
    vocabulary = load_vocabulary(
        path / "vocabulary.txt", tokenizer=text.tokenizer, lowercase=text.lowercase, length=text.length
    )
    return Run(path, config, vocabulary)


def build_model(config: Config, *, vocabulary_size: int, classes: int) -> keras.Model:
    """The dual-path model of a config, under its precision and from its seed."""
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    image = image_tower(**arguments(config.image_tower), size=config.image.size, embedding_size=config.embedding_size)
    sentence = None
    if config.text_tower.variant == "features":
        sentence = sentence_features(
            **arguments(config.sentence),
            vocabulary_size=vocabulary_size,
            word_width=config.text_tower.word_width,
            length=config.text.length,
        )
    text = text_tower(
        **arguments(config.text_tower),
        vocabulary_size=vocabulary_size,
        length=config.text.length,
        embedding_size=config.embedding_size,
        sentence=sentence,
    )
    return dual_path_model(image, text, classes=classes, **arguments(config.model))


def load_model(run: Run, classes: int | None = None) -> keras.Model:
    """The run's dual-path model in float32 with its final weights; `classes` None: as metrics.json says.

    Raises:
        RunError: the run has not finished.
    """
    metrics = read_metrics(run.path)
    if classes is None and not metrics.get("finished"):
        raise RunError(f"{run.path}: this run has not finished; continue it with python -m itembed_tf.train")
    plain = load_config(run.path / "config.toml", ['precision="float32"', 'image_tower.weights="none"'])
    model = build_model(plain, vocabulary_size=run.vocabulary.size, classes=classes or metrics["classes"])
    model.load_weights(weights_file(run.path))
    return model


def weights_file(path: Path) -> Path:
    return path / "weights" / "final.weights.h5"


def save_weights(path: Path, model: keras.Model) -> None:
    """Write the final weights; whole or not at all."""
    file = weights_file(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name("new.weights.h5")
    model.save_weights(temporary)
    os.replace(temporary, file)


def write_metrics(path: Path, metrics: dict[str, Any]) -> None:
    write_atomically(path / "metrics.json", json.dumps(metrics, indent=1) + "\n")


def read_metrics(path: Path) -> dict[str, Any]:
    file = path / "metrics.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def write_skipped(path: Path, skipped: Sequence[dict[str, str]]) -> None:
    write_atomically(path / "skipped.json", json.dumps(list(skipped), indent=1) + "\n")


def read_skipped(path: Path) -> list[dict[str, str]] | None:
    """The pictures that the run left out, {"image", "reason"} each; None before they were checked."""
    file = path / "skipped.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def write_classes(path: Path, labels: np.ndarray) -> None:
    write_atomically(path / "classes.json", json.dumps(labels.tolist()))


def read_classes(path: Path) -> np.ndarray | None:
    """The class of each training group, int32 [G], where classes are clusters; None before they were found."""
    file = path / "classes.json"
    return np.array(json.loads(file.read_text(encoding="utf-8")), np.int32) if file.exists() else None


def save_checkpoint(path: Path, state: dict[str, Any], arrays: Sequence[np.ndarray]) -> None:
    """Write one file with everything a killed run needs; the one before it is kept until this one is whole."""
    folder = path / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("*.tmp"):
        leftover.unlink()
    temporary = folder / "latest.tmp"
    with open(temporary, "wb") as file:
        named: dict[str, Any] = {f"a{i:05d}": array for i, array in enumerate(arrays)}
        np.savez(file, state=np.array(json.dumps(state)), **named)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / "latest.npz")


def has_checkpoint(path: Path) -> bool:
    return (path / "checkpoints" / "latest.npz").exists()


def load_checkpoint(path: Path) -> tuple[dict[str, Any], list[np.ndarray]] | None:
    """The state and arrays of the last whole checkpoint, or None; nothing in it can run code."""
    if not has_checkpoint(path):
        return None
    with np.load(path / "checkpoints" / "latest.npz", allow_pickle=False) as saved:
        state = json.loads(str(saved["state"]))
        return state, [saved[name] for name in sorted(saved.files) if name != "state"]


def drop_checkpoint(path: Path) -> None:
    """Remove the checkpoint of a run whose final weights are kept."""
    for file in (path / "checkpoints").glob("*"):
        file.unlink()
