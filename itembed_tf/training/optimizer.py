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
from itembed_tf.models.class_rows import sharded_classes
from itembed_tf.models.replicas import summed
from itembed_tf.training.gradients import LossScale, RowGradients
from itembed_tf.training.schedule import EpochSchedule

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


class PartRates(RowGradients):
    """Learning-rate multiplier and weight decay per variable, in front of the update rule of the next class.

    Where the gradient has only some rows of a variable, the step reads and writes these rows of the variable and of its
    moments, and no others (as the LazyAdam of TensorFlow Addons, and the momentum of Partial FC): a row that is not
    drawn neither moves by its momentum nor decays. The bias correction of Adam counts all steps.
    """

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
        self.rows: dict[int, tf.Tensor] = {}  # of the variables with a gradient of some rows, by position

    def array_of(self, grad: Any, variable: keras.Variable) -> Any:
        """A gradient as a dense array; the row numbers of one of the classifier are kept for `update_step`."""
        if not isinstance(grad, tf.IndexedSlices):
            return grad
        if "classifier" not in self.part_of(variable):
            return tf.convert_to_tensor(grad)
        self.rows[variable_index(self, variable)] = grad.indices
        return grad.values

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        for variable in variables:
            _mark_slots(self, variable)
        multipliers = dict(self.part_multipliers)
        # computed here: update_step sees plain TensorFlow variables, which do not know the layer they belong to
        self.factors = tuple(
            math.prod(multipliers.get(part, 1.0) for part in self.part_of(variable)) for variable in variables
        )

    def _backend_apply_gradients(self, grads: Sequence[Any], trainable_variables: Sequence[keras.Variable]) -> None:
        self.sharded = [bool(sharded_classes(variable)) for variable in trainable_variables]
        super()._backend_apply_gradients(grads, trainable_variables)

    def _clip_gradients(self, grads: Sequence[Any]) -> Sequence[Any]:
        if not self.global_clipnorm or not any(self.sharded):
            clipped: Sequence[Any] = super()._clip_gradients(grads)
            return clipped
        squares = [tf.reduce_sum(tf.square(grad)) for grad in grads]
        own = tf.add_n([square for square, of_rows in zip(squares, self.sharded, strict=True) if of_rows])
        others = [square for square, of_rows in zip(squares, self.sharded, strict=True) if not of_rows]
        norm = tf.sqrt(tf.add_n([summed(own), *others]))
        return [grad * (self.global_clipnorm / tf.maximum(norm, self.global_clipnorm)) for grad in grads]

    def _backend_update_step(
        self, grads: Sequence[Any], trainable_variables: Sequence[keras.Variable], learning_rate: Any
    ) -> None:
        for grad, variable in zip(grads, trainable_variables, strict=True):  # each replica updates its own variables
            self.update_step(grad, variable.value, learning_rate)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = variable_index(self, variable)
        if self.factors[index] == 0:
            return
        rate = ops.cast(learning_rate, variable.dtype) * self.factors[index]
        rows = self.rows.get(index)
        if self.coupled_decay:
            gradient = gradient + self.coupled_decay * read(variable, rows)
        if self.decoupled_decay and len(variable.shape) >= 2:
            self.assign_sub(variable, some(rate * self.decoupled_decay * read(variable, rows), rows))
        self.update_rows(gradient, variable, rate, rows)

    def update_rows(self, gradient: Any, variable: Any, rate: Any, rows: tf.Tensor | None) -> None:
        """The update rule on all rows (None), or on some rows of the variable and its moments."""
        raise NotImplementedError


def read(variable: Any, rows: tf.Tensor | None) -> Any:
    """A variable, or some rows of it."""
    if rows is None:
        return variable
    return tf.gather(variable.value if isinstance(variable, keras.Variable) else variable, rows)


def some(values: Any, rows: tf.Tensor | None) -> Any:
    """What `assign` and its kind take: the values of the whole variable, or of some rows."""
    return values if rows is None else tf.IndexedSlices(values, rows)


class PartSGD(PartRates, keras.optimizers.SGD):
    """SGD with Nesterov momentum whose buffer accumulates gradients instead of steps (released code, PyTorch).

    v <- momentum v - g;  w <- w + rate (momentum v - g)
    """

    def update_rows(self, gradient: Any, variable: Any, rate: Any, rows: tf.Tensor | None) -> None:
        step = -ops.cast(gradient, variable.dtype)
        if self.momentum:
            buffer = self.momentums[variable_index(self, variable)]
            velocity = self.momentum * read(buffer, rows) + step
            self.assign(buffer, some(velocity, rows))
            step = self.momentum * velocity + step
        self.assign_add(variable, some(step * rate, rows))


class PartAdam(PartRates, keras.optimizers.Adam):
    """Adam or, with decoupled decay, AdamW."""

    def update_rows(self, gradient: Any, variable: Any, rate: Any, rows: tf.Tensor | None) -> None:
        index, step = variable_index(self, variable), ops.cast(self.iterations + 1, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        first, second = self._momentums[index], self._velocities[index]
        beta_1, beta_2 = ops.cast(self.beta_1, variable.dtype), ops.cast(self.beta_2, variable.dtype)
        if rows is None:  # the rule of Keras by one operation in place of its ten, in a third of their time
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first.value.handle,
                v=second.value.handle,
                beta1_power=beta_1**step,
                beta2_power=beta_2**step,
                lr=rate,
                beta1=beta_1,
                beta2=beta_2,
                epsilon=self.epsilon,
                grad=gradient,
            )
            return
        mean = beta_1 * read(first, rows) + (1 - beta_1) * gradient
        square = beta_2 * read(second, rows) + (1 - beta_2) * ops.square(gradient)
        self.assign(first, some(mean, rows))
        self.assign(second, some(square, rows))
        rate = rate * ops.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        self.assign_sub(variable, some(rate * mean / (ops.sqrt(square) + self.epsilon), rows))


def variable_index(optimizer: keras.optimizers.Optimizer, variable: Any) -> int:
    """Position of a variable among those that the optimiser was built with.

    A private method of Keras 3: `update_step` gets the variable but not its position, and only this method also
    resolves the per-device copies that `tf.distribute` passes. `test_variable_index` fails if it changes.
    """
    return optimizer._get_variable_index(variable)


def _mark_slots(optimizer: keras.optimizers.Optimizer, variable: keras.Variable) -> None:
    """Mark the moments of a variable with shared-out rows as what they are, too."""
    classes = sharded_classes(variable)
    if not classes:
        return
    index = variable_index(optimizer, variable)
    for slots in ("momentums", "_momentums", "_velocities"):
        moments = getattr(optimizer, slots, None)
        if moments and moments[index] is not None:
            moments[index].sharded_classes = classes


def _check_multipliers(multipliers: Mapping[str, float]) -> None:
    for part, factor in multipliers.items():
        if part not in MULTIPLIERS:
            raise ValueError(f"multipliers: unknown part {part!r}; allowed: {', '.join(MULTIPLIERS)}")
        if not 0 <= factor < math.inf:
            raise ValueError(f"multipliers: {part} must be a finite number >= 0, and is {factor}")
