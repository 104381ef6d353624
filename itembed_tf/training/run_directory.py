"""The run directory: config, vocabulary, weights and metrics of a run on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from itembed_tf.config import Config, ConfigError, check_settings, dump_config, load_config
from itembed_tf.data.unreadable import UnreadableImage
from itembed_tf.files import replacing, write_atomically
from itembed_tf.text import Vocabulary, load_vocabulary
from itembed_tf.training.checkpoints import has_checkpoint
from itembed_tf.training.errors import RunError

BACKBONES_FILE = "backbones.json"  # the layers of backbones that another library or a file has given
DATA_FILE = "data.json"  # the groups that the run is trained on (`itembed_tf.training.run_data`)
PLACES = ("dataset.root", "dataset.shards", "dataset.images")  # settings that say where the data is


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
    if has_checkpoint(path) and (path / DATA_FILE).exists() and before == dump_config(_at_place_of(config, file)):
        place = config.dataset.shards or config.dataset.root
        print(f"{path}: the dataset is now in {place}; it must be the same data", flush=True)
        write_config(path, config)
        return True
    if before and (has_checkpoint(path) or read_metrics(path)):
        changed = sorted(set(before.splitlines()) ^ set(text.splitlines()))
        raise RunError(
            f"{path} holds a run of another config; these lines differ:\n  "
            + "\n  ".join(changed[:20])
            + "\nGive another run directory, or remove this one."
        )
    write_config(path, config)
    return False


def _at_place_of(config: Config, file: Path) -> Config:
    """The config with the place of the dataset as in `file`; unchanged if this version cannot read it.

    A continued run checks that the data is the same (`itembed_tf.training.run_data`), so it may have been moved.
    """
    try:
        before = load_config(file).dataset
    except ConfigError:
        return config
    place = {name: getattr(before, name) for name in (setting.partition(".")[2] for setting in PLACES)}
    return replace(config, dataset=replace(config.dataset, **place))


def with_choices_of_run(path: Path, config: Config) -> Config:
    """The config with each "auto" (text.tokenizer, model.softmax) replaced by what a run that is trained has chosen."""
    file = path / "config.toml"
    if not file.exists() or not (has_checkpoint(path) or read_metrics(path)):
        return config
    try:
        before = load_config(file)
    except ConfigError:  # of a version that `start_run` refuses
        return config
    if config.text.tokenizer == "auto":
        config = replace(config, text=replace(config.text, tokenizer=before.text.tokenizer))
    if config.model.softmax == "auto":
        full = before.model.softmax == "full"  # `choose_softmax` then sets the number of classes, which has no effect
        sampled = (before if full else config).model.sampled_classes
        config = replace(config, model=replace(config.model, softmax=before.model.softmax, sampled_classes=sampled))
    return config


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
