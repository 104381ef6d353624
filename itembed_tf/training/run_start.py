"""The start of a run in its directory: a new one, or one that is continued, with the settings that may have changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from itembed_tf.config import (
    Config,
    ConfigError,
    Difference,
    check_settings,
    differences,
    is_place,
    load_config,
    matters,
)
from itembed_tf.files import write_atomically
from itembed_tf.training.checkpoints import checkpoint_config, has_checkpoint
from itembed_tf.training.errors import RunError
from itembed_tf.training.run_directory import DATA_FILE, read_metrics, write_config

LISTED = 20  # settings in an error message


def start_run(path: Path, config: Config) -> bool:
    """Create the directory and write its config; True where a run of this config has begun in it.

    A run that is continued may have its data elsewhere (that it is the same data is checked,
    `itembed_tf.training.run_data`), and other values of settings that do not change what is trained (`matters`). A
    directory in which nothing was trained yet (because the dataset was missing, for example) takes the new config.

    Raises:
        ConfigError: the config trains without a train split or selects weights without a dev split.
        RunError: the directory holds a run of another config; the message has the settings that differ.
    """
    check_settings(config)
    file = path / "config.toml"
    if not file.exists() or not _begun(path):
        write_config(path, config)
        return False
    try:
        changed = differences(load_config(file), config)
    except ConfigError as error:
        raise RunError(
            f"{path}: the config of this run cannot be read ({error}). Restore it from a copy, or train in a new run "
            "directory"
        ) from error
    moved = has_checkpoint(path) and (path / DATA_FILE).exists()  # so that other data will be noticed
    refuse_changes(str(path), [each for each in changed if matters(each) and not (moved and is_place(each))])
    for each in changed:
        note = "the dataset is elsewhere; it must be the same data" if is_place(each) else "the run is the same"
        print(f"{path}: {each.key} is {each.now} now, and was {each.before}: {note}", flush=True)
    if changed and not read_metrics(path).get("finished"):
        write_config(path, config)
    return True


def check_same_config(path: Path, before: str, config: Config) -> None:
    """Check that a checkpoint is of a run of this config: a file of another run may have been copied.

    Args:
        path: run directory.
        before: the config in the checkpoint, as TOML; "" in one of an earlier version.
        config: of the run.

    Raises:
        RunError: it is of another; the message has the settings that differ.
    """
    if not before:
        return
    changed = differences(load_config(text=before), config)
    refuse_changes(f"the checkpoint in {path}", [each for each in changed if matters(each) and not is_place(each)])


def refuse_changes(what: str, changed: Sequence[Difference]) -> None:
    """Raise a RunError where settings differ, with each of them."""
    if not changed:
        return
    lines = [f"{each.key} is {each.now} now, and was {each.before}" for each in changed[:LISTED]]
    lines += [f"and {len(changed) - LISTED} more"] if len(changed) > LISTED else []
    raise RunError(
        f"{what} is of a run with other settings: {'; '.join(lines)}. Give the same settings to continue it, or "
        "another run directory"
    )


def restore_config(path: Path) -> None:
    """Write config.toml of a run that is trained, where it is missing or damaged, from its checkpoint."""
    file = path / "config.toml"
    try:
        if file.exists():
            load_config(file)
            return
    except ConfigError:
        pass
    if kept := checkpoint_config(path):
        write_atomically(file, kept)
        print(f"warning: {file} was missing or damaged; it was restored from the checkpoint", flush=True)


def with_choices_of_run(path: Path, config: Config) -> Config:
    """The config with each "auto" (text.tokenizer, model.softmax) replaced by what a run that is trained has chosen."""
    file = path / "config.toml"
    if not file.exists() or not _begun(path):
        return config
    try:
        before = load_config(file)
    except ConfigError:  # of a version that `start_run` refuses
        return config
    if config.text.tokenizer == "auto":
        config = replace(config, text=replace(config.text, tokenizer=before.text.tokenizer))
    if config.model.softmax == "auto":
        full = before.model.softmax in (
            "full",
            "sharded",
        )  # `choose_softmax` then sets the number of classes, which has no effect
        sampled = (before if full else config).model.sampled_classes
        config = replace(config, model=replace(config.model, softmax=before.model.softmax, sampled_classes=sampled))
    return config


def _begun(path: Path) -> bool:
    return bool(has_checkpoint(path) or read_metrics(path))
