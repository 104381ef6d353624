"""The learning rate of each step of a stage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


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
