"""Checkpoints of a run: its state and the values of all variables, keyed by variable path, in one NumPy archive."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

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
    file = checkpoint_file(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    for leftover in file.parent.glob("*.tmp"):
        leftover.unlink()
    temporary = file.with_suffix(".tmp")
    with open(temporary, "wb") as out:
        named: dict[str, Any] = dict(checkpoint.arrays)
        np.savez(out, state=np.array(json.dumps(checkpoint.state.to_json())), **named)
        out.flush()
        os.fsync(out.fileno())
    os.replace(temporary, file)


def load_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint of a run directory, or None. Loading it cannot run code.

    Raises:
        RunError: version 0.1.0 wrote it.
    """
    if not has_checkpoint(path):
        return None
    with np.load(checkpoint_file(path), allow_pickle=False) as saved:
        if any(POSITIONAL.fullmatch(name) for name in saved.files):
            raise RunError(
                f"{path}: itembed_tf 0.1.0 began this run and its checkpoint does not name its variables. Finish the "
                "run with version 0.1.0, or start it again in a new run directory"
            )
        arrays = {name: saved[name] for name in saved.files if name != "state"}
        return Checkpoint(RunState.from_json(json.loads(str(saved["state"]))), arrays)


def drop_checkpoint(path: Path) -> None:
    """Remove the checkpoint of a run whose final weights are saved."""
    for file in checkpoint_file(path).parent.glob("*"):
        file.unlink()


def named_variables(
    prefix: str, variables: Sequence[keras.Variable], model: keras.Model | None = None
) -> dict[str, Any]:
    """Variables by ``prefix/variable.path``.

    Keras numbers the random generators of dropout layers in the order in which the process makes them; with `model`
    their names have the layer's in place of that number.

    Raises:
        ValueError: two variables have one path.
    """
    owner = {id(variable): layer.name for layer in _leaves(model) for variable in layer.variables} if model else {}
    named: dict[str, Any] = {}
    for variable in variables:
        generator = variable.name == "seed_generator_state" and id(variable) in owner
        path = f"{owner[id(variable)]}/{variable.name}" if generator else variable.path
        if f"{prefix}/{path}" in named:
            raise ValueError(f"two variables have the path {path}: give their layers different names")
        named[f"{prefix}/{path}"] = variable
    return named


def _leaves(layer: Any) -> Iterator[Any]:
    inner = getattr(layer, "layers", None)
    if inner is None:
        yield layer
    for each in inner or ():
        yield from _leaves(each)


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
