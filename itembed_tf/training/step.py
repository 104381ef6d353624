"""The compiled training step, on one device or on replicas that share every batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from itembed_tf.config import Stage
from itembed_tf.config.losses import DISTILLATION, INSTANCE_LOSSES, Instance
from itembed_tf.models.classifier import SharedClassifier
from itembed_tf.models.replicas import gathered, images_of_replica, replica_count
from itembed_tf.training.accumulation import gradients_in_parts
from itembed_tf.training.averages import Averages
from itembed_tf.training.batch_norms import fuse_batch_norms
from itembed_tf.training.distillation import distillation_loss
from itembed_tf.training.losses import LOSSES, instance_loss
from itembed_tf.training.mining import with_mined_captions
from itembed_tf.training.sampling import draw_classes
from itembed_tf.training.sharded_softmax import sharded_accuracy, sharded_instance_loss

SIDES = ("image", "text")

Batch = dict[str, tf.Tensor]
Step = Callable[[Any], dict[str, tf.Tensor]]


def compiled_step(
    network: keras.Model, optimizer: keras.optimizers.Optimizer, averages: Averages, stage: Stage
) -> Step:
    """Compile the training step for one device; see `training_step`."""
    fuse_batch_norms(network)
    step = training_step(network, optimizer, averages, stage)
    return tf.function(step, jit_compile=stage.jit, autograph=False)  # no Python control flow depends on a tensor


def training_step(
    network: keras.Model, optimizer: keras.optimizers.Optimizer, averages: Averages, stage: Stage
) -> Step:
    """The training step, to be compiled: a function from a batch to scalars for the log, which updates the weights.

    The objective is the weighted sum of the losses of the stage. With ``stage.mining`` the captions of the second half
    of the batch are first replaced by mined ones, as in the released code (see `with_mined_captions`).

    A batch may have k captions for each of its B images: "ids" is [k*B, L], row j*B + i the j-th caption of image i;
    "image" and "classes" have B rows. For the losses of `LOSSES` each image is then repeated in k rows, one for each
    caption. See `itembed_tf.data.batches.batches`.

    With a sampled classifier the instance losses are estimates over the classes that `draw_classes` draws from the
    batch's "seed", the same for both branches, and the accuracies are those among these classes.

    With several replicas (`itembed_tf.training.distribution`) a batch is the part of a replica, and the step is that of
    one device with the whole batch: losses are means over the whole batch, and pairs are those of all replicas, or with
    ``stage.negatives`` "replica" those of each. The mean of a scalar over the replicas is that of the whole batch.

    Raises:
        ValueError: an unknown loss; an instance loss without the classifier; mining on cached sentence features; XLA
            with a sampled classifier.
    """
    for name in stage.losses:
        if name not in (allowed := [*INSTANCE_LOSSES, *LOSSES, DISTILLATION]):
            raise ValueError(f"losses: {name!r} is not one of {', '.join(allowed)}")
        if name in INSTANCE_LOSSES and "image_logits" not in network.output:
            raise ValueError(f"losses: {name} needs the classifier, which model.classifier = 'none' leaves out")
    inputs = tuple(network.input)
    if stage.mining and "ids" not in inputs:
        raise ValueError("mining needs captions as word ids: set mining = 0 where sentence features are cached")
    if "drawn" in inputs and stage.jit:
        raise ValueError("jit = true needs shapes that are known before the step, and a sampled softmax has none")
    variables = network.trainable_variables
    sharded = next((each for each in network.layers if isinstance(each, SharedClassifier) and each.shards > 1), None)

    def step(batch: Batch) -> dict[str, tf.Tensor]:
        batch = dict(batch)
        captions = batch["ids" if "ids" in inputs else "text_features"]
        times = captions.shape[0] // batch["classes"].shape[0]
        classes = {"image": batch["classes"], "text": tf.tile(batch["classes"], [times])}
        if stage.mining:
            batch["ids"], classes["text"] = with_mined_captions(network, batch)
        labels, stands_for = classes, None  # labels: positions among the classes that have logits
        if "drawn" in inputs:
            layer = network.get_layer("classifier")
            batch["drawn"], stands_for = draw_classes(
                gathered(tf.concat(list(classes.values()), 0)),
                classes=layer.classes,
                count=layer.sampled,
                seed=batch["seed"],
            )
            labels = {side: tf.searchsorted(batch["drawn"], of_side) for side, of_side in classes.items()}
        elif sharded:
            labels = {side: gathered(of_side) for side, of_side in classes.items()}

        def objective(out: Batch) -> tuple[tf.Tensor, Batch]:
            terms = _instance_terms(out, labels, stands_for, stage, sharded)
            terms |= _pair_terms(out, batch, times, stage)
            total = tf.add_n([loss.weight * terms[name] for name, loss in stage.losses.items()])
            part = total if replica_count() == 1 else total / replica_count()  # the optimiser sums over the replicas
            return optimizer.scale_loss(part), {"loss": total, **terms}

        seen = {name: batch[name] for name in inputs}
        with images_of_replica(batch["classes"].shape[0]):
            out, losses, gradients = gradients_in_parts(network, seen, variables, objective, stage.accumulate)
        optimizer.apply(gradients, variables)
        averages.update()
        return {**losses, **_accuracies(out, labels, sharded)}

    return step


def _instance_terms(
    out: Batch, labels: Batch, stands_for: tf.Tensor | None, stage: Stage, sharded: SharedClassifier | None
) -> dict[str, tf.Tensor]:
    """The unweighted instance losses of a batch, wherever there are logits."""
    terms = {}
    for side in SIDES if "image_logits" in out else ():
        logits = out[f"{side}_logits"]
        settings = stage.losses.get(f"instance_{side}", Instance()).parameters
        if sharded:
            loss = sharded_instance_loss(logits, labels[side], classes=sharded.classes, **settings)
        else:
            loss = instance_loss(logits, labels[side], **settings, stands_for=stands_for)
        terms[f"instance_{side}"] = loss
    return terms


def _accuracies(out: Batch, labels: Batch, sharded: SharedClassifier | None) -> dict[str, tf.Tensor]:
    """The share of rows whose class has the highest logit, of either branch, wherever there are logits."""
    found = {}
    for side in SIDES if "image_logits" in out else ():
        logits = out[f"{side}_logits"]
        if sharded:
            found[f"accuracy_{side}"] = sharded_accuracy(logits, labels[side])
        else:
            right = tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), labels[side])
            found[f"accuracy_{side}"] = tf.reduce_mean(tf.cast(right, tf.float32))
    return found


def _pair_terms(out: Batch, batch: Batch, times: int, stage: Stage) -> dict[str, tf.Tensor]:
    """The other unweighted losses of the stage, on the matching pairs of a batch."""
    names, distilled = [name for name in stage.losses if name in LOSSES], DISTILLATION in stage.losses
    if not names and not distilled:
        return {}

    def pairs(image: tf.Tensor, text: tf.Tensor) -> tuple[tf.Tensor, ...]:
        own = _pairs(image, text, batch["classes"], times)
        return tuple(gathered(each) for each in own) if stage.negatives == "batch" else own

    image, text, classes = pairs(out["image_embedding"], out["text_embedding"])
    terms = {name: LOSSES[name](image, text, classes, **stage.losses[name].parameters) for name in names}
    if distilled:
        teacher = pairs(batch["teacher_image"], batch["teacher_text"])[:2]
        terms[DISTILLATION] = distillation_loss(image, text, *teacher, **stage.losses[DISTILLATION].parameters)
    return terms


def _pairs(image: tf.Tensor, text: tf.Tensor, classes: tf.Tensor, times: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Matching rows: each image `times` times with its captions, the rows of one image side by side.

    The two halves of the batch, which are each other's negatives in `ranking_loss`, then have different images.
    """
    if times == 1:
        return image, text, classes
    by_image = tf.transpose(tf.reshape(text, [times, -1, text.shape[1]]), [1, 0, 2])
    return tf.repeat(image, times, axis=0), tf.reshape(by_image, text.shape), tf.repeat(classes, times)
