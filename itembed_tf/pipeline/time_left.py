"""Estimate of a training run's time left: stages that have not started are estimated from measured speeds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

import keras
import tensorflow as tf

from itembed_tf.config import Config, Stage
from itembed_tf.models.dual_path import parts
from itembed_tf.models.inference import inference_function

BATCH = 32  # images of the timed forward pass
BACKWARD = 2.0  # duration of a backward pass relative to a forward pass
COMPILATION, OUTPUTS = 60.0, 60.0  # seconds: the first step of a stage; evaluation, export and report


def image_seconds(stages: Sequence[Stage], model: keras.Model) -> float:
    """Duration of the backbone's forward pass in seconds per image; 0.0 where no estimate needs it.

    It is measured on one batch where a stage on cached features is followed by one that decodes images: until that
    stage starts, no other measurement shows how long an image takes.

    Args:
        stages: that are not finished.
        model: the dual-path model.
    """
    cached = [bool(stage.cached_views) for stage in stages]
    if not any(earlier and not later for earlier, later in pairwise(cached)):
        return 0.0
    backbone = parts(model)["backbone"]
    encode, images = inference_function(backbone), tf.zeros((BATCH, *backbone.input.shape[1:]))
    encode(images).numpy()  # the first call allocates memory
    started = time.monotonic()
    encode(images).numpy()
    return (time.monotonic() - started) / BATCH


def seconds_after_stage(config: Config, number: int, images: int, forward: float, epoch: float) -> float:
    """Estimated seconds from the end of a stage to the end of the run.

    Args:
        config: of the run.
        number: index of the stage.
        images: training images.
        forward: `image_seconds`.
        epoch: measured duration of an epoch of this stage, in seconds.
    """
    total, current = OUTPUTS, config.stages[number]
    for stage in config.stages[number + 1 :]:
        passes = 1.0 if "backbone" in stage.freeze else 1.0 + BACKWARD
        decoding = forward * passes if current.cached_views and not stage.cached_views else 0.0
        total += COMPILATION + stage.epochs * (epoch + images * decoding)
    return total
