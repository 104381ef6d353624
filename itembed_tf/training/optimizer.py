"""A stage's update rule: SGD-Nesterov, Adam or AdamW with a schedule, a rate for each part, decay and loss scaling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

PARTS = (
    *("backbone", "image_head", "text_tower", "words", "classifier"),
    *("gamma", "beta"),  # of all batch norms
    *("backbone_gamma", "first_convolution", "classifier_bias"),  # the released code gives each a rate of its own
)

PartOf = Callable[[keras.Variable], Sequence[str]]


def make_optimizer(
    *,
    optimizer: str,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    clip_norm: float,
    schedule: str,
    warmup_epochs: float,
    decay_epochs: Sequence[float],
    decay_factor: float,
    epochs: int,
    steps_per_epoch: int,
    multipliers: dict[str, float],
    part_of: PartOf,
    mixed_float16: bool,
) -> keras.optimizers.Optimizer:
    """Build a stage's optimiser; call its ``build(variables)``, then ``apply(gradients)`` at every step.

    The rate of a variable is the schedule's rate times the multipliers of all parts that the variable belongs to; at 0
    it stays untouched. Gradients are taken as they are, then (each only where set) clipped by their norm over all
    variables, then decayed:

    - "sgd": Nesterov momentum; L2, `weight_decay` times the variable, is added to the gradient of every variable,
      biases and batch norm included. As in the released code the momentum holds gradients, not steps: the rate and
      its multiplier scale the step that comes out. (keras.optimizers.SGD scales what goes in; the two differ only
      after the rate changes.)
    - "adam": L2 in the gradient of every variable, as for sgd.
    - "adamw": decoupled: before each step, matrices and kernels (two dimensions or more, the word table among them)
      lose their rate times `weight_decay` of themselves; biases and batch norm lose nothing.

    Args:
        optimizer: "sgd", "adam" or "adamw".
        learning_rate: base rate, reached after the warm-up.
        momentum: sgd only, 0 to 1.
        weight_decay: see above; 0 for none.
        clip_norm: largest norm of all gradients together; 0 for no limit.
        schedule, warmup_epochs, decay_epochs, decay_factor, epochs, steps_per_epoch: see `EpochSchedule`.
        multipliers: factor of a part in `PARTS`; parts not named have 1.
        part_of: gives the parts of a variable, such as ("text_tower", "gamma").
        mixed_float16: wrap in Keras' dynamic loss scaling: take the gradient of ``scale_loss(loss)``; steps whose
            gradients overflow are skipped (and do not move the schedule).

    Raises:
        ValueError: an unknown name, or a number out of range; says which are allowed.
    """
    _check_multipliers(multipliers)
    if weight_decay < 0 or clip_norm < 0:
        raise ValueError(f"weight_decay and clip_norm must be at least 0, and are {weight_decay} and {clip_norm}")
    rate = EpochSchedule(
        learning_rate=learning_rate,
        schedule=schedule,
        warmup_epochs=warmup_epochs,
        decay_epochs=decay_epochs,
        decay_factor=decay_factor,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
    )
    common: dict[str, Any] = {
        "learning_rate": rate,
        "global_clipnorm": float(clip_norm) or None,
        "multipliers": multipliers,
        "part_of": part_of,
    }
    chosen: keras.optimizers.Optimizer
    if optimizer == "sgd":
        chosen = PartSGD(momentum=float(momentum), nesterov=momentum > 0, coupled_decay=weight_decay, **common)
    elif optimizer == "adam":
        chosen = PartAdam(coupled_decay=weight_decay, **common)
    elif optimizer == "adamw":
        chosen = PartAdam(decoupled_decay=weight_decay, **common)
    else:
        raise ValueError(f"optimizer must be sgd, adam or adamw, and is {optimizer!r}")
    return LossScale(chosen) if mixed_float16 else chosen


@keras.saving.register_keras_serializable(package="itembed_tf")
class EpochSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate after a number of steps, with its landmarks given in epochs.

    A linear rise from 0 over `warmup_epochs` (the first step of all has rate 0) multiplies one of

    - "constant": `learning_rate`;
    - "steps": `learning_rate` times `decay_factor` for each of `decay_epochs` that is over;
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
            raise ValueError(f"steps_per_epoch must be at least 1, and is {steps_per_epoch}: is the batch too large?")
        if schedule == "cosine" and 0 < epochs <= warmup_epochs:
            raise ValueError(
                f"warmup_epochs is {warmup_epochs} of {epochs} epochs: nothing is left for the cosine. "
                "Lower it, or set schedule = 'constant'."
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
        """Rate of the step that follows `step` finished ones: float32 scalar."""
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
    """Makes sparse gradients dense before anything looks at them.

    The gradient of an embedding lists a word's row once for each time the word occurs. Norms, finiteness and squares
    taken entry by entry would be those of the list, not of the gradient; and momentum is dense anyway.
    """

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[keras.Variable] | None = None) -> None:
        dense = [tf.convert_to_tensor(grad) if isinstance(grad, tf.IndexedSlices) else grad for grad in grads]
        super().apply(dense, trainable_variables)


class LossScale(DenseGradients, keras.optimizers.LossScaleOptimizer):
    """Keras' dynamic loss scaling, of dense gradients."""


class PartRates(DenseGradients):
    """Gives each variable its own rate and weight decay; what is done with them is the next class's part."""

    def __init__(
        self,
        *,
        multipliers: dict[str, float],
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
        # worked out here: update_step sees bare TensorFlow variables, which do not know the layer they belong to
        self.factors = tuple(
            math.prod(multipliers.get(part, 1.0) for part in self.part_of(variable)) for variable in variables
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        factor = self.factors[self._get_variable_index(variable)]
        if factor == 0:
            return
        rate = ops.cast(learning_rate, variable.dtype) * factor
        if self.coupled_decay:
            gradient = gradient + variable * self.coupled_decay
        if self.decoupled_decay and len(variable.shape) >= 2:
            self.assign_sub(variable, variable * (rate * self.decoupled_decay))
        super().update_step(gradient, variable, rate)


class GradientMomentum(keras.optimizers.SGD):
    """Nesterov momentum whose buffer holds gradients and not steps (released code; also PyTorch).

    v <- momentum v - g;  w <- w + rate (momentum v - g)
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        step = -ops.cast(gradient, variable.dtype)
        if self.momentum:
            buffer = self.momentums[self._get_variable_index(variable)]
            self.assign(buffer, buffer * self.momentum + step)
            step = buffer * self.momentum + step
        self.assign_add(variable, step * ops.cast(learning_rate, variable.dtype))


class PartSGD(PartRates, GradientMomentum):
    """SGD-Nesterov with a rate for each part."""


class PartAdam(PartRates, keras.optimizers.Adam):
    """Adam or, by how it decays, AdamW, with a rate for each part."""


def _check_multipliers(multipliers: dict[str, float]) -> None:
    for part, factor in multipliers.items():
        if part not in PARTS:
            raise ValueError(f"multipliers: unknown part {part!r}; the parts are {', '.join(PARTS)}")
        if not 0 <= factor < math.inf:
            raise ValueError(f"multipliers: {part} must be a number from 0 up, and is {factor}")
