"""Checkpoints of a run: its state and the values of all variables, keyed by variable path, in one NumPy archive.

The newest ones are kept, with ascending numbers in their names: where the last one is damaged, the run continues from
the one before.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from itembed_tf.files import replacing
from itembed_tf.models.class_rows import sharded_classes
from itembed_tf.training.distribution import ONE, Replicas
from itembed_tf.training.errors import RunError
from itembed_tf.training.shared_weights import full_shape, full_value, set_variables
from itembed_tf.training.state import RunState

Arrays = dict[str, np.ndarray]

DAMAGED = (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error)
FORMER = "latest.npz"  # the one checkpoint of a run of an earlier version
POSITIONAL = re.compile(r"a\d{5}")  # keys of the checkpoints of version 0.1.0: the number of the variable alone


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a killed run needs to continue."""

    state: RunState
    arrays: Arrays  # by the names of `named_variables`


def checkpoint_files(path: Path) -> list[Path]:
    """The checkpoints of a run directory, the newest first."""
    folder = path / "checkpoints"
    former = [folder / FORMER] if (folder / FORMER).exists() else []
    return [*sorted(folder.glob("checkpoint-*.npz"), reverse=True), *former]


def has_checkpoint(path: Path) -> bool:
    return bool(checkpoint_files(path))


def save_checkpoint(path: Path, checkpoint: Checkpoint, keep: int = 1) -> Path:
    """Write a checkpoint into a run directory, and remove all but the newest `keep`; returns its file.

    Earlier ones are removed only when this one is complete.
    """
    before = checkpoint_files(path)
    newest = before[0].stem.partition("-")[2] if before else ""
    file = path / "checkpoints" / f"checkpoint-{int(newest or 0) + 1:06d}.npz"
    with replacing(file) as temporary:
        named: dict[str, Any] = dict(checkpoint.arrays)
        np.savez(temporary, state=np.array(json.dumps(checkpoint.state.to_json())), **named)
    for old in before[keep - 1 :]:
        old.unlink()
    return file


def load_checkpoint(path: Path) -> Checkpoint | None:
    """The newest checkpoint of a run directory that is not damaged, or None. Loading it cannot run code.

    Damaged ones are named on the screen.

    Raises:
        RunError: all are damaged, or version 0.1.0 wrote it.
    """
    damaged = []
    for file in checkpoint_files(path):
        try:
            with np.load(file, allow_pickle=False) as saved:
                arrays = {name: saved[name] for name in saved.files}
            if any(POSITIONAL.fullmatch(name) for name in arrays):
                raise RunError(
                    f"{path}: itembed_tf 0.1.0 began this run and its checkpoint does not name its variables. Finish "
                    "the run with version 0.1.0, or start it again in a new run directory"
                )
            checkpoint = Checkpoint(RunState.from_json(json.loads(str(arrays.pop("state")))), arrays)
        except DAMAGED as error:
            damaged.append(f"{file} is damaged ({error})")
            continue
        for each in damaged:
            print(f"warning: {each}; the run continues from the one before, {file.name}", flush=True)
        return checkpoint
    if damaged:
        others = f", and so are the {len(damaged) - 1} before it" if len(damaged) > 1 else ""
        raise RunError(
            f"{damaged[0]}{others}: restore it from a copy, or remove the folder {path / 'checkpoints'}; the same "
            "command then starts the training again from its beginning"
        )
    return None


def checkpoint_config(path: Path) -> str:
    """The config, as TOML, in the newest checkpoint whose state can be read; "" where there is none."""
    for file in checkpoint_files(path):
        try:
            with np.load(file, allow_pickle=False) as saved:
                return RunState.from_json(json.loads(str(saved["state"]))).config
        except DAMAGED:
            continue
    return ""


def drop_checkpoint(path: Path) -> None:
    """Remove the checkpoints of a run whose final weights are saved."""
    for file in checkpoint_files(path):
        file.unlink()


def named_variables(
    prefix: str, variables: Sequence[keras.Variable], model: keras.Model | None = None
) -> dict[str, Any]:
    """Variables by name: ``prefix/`` and the path of the variable.

    With `model`, the path starts with the towers and parts that the layer is in, so that the layers "stem" of both
    towers differ; and random generators of dropout layers are named by their layer, as Keras numbers them in the order
    in which the process makes them. Without it, as for the state of an optimiser, equal paths are numbered in order.

    Raises:
        ValueError: two variables of the model have one path.
    """
    paths = dict(_paths(model)) if model else {}
    named: dict[str, Any] = {}
    for variable in variables:
        path = name = paths.get(id(variable), variable.path)
        number = 1
        while f"{prefix}/{name}" in named:
            if model:
                raise ValueError(f"two variables have the path {path}: give their layers different names")
            number += 1
            name = f"{path}#{number}"
        named[f"{prefix}/{name}"] = variable
    return named


def _paths(layer: Any, above: str = "") -> Iterator[tuple[int, str]]:
    """(id, path) of the variables of a model and of the models inside it."""
    for each in layer.layers:
        if hasattr(each, "layers"):
            yield from _paths(each, f"{above}{each.name}/")
            continue
        for variable in each.variables:
            generator = variable.name == "seed_generator_state"
            yield id(variable), f"{above}{each.name}/{variable.name}" if generator else f"{above}{variable.path}"


def values(variables: Mapping[str, Any], replicas: Replicas = ONE) -> Arrays:
    """The values of variables, those of a sharded classifier whole and in class order (`full_value`).

    All workers must call it; those which are not the chief get nothing.
    """
    found = {}
    for name, variable in variables.items():
        if replicas.is_chief or sharded_classes(variable):
            found[name] = full_value(variable, replicas)
    return found if replicas.is_chief else {}


def restore(variables: Mapping[str, Any], arrays: Arrays, replicas: Replicas = ONE) -> None:
    """Assign each array to the variable of its name, on all workers; the arrays are the chief's.

    Raises:
        RunError: a variable without an array, an array without a variable, or one of another shape. Nothing is
            assigned then.
    """
    if replicas.is_chief:
        _check_fits(variables, arrays)
    set_variables(variables, arrays, replicas)


def _check_fits(variables: Mapping[str, Any], arrays: Arrays) -> None:
    wrong = [f"{name} is missing" for name in variables if name not in arrays]
    wrong += [f"{name} is not a variable of this model" for name in arrays if name not in variables]
    for name, variable in variables.items():
        if name in arrays and full_shape(variable) != arrays[name].shape:
            wrong.append(f"{name} has shape {list(arrays[name].shape)} where {list(full_shape(variable))} is needed")
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise RunError(
            f"the checkpoint does not fit this model: {'; '.join(wrong[:5])}{more}. Continue the run with the version "
            "of itembed_tf that began it, or start it again in a new run directory"
        )


def with_prefix(arrays: Arrays, *prefixes: str) -> Arrays:
    """The arrays whose names start with one of the prefixes."""
    return {name: array for name, array in arrays.items() if name.split("/", 1)[0] in prefixes}
