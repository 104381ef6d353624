"""Checkpoints of a run: its state and the values of all variables, keyed by variable path, in one NumPy archive."""

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
from itembed_tf.training.errors import RunError
from itembed_tf.training.state import RunState

Arrays = dict[str, np.ndarray]

POSITIONAL = re.compile(r"a\d{5}")  # keys of the checkpoints of version 0.1.0: the number of the variable alone


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a killed run needs to continue."""

    state: RunState
    arrays: Arrays  # by the names of `named_variables`


def checkpoint_file(path: Path) -> Path:
    return path / "checkpoints" / "latest.npz"


def has_checkpoint(path: Path) -> bool:
    return checkpoint_file(path).exists()


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint of a run directory; the previous one is replaced only when this one is complete."""
    with replacing(checkpoint_file(path)) as temporary:
        named: dict[str, Any] = dict(checkpoint.arrays)
        np.savez(temporary, state=np.array(json.dumps(checkpoint.state.to_json())), **named)


def load_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint of a run directory, or None. Loading it cannot run code.

    Raises:
        RunError: it is damaged, or version 0.1.0 wrote it.
    """
    if not has_checkpoint(path):
        return None
    file = checkpoint_file(path)
    try:
        with np.load(file, allow_pickle=False) as saved:
            arrays = {name: saved[name] for name in saved.files}
        if not any(POSITIONAL.fullmatch(name) for name in arrays):
            return Checkpoint(RunState.from_json(json.loads(str(arrays.pop("state")))), arrays)
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(
            f"{file} is damaged ({error}): restore it from a copy, or remove it; the same command then starts the "
            "training again from its beginning"
        ) from error
    raise RunError(
        f"{path}: itembed_tf 0.1.0 began this run and its checkpoint does not name its variables. Finish the "
        "run with version 0.1.0, or start it again in a new run directory"
    )


def drop_checkpoint(path: Path) -> None:
    """Remove the checkpoint of a run whose final weights are saved."""
    for file in checkpoint_file(path).parent.glob("*"):
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


def values(variables: Mapping[str, Any]) -> Arrays:
    return {name: np.array(keras.ops.convert_to_numpy(variable)) for name, variable in variables.items()}


def restore(variables: Mapping[str, Any], arrays: Arrays) -> None:
    """Assign each array to the variable of its name.

    Raises:
        RunError: a variable without an array, an array without a variable, or one of another shape. Nothing is
            assigned then.
    """
    wrong = [f"{name} is missing" for name in variables if name not in arrays]
    wrong += [f"{name} is not a variable of this model" for name in arrays if name not in variables]
    for name, variable in variables.items():
        if name in arrays and tuple(variable.shape) != arrays[name].shape:
            wrong.append(f"{name} has shape {list(arrays[name].shape)} where {list(variable.shape)} is needed")
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise RunError(
            f"the checkpoint does not fit this model: {'; '.join(wrong[:5])}{more}. Continue the run with the version "
            "of itembed_tf that began it, or start it again in a new run directory"
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def with_prefix(arrays: Arrays, *prefixes: str) -> Arrays:
    """The arrays whose names start with one of the prefixes."""
    return {name: array for name, array in arrays.items() if name.split("/", 1)[0] in prefixes}
