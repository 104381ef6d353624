"""What the training step returns: read from the device now and then, and checked to be finite."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from itembed_tf.interruption import uninterrupted
from itembed_tf.models.replicas import components
from itembed_tf.training.distribution import ONE, Replicas
from itembed_tf.training.requests import ASKED
from itembed_tf.training.state import StageState

SECONDS = 1.0  # between two reads: a device works ahead of the loop meanwhile
STEPS = 1000  # at most between two reads


class NotFinite(ArithmeticError):
    """A loss or a weight is NaN or infinite.

    Attributes:
        epoch: finished epochs.
        step: of the unfinished epoch, 0 for its first; the loss was computed in it, or the weight was found after it.
        what: the losses with their values, or the names of the weights.
    """

    def __init__(self, epoch: int, step: int, what: str):
        super().__init__(f"epoch {epoch + 1}, step {step + 1}: {what}")
        self.epoch, self.step, self.what = epoch, step, what


class StepScalars:
    """The scalars of the steps of an epoch. Reading each one at once would make the device wait for the loop.

    With several workers (`together`), each reads those of a step after the next one has begun, so that all of them see
    a loss that is not finite, or what one of them asks for, after the same step.

    Attributes:
        asked: what workers ask for, of `ASKED`.
    """

    def __init__(self, state: StageState, *, together: bool = False):
        self.state, self.together = state, together
        self.asked: set[str] = set()
        self.waiting: list[Mapping[str, tf.Tensor]] = []
        self.seen = time.monotonic()

    def add(self, scalars: Mapping[str, tf.Tensor]) -> None:
        """Keep what a step has returned, which may still be computed."""
        self.waiting.append(scalars)

    def read_if_due(self) -> None:
        if self.together:
            self.read(newer=1)
        elif time.monotonic() - self.seen >= SECONDS or len(self.waiting) >= STEPS:
            self.read()

    def read(self, newer: int = 0) -> None:
        """Add what is kept to the sums of the state, but for that of the `newer` last steps.

        Raises:
            NotFinite: the loss of a step is NaN or infinite; the sums are those of the steps before it.
        """
        with uninterrupted():
            first, count = self.state.step - len(self.waiting), max(len(self.waiting) - newer, 0)
            waiting, self.waiting, self.seen = self.waiting[:count], self.waiting[count:], time.monotonic()
            columns = {name: tf.stack([each[name] for each in waiting]).numpy() for name in (waiting or [{}])[0]}
            for number in range(len(waiting)):
                scalars = {name: float(column[number]) for name, column in columns.items()}
                self.asked |= {name for name in ASKED if scalars.pop(name, 0.0) > 0}
                if not math.isfinite(scalars["loss"]):
                    what = ", ".join(f"{name} {value:.4g}" for name, value in scalars.items())
                    raise NotFinite(self.state.epoch, first + number, what)
                self.state.sums = {name: self.state.sums.get(name, 0.0) + value for name, value in scalars.items()}


def check_finite(weights: Mapping[str, Any], state: StageState, replicas: Replicas = ONE) -> None:
    """Check weights, on the device. All workers must call it.

    Raises:
        NotFinite: some are NaN or infinite.
    """
    floating = [(name, v) for name, v in weights.items() if tf.as_dtype(v.dtype).is_floating]
    names = [name for name, variable in floating for _ in components(variable)]
    finite = [tf.reduce_all(tf.math.is_finite(own)) for _, variable in floating for own in components(variable)]
    wrong = [name for name, ok in zip(names, finite, strict=True) if not ok] if replicas.count > 1 else []
    if replicas.count == 1 and finite:
        wrong = [name for name, ok in zip(names, tf.stack(finite).numpy(), strict=True) if not ok]
    if replicas.any_worker(bool(wrong)):
        found = _first(list(dict.fromkeys(wrong))) if wrong else "those of another worker"
        raise NotFinite(state.epoch, max(state.step - 1, 0), f"weights are not finite: {found}")


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
