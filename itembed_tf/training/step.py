"""The compiled training step, and the running average of the weights that it may keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import keras
import tensorflow as tf

from itembed_tf.config.losses import Instance, Loss
from itembed_tf.training.losses import LOSSES, hardest_candidate, instance_loss

INSTANCE = ("instance_image", "instance_text")


class Averages:
    """Exponential running averages of variables, with the decay raised slowly so that early steps do not linger."""

    def __init__(self, variables: Sequence[keras.Variable], decay: float):
        self.variables = list(variables) if decay else []
        self.decay = decay
        self.steps = tf.Variable(0.0, trainable=False)
        self.values = [tf.Variable(v.value, trainable=False) for v in self.variables]

    def update(self) -> None:
        """Move every average towards its variable; called inside the step."""
        if not self.values:
            return
        self.steps.assign_add(1.0)
        decay = tf.minimum(self.decay, (1.0 + self.steps) / (10.0 + self.steps))
        for average, variable in zip(self.values, self.variables, strict=True):
            average.assign(decay * average + (1.0 - decay) * variable.value)

    def assign(self) -> None:
        """Give every variable its average."""
        for variable, average in zip(self.variables, self.values, strict=True):
            variable.assign(average)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Lend the averages to the variables, for evaluation and for keeping them."""
        own = [v.numpy() for v in self.variables]
        self.assign()
        try:
            yield
        finally:
            for variable, value in zip(self.variables, own, strict=True):
                variable.assign(value)


def compiled_step(
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    averages: Averages,
    *,
    losses: Mapping[str, Loss],
    mining: int,
    jit: bool,
) -> Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]:
    """A function from a batch to the numbers to log, which also updates the weights.

    The objective is the sum of the named losses times their weights. With `mining`, the captions of the batch's
    second half are first replaced by mined ones, as in the released code (see `_with_mined_captions`).

    A batch may hold k sentences for each of its B pictures ("ids" [k*B, L], row j*B + i the j-th of picture i; "image"
    and "labels" B rows). Each picture then stands in k rows of the losses of `LOSSES`, one for each sentence.

    Raises:
        ValueError: a loss that there is not, naming those that there are; an instance loss without the classifier.
    """
    for name in losses:
        if name not in LOSSES and name not in INSTANCE:
            raise ValueError(f"losses: {name!r} is not one of {', '.join([*INSTANCE, *LOSSES])}")
        if name in INSTANCE and "image_logits" not in network.output:
            raise ValueError(f"losses: {name} needs the classifier: with model.classifier = 'none' name others")
    variables = network.trainable_variables
    smoothing = {side: losses.get(f"instance_{side}", Instance()).parameters for side in ("image", "text")}

    @tf.function(jit_compile=jit)
    def step(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        ids, times = batch["ids"], batch["ids"].shape[0] // batch["labels"].shape[0]
        labels = {"image": batch["labels"], "text": tf.tile(batch["labels"], [times])}
        if mining:
            ids, labels["text"] = _with_mined_captions(network, batch)
        with tf.GradientTape() as tape:
            out = network({"image": batch["image"], "ids": ids}, training=True)
            terms = {
                f"instance_{side}": instance_loss(out[f"{side}_logits"], labels[side], **smoothing[side])
                for side in labels
                if f"{side}_logits" in out
            }
            pairs = _pairs(out["image_embedding"], out["text_embedding"], batch["labels"], times)
            for name, loss in losses.items():
                if name in LOSSES:
                    terms[name] = LOSSES[name](*pairs, **loss.parameters)
            total = tf.add_n([loss.weight * terms[name] for name, loss in losses.items()])
            scaled = optimizer.scale_loss(total)
        optimizer.apply(tape.gradient(scaled, variables), variables)
        averages.update()
        for side in labels if "image_logits" in out else ():
            right = tf.equal(tf.argmax(out[f"{side}_logits"], axis=-1, output_type=tf.int32), labels[side])
            terms[f"accuracy_{side}"] = tf.reduce_mean(tf.cast(right, tf.float32))
        return {"loss": total, **terms}

    return step


def _pairs(image: tf.Tensor, text: tf.Tensor, labels: tf.Tensor, times: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Rows that belong together: each picture `times` over with its sentences, one picture's rows side by side.

    So the two halves of the batch, of which `ranking_loss` takes the one for negatives of the other, are of different
    pictures.
    """
    if times == 1:
        return image, text, labels
    by_picture = tf.transpose(tf.reshape(text, [times, -1, text.shape[1]]), [1, 0, 2])
    return tf.repeat(image, times, axis=0), tf.reshape(by_picture, text.shape), tf.repeat(labels, times)


def _with_mined_captions(network: keras.Model, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Ids and text labels of the batch, the second half's captions replaced by mined ones (released code).

    Row h + i gets the candidate with the highest cosine to picture i, both in test mode; each keeps its own label.
    """
    half = batch["labels"].shape[0] // 2
    out = network({"image": batch["image"][:half], "ids": batch["candidate_ids"]}, training=False)
    chosen = hardest_candidate(
        out["image_embedding"], out["text_embedding"], batch["candidate_labels"], batch["labels"][:half]
    )
    ids = tf.concat([batch["ids"][:half], tf.gather(batch["candidate_ids"], chosen), batch["ids"][2 * half :]], 0)
    mined = tf.gather(batch["candidate_labels"], chosen)
    return ids, tf.concat([batch["labels"][:half], mined, batch["labels"][2 * half :]], 0)
