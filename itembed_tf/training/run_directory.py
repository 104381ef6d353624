"""The run directory: config, vocabulary, weights and metrics of a run on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from itembed_tf.config import Config, dump_config, load_config
from itembed_tf.data.unreadable import UnreadableImage
from itembed_tf.files import replacing, write_atomically
from itembed_tf.text import Vocabulary, load_vocabulary
from itembed_tf.training.checkpoints import has_checkpoint
from itembed_tf.training.errors import RunError

BACKBONES_FILE = "backbones.json"  # the layers of backbones that another library or a file has given
DATA_FILE = "data.json"  # the groups that the run is trained on (`itembed_tf.training.run_data`)


@dataclass(frozen=True)
class Run:
    path: Path
    config: Config
    vocabulary: Vocabulary


def write_config(path: Path, config: Config) -> None:
    write_atomically(path / "config.toml", dump_config(config))


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
    with replacing(weights_file(path)) as temporary:
        model.save_weights(temporary)


def load_weights(path: Path, model: keras.Model) -> None:
    """Give a model the final weights of a run directory.

    Raises:
        RunError: there are none, or they are damaged or of another model.
    """
    file = weights_file(path)
    advice = "restore it from a copy, or train again in a new run directory"
    if not file.is_file():
        raise RunError(f"{file} is missing; {advice}")
    try:
        model.load_weights(file)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(
            f"{file} is damaged, or does not fit config.toml and vocabulary.txt ({reason}); {advice}"
        ) from error


def write_architectures(path: Path, architectures: Mapping[str, Any]) -> None:
    write_atomically(path / BACKBONES_FILE, json.dumps(architectures) + "\n")


def read_architectures(path: Path) -> dict[str, Any]:
    """The layers of the backbones that the run keeps (`itembed_tf.training.build.architecture_key`); often none."""
    return read_json(path / BACKBONES_FILE, dict, "Restore it from a copy, or train again in a new run directory") or {}


def read_json(file: Path, kind: type, advice: str) -> Any:
    """Read a JSON file of a run directory; None without the file.

    Args:
        file: its path.
        kind: type of its content.
        advice: what to do where the file is damaged, as the end of a message.

    Raises:
        RunError: it is not JSON, or of another type.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RunError(f"{file} is damaged ({error}). {advice}") from error
    if not isinstance(content, kind):
        raise RunError(f"{file} is damaged (a {type(content).__name__} in place of a {kind.__name__}). {advice}")
    return content


def write_metrics(path: Path, metrics: dict[str, Any]) -> None:
    write_atomically(path / "metrics.json", json.dumps(metrics, indent=1) + "\n")


def read_metrics(path: Path) -> dict[str, Any]:
    """The content of metrics.json; empty before the first stage has finished."""
    if has_checkpoint(path):
        advice = "Remove it, and give the same command again: the training writes it at its end"
    else:
        advice = "Restore it from a copy, or train again in a new run directory"
    return read_json(path / "metrics.json", dict, advice) or {}


def write_skipped(path: Path, skipped: Sequence[UnreadableImage]) -> None:
    write_atomically(path / "skipped.json", json.dumps([asdict(each) for each in skipped], indent=1) + "\n")


def read_skipped(path: Path) -> list[UnreadableImage] | None:
    """The unreadable images that the run left out; None before the images were checked."""
    advice = "Remove it: the images are then checked again"
    entries = read_json(path / "skipped.json", list, advice)
    try:
        return None if entries is None else [UnreadableImage(**entry) for entry in entries]
    except TypeError as error:
        raise RunError(f"{path / 'skipped.json'} is damaged ({error}). {advice}") from error


def write_classes(path: Path, classes: np.ndarray) -> None:
    write_atomically(path / "classes.json", json.dumps(classes.tolist()))


def read_classes(path: Path) -> np.ndarray | None:
    """The class of each training group, int32 [G], where classes are clusters; None before they were computed."""
    advice = "Remove it: the classes are then computed again"
    classes = read_json(path / "classes.json", list, advice)
    try:
        return None if classes is None else np.array(classes, np.int32)
    except (TypeError, ValueError) as error:
        raise RunError(f"{path / 'classes.json'} is damaged ({error}). {advice}") from error
