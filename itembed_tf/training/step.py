"""The compiled training step, and the running average of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from itembed_tf.config import Stage
from itembed_tf.config.losses import DISTILLATION, INSTANCE_LOSSES, Instance
from itembed_tf.training.checkpoints import named_variables
from itembed_tf.training.distillation import distillation_loss
from itembed_tf.training.losses import LOSSES, hardest_candidate, instance_loss
from itembed_tf.training.sampling import draw_classes

SIDES = ("image", "text")

Batch = dict[str, tf.Tensor]
Step = Callable[[Batch], dict[str, tf.Tensor]]


class Averages:
    """Exponential moving average of variables. The decay starts low, so that the first values fade quickly."""

    def __init__(self, variables: Sequence[keras.Variable], decay: float):
        self.variables = list(variables) if decay else []
        self.decay = decay
        self.steps = tf.Variable(0.0, trainable=False)
        self.values = [tf.Variable(v.value, trainable=False) for v in self.variables]

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
            variable.assign(average)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Set the variables to their averages within the block, for evaluation."""
        own = [v.numpy() for v in self.variables]
        self.assign()
        try:
            yield
        finally:
            for variable, value in zip(self.variables, own, strict=True):
                variable.assign(value)


def averaged_variables(network: keras.Model) -> list[keras.Variable]:
    """The variables that `Averages` is for: all that are trained, but not the rows of a sampled classifier.

    Their average would read and write every class at every step, and no encoder has them.
    """
    drawn = network.get_layer("classifier").variables if "drawn" in network.input else []
    return [v for v in network.trainable_variables if not any(v is row for row in drawn)]


def compiled_step(
    network: keras.Model, optimizer: keras.optimizers.Optimizer, averages: Averages, stage: Stage
) -> Step:
    """Compile the training step: a function from a batch to scalars for the log, which updates the weights.

    The objective is the weighted sum of the losses of the stage. With ``stage.mining`` the captions of the second half
    of the batch are first replaced by mined ones, as in the released code (see `_with_mined_captions`).

    A batch may have k captions for each of its B images: "ids" is [k*B, L], row j*B + i the j-th caption of image i;
    "image" and "classes" have B rows. For the losses of `LOSSES` each image is then repeated in k rows, one for each
    caption. See `itembed_tf.data.batches.batches`.

    With a sampled classifier the instance losses are estimates over the classes that `draw_classes` draws from the
    batch's "seed", the same for both branches, and the accuracies are those among these classes.

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
    sampled = "drawn" in inputs
    if sampled and stage.jit:
        raise ValueError("jit = true needs shapes that are known before the step, and a sampled softmax has none")
    variables = network.trainable_variables

    @tf.function(jit_compile=stage.jit, autograph=False)  # no Python control flow depends on a tensor
    def step(batch: Batch) -> dict[str, tf.Tensor]:
        batch = dict(batch)
        captions = batch["ids" if "ids" in inputs else "text_features"]
        times = captions.shape[0] // batch["classes"].shape[0]
        classes = {"image": batch["classes"], "text": tf.tile(batch["classes"], [times])}
        if stage.mining:
            batch["ids"], classes["text"] = _with_mined_captions(network, batch)
        labels, stands_for = classes, None  # labels: positions among the classes that have logits
        if sampled:
            layer = network.get_layer("classifier")
            batch["drawn"], stands_for = draw_classes(
                tf.concat(list(classes.values()), 0), classes=layer.classes, count=layer.sampled, seed=batch["seed"]
            )
            labels = {side: tf.searchsorted(batch["drawn"], of_side) for side, of_side in classes.items()}
        with tf.GradientTape() as tape:
            out = network({name: batch[name] for name in inputs}, training=True)
            terms = _instance_terms(out, labels, stands_for, stage) | _pair_terms(out, classes["image"], times, stage)
            terms |= _distillation_term(out, batch, times, stage)
            total = tf.add_n([loss.weight * terms[name] for name, loss in stage.losses.items()])
            scaled = optimizer.scale_loss(total)
        optimizer.apply(tape.gradient(scaled, variables), variables)
        averages.update()
        for side in SIDES if "image_logits" in out else ():
            right = tf.equal(tf.argmax(out[f"{side}_logits"], axis=-1, output_type=tf.int32), labels[side])
            terms[f"accuracy_{side}"] = tf.reduce_mean(tf.cast(right, tf.float32))
        return {"loss": total, **terms}

    return step


def _instance_terms(out: Batch, labels: Batch, stands_for: tf.Tensor | None, stage: Stage) -> dict[str, tf.Tensor]:
    """The unweighted instance losses of a batch, wherever there are logits."""
    return {
        f"instance_{side}": instance_loss(
            out[f"{side}_logits"],
            labels[side],
            **stage.losses.get(f"instance_{side}", Instance()).parameters,
            stands_for=stands_for,
        )
        for side in SIDES
        if f"{side}_logits" in out
    }


def _pair_terms(out: Batch, classes: tf.Tensor, times: int, stage: Stage) -> dict[str, tf.Tensor]:
    """The other unweighted losses of the stage, on the matching pairs of a batch."""
    pairs = _pairs(out["image_embedding"], out["text_embedding"], classes, times)
    return {name: LOSSES[name](*pairs, **loss.parameters) for name, loss in stage.losses.items() if name in LOSSES}


def _distillation_term(out: Batch, batch: Batch, times: int, stage: Stage) -> dict[str, tf.Tensor]:
    """The unweighted loss of a stage with a teacher, on the matching pairs of a batch."""
    if DISTILLATION not in stage.losses:
        return {}
    image, text, _ = _pairs(out["image_embedding"], out["text_embedding"], batch["classes"], times)
    teacher_image, teacher_text, _ = _pairs(batch["teacher_image"], batch["teacher_text"], batch["classes"], times)
    parameters = stage.losses[DISTILLATION].parameters
    return {DISTILLATION: distillation_loss(image, text, teacher_image, teacher_text, **parameters)}


def _pairs(image: tf.Tensor, text: tf.Tensor, classes: tf.Tensor, times: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Matching rows: each image `times` times with its captions, the rows of one image side by side.

    The two halves of the batch, which are each other's negatives in `ranking_loss`, then have different images.
    """
    if times == 1:
        return image, text, classes
    by_image = tf.transpose(tf.reshape(text, [times, -1, text.shape[1]]), [1, 0, 2])
    return tf.repeat(image, times, axis=0), tf.reshape(by_image, text.shape), tf.repeat(classes, times)


def _with_mined_captions(network: keras.Model, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
    """Ids and classes of the captions, those of the second half replaced by hard negatives (released code).

    Row h + i becomes the candidate with the highest cosine to image i, both in inference mode, with its own class.
    """
    half = batch["classes"].shape[0] // 2
    image = next(name for name in network.input if name.startswith("image"))
    no_logits = {"drawn": tf.zeros([0], tf.int32)} if "drawn" in network.input else {}
    out = network({image: batch[image][:half], "ids": batch["candidate_ids"]} | no_logits, training=False)
    chosen = hardest_candidate(
        out["image_embedding"], out["text_embedding"], batch["candidate_classes"], batch["classes"][:half]
    )
    ids = tf.concat([batch["ids"][:half], tf.gather(batch["candidate_ids"], chosen), batch["ids"][2 * half :]], 0)
    mined = tf.gather(batch["candidate_classes"], chosen)
    return ids, tf.concat([batch["classes"][:half], mined, batch["classes"][2 * half :]], 0)
