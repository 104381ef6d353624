"""The moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from itembed_tf.models.class_rows import sharded_classes
from itembed_tf.models.replicas import components
from itembed_tf.training.checkpoints import named_variables


class Averages:
    """Exponential moving average of variables. The decay starts low, so that the first values fade quickly.

    It is made in the scope of the variables' strategy; every replica has averages of its own.
    """

    def __init__(self, variables: Sequence[keras.Variable], decay: float):
        self.variables = list(variables) if decay else []
        self.decay = decay
        self.steps = tf.Variable(0.0, trainable=False)
        self.values = [tf.Variable(v.value, trainable=False) for v in self.variables]
        for average, variable in zip(self.values, self.variables, strict=True):
            if classes := sharded_classes(variable):
                average.sharded_classes = classes
                for own, of_own in zip(components(average), components(variable), strict=True):
                    own.assign(of_own)  # tf.distribute starts all from the first

    def named(self) -> dict[str, Any]:
        """What a checkpoint keeps of it, by name."""
        names = named_variables("average", self.variables)
        return {"averaged_steps": self.steps} | dict(zip(names, self.values, strict=True))

    def update(self) -> None:
        """Move every average towards its variable; called inside the step."""
        if not self.values:
            return
        self.steps.assign_add(1.0)
        decay = tf.minimum(self.decay, (1.0 + self.steps) / (10.0 + self.steps))
        for average, variable in zip(self.values, self.variables, strict=True):
            average.assign(decay * average + (1.0 - decay) * variable.value)

    def assign(self) -> None:
        """Set every variable to its average."""
        for variable, average in zip(self.variables, self.values, strict=True):
            for own, of_own in zip(components(variable), components(average), strict=True):
                own.assign(of_own)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Set the variables to their averages within the block, for evaluation."""
        before = [[own.read_value() for own in components(variable)] for variable in self.variables]  # no copies
        self.assign()
        try:
            yield
        finally:
            for variable, values in zip(self.variables, before, strict=True):
                for own, value in zip(components(variable), values, strict=True):
                    own.assign(value)


def averaged_variables(network: keras.Model) -> list[keras.Variable]:
    """The variables that `Averages` is for: all that are trained, but not the rows of a sampled classifier.

    Their average would read and write every class at every step, and no encoder has them.
    """
    drawn = network.get_layer("classifier").variables if "drawn" in network.input else []
    return [v for v in network.trainable_variables if not any(v is row for row in drawn)]
