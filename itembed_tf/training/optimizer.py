"""Optimiser of a stage: SGD, Adam or AdamW with a schedule, multipliers per part, weight decay and loss scaling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from itembed_tf.config import Stage
from itembed_tf.config.choices import MULTIPLIERS

PartOf = Callable[[keras.Variable], Sequence[str]]


def make_optimizer(
    stage: Stage, *, steps_per_epoch: int, part_of: PartOf, loss_scaling: bool
) -> keras.optimizers.Optimizer:
    """Build the optimiser of a stage; call its ``build(variables)``, then ``apply(gradients)`` at every step.

    The learning rate of a variable is that of the schedule times the multipliers of all parts that the variable belongs
    to; a variable with multiplier 0 does not change. Gradients are first clipped by their global norm, where
    ``clip_norm`` is set; then weight decay applies:

    - "sgd": Nesterov momentum; L2, ``weight_decay`` times the variable, is added to the gradient of every variable,
      biases and batch norm included. As in the released code (and PyTorch) the momentum holds gradients, not steps: the
      learning rate and its multiplier scale the step that comes out. (keras.optimizers.SGD scales what goes in; the
      two differ only after the learning rate changes.)
    - "adam": L2 in the gradient of every variable, as for sgd.
    - "adamw": decoupled: before each step, variables of two or more dimensions (kernels and the word table) are reduced
      by learning rate times ``weight_decay`` of themselves; biases and batch norm are not.

    Args:
        stage: settings of the stage.
        steps_per_epoch: for the schedule, see `EpochSchedule`.
        part_of: gives the parts of a variable, such as ("text_tower", "gamma").
        loss_scaling: wrap in Keras' dynamic loss scaling, for mixed_float16: take the gradient of
            ``scale_loss(loss)``; steps whose gradients overflow are skipped (and do not advance the schedule).

    Raises:
        ValueError: an unknown name, or a number out of range; the message has the allowed values.
    """
    _check_multipliers(stage.multipliers)
    if stage.weight_decay < 0 or stage.clip_norm < 0:
        raise ValueError(f"weight_decay and clip_norm must be >= 0, and are {stage.weight_decay} and {stage.clip_norm}")
    schedule = EpochSchedule(
        learning_rate=stage.learning_rate,
        schedule=stage.schedule,
        warmup_epochs=stage.warmup_epochs,
        decay_epochs=stage.decay_epochs,
        decay_factor=stage.decay_factor,
        epochs=stage.epochs,
        steps_per_epoch=steps_per_epoch,
    )
    common: dict[str, Any] = {
        "name": "optimizer",  # checkpoints have its variables by their paths; Keras would number it by the process
        "learning_rate": schedule,
        "global_clipnorm": float(stage.clip_norm) or None,
        "multipliers": stage.multipliers,
        "part_of": part_of,
    }
    optimizer: keras.optimizers.Optimizer
    if stage.optimizer == "sgd":
        momentum = float(stage.momentum)
        optimizer = PartSGD(momentum=momentum, nesterov=momentum > 0, coupled_decay=stage.weight_decay, **common)
    elif stage.optimizer == "adam":
        optimizer = PartAdam(coupled_decay=stage.weight_decay, **common)
    elif stage.optimizer == "adamw":
        optimizer = PartAdam(decoupled_decay=stage.weight_decay, **common)
    else:
        raise ValueError(f"optimizer must be sgd, adam or adamw, and is {stage.optimizer!r}")
    return LossScale(optimizer, name="loss_scale") if loss_scaling else optimizer


@keras.saving.register_keras_serializable(package="itembed_tf")
class EpochSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning-rate schedule in epochs, with linear warm-up.

    The learning rate rises linearly from 0 over `warmup_epochs` (the first step has rate 0), times one of

    - "constant": `learning_rate`;
    - "steps": `learning_rate` times `decay_factor` for each of `decay_epochs` that has passed;
    - "cosine": half a cosine from `learning_rate`, at the end of the warm-up, to 0 at the end of `epochs`.
    """

    def __init__(
        self,
        *,
        learning_rate: float,
        schedule: str,
        warmup_epochs: float,
        decay_epochs: Sequence[float],
        decay_factor: float,
        epochs: int,
        steps_per_epoch: int,
    ) -> None:
        super().__init__()
        if schedule not in ("constant", "steps", "cosine"):
            raise ValueError(f"schedule must be constant, steps or cosine, and is {schedule!r}")
        if steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch must be at least 1, and is {steps_per_epoch}: the batch is too large")
        if schedule == "cosine" and 0 < epochs <= warmup_epochs:
            raise ValueError(
                f"warmup_epochs = {warmup_epochs} leaves nothing of epochs = {epochs} for the cosine schedule: "
                "set it lower, or schedule = 'constant'"
            )
        self.settings: dict[str, Any] = {
            "learning_rate": float(learning_rate),
            "schedule": schedule,
            "warmup_epochs": float(warmup_epochs),
            "decay_epochs": [float(epoch) for epoch in decay_epochs],
            "decay_factor": float(decay_factor),
            "epochs": epochs,
            "steps_per_epoch": steps_per_epoch,
        }

    def __call__(self, step: Any) -> Any:
        """Learning rate of the step after `step` finished ones: float32 scalar."""
        settings = self.settings
        done = ops.cast(step, "float32")
        rate = ops.convert_to_tensor(settings["learning_rate"], "float32")
        warmup = settings["warmup_epochs"] * settings["steps_per_epoch"]
        if settings["schedule"] == "steps":
            for epoch in settings["decay_epochs"]:
                over = done >= epoch * settings["steps_per_epoch"]
                rate = rate * ops.where(over, settings["decay_factor"], 1.0)
        if settings["schedule"] == "cosine":
            length = max(settings["epochs"] * settings["steps_per_epoch"] - warmup, 1)
            progress = ops.clip((done - warmup) / length, 0.0, 1.0)
            rate = rate * (1.0 + ops.cos(math.pi * progress)) / 2.0
        if warmup > 0:
            rate = rate * ops.minimum(done / warmup, 1.0)
        return rate

    def get_config(self) -> dict[str, Any]:
        return dict(self.settings)


class DenseGradients(keras.optimizers.Optimizer):
    """Converts sparse gradients to dense ones first.

    The sparse gradient of a word table has one row for each occurrence of a word. Norms and squares of these rows would
    not be those of the gradient, and the momentum is dense in any case.
    """

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[keras.Variable] | None = None) -> None:
        dense = [tf.convert_to_tensor(grad) if isinstance(grad, tf.IndexedSlices) else grad for grad in grads]
        super().apply(dense, trainable_variables)


class LossScale(DenseGradients, keras.optimizers.LossScaleOptimizer):
    """Dynamic loss scaling of Keras, on dense gradients."""


class PartRates(DenseGradients):
    """Learning-rate multiplier and weight decay per variable, in front of the update rule of the next class."""

    def __init__(
        self,
        *,
        multipliers: Mapping[str, float],
        part_of: PartOf,
        coupled_decay: float = 0.0,
        decoupled_decay: float = 0.0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.part_multipliers = tuple(multipliers.items())
        self.part_of = part_of
        self.coupled_decay = coupled_decay
        self.decoupled_decay = decoupled_decay

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        multipliers = dict(self.part_multipliers)
        # computed here: update_step sees plain TensorFlow variables, which do not know the layer they belong to
        self.factors = tuple(
            math.prod(multipliers.get(part, 1.0) for part in self.part_of(variable)) for variable in variables
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        factor = self.factors[variable_index(self, variable)]
        if factor == 0:
            return
        rate = ops.cast(learning_rate, variable.dtype) * factor
        if self.coupled_decay:
            gradient = gradient + variable * self.coupled_decay
        if self.decoupled_decay and len(variable.shape) >= 2:
            self.assign_sub(variable, variable * (rate * self.decoupled_decay))
        super().update_step(gradient, variable, rate)


class GradientMomentum(keras.optimizers.SGD):
    """Nesterov momentum whose buffer accumulates gradients instead of steps (released code, PyTorch).

    v <- momentum v - g;  w <- w + rate (momentum v - g)
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        step = -ops.cast(gradient, variable.dtype)
        if self.momentum:
            buffer = self.momentums[variable_index(self, variable)]
            self.assign(buffer, buffer * self.momentum + step)
            step = buffer * self.momentum + step
        self.assign_add(variable, step * ops.cast(learning_rate, variable.dtype))


class PartSGD(PartRates, GradientMomentum):
    """SGD with Nesterov momentum and a multiplier for each part."""


class PartAdam(PartRates, keras.optimizers.Adam):
    """Adam or, with decoupled decay, AdamW, with a multiplier for each part."""


def variable_index(optimizer: keras.optimizers.Optimizer, variable: Any) -> int:
    """Position of a variable among those that the optimiser was built with.

    A private method of Keras 3: `update_step` gets the variable but not its position, and only this method also
    resolves the per-device copies that `tf.distribute` passes. `test_variable_index` fails if it changes.
    """
    return optimizer._get_variable_index(variable)


def _check_multipliers(multipliers: Mapping[str, float]) -> None:
    for part, factor in multipliers.items():
        if part not in MULTIPLIERS:
            raise ValueError(f"multipliers: unknown part {part!r}; allowed: {', '.join(MULTIPLIERS)}")
        if not 0 <= factor < math.inf:
            raise ValueError(f"multipliers: {part} must be a finite number >= 0, and is {factor}")
