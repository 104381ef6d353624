"""Two-branch network for phrase localisation: region and phrase embeddings, and their training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from tqdm import tqdm

from itembed_tf.config import HARD_NEGATIVES, Config, Stage
from itembed_tf.localisation.regions import Regions
from itembed_tf.localisation.sampling import Batch, Pairs, draw_batches
from itembed_tf.models.heads import embedding_head
from itembed_tf.models.inference import inference_function, predict
from itembed_tf.training.losses import LOSSES
from itembed_tf.training.optimizer import make_optimizer
from itembed_tf.training.pairwise import cosines, distance

HARD_A_ROW = 5  # hard negatives sampled for each phrase and step
EMBEDDING_BATCH = 4096  # rows encoded at a time


def localiser(config: Config, region_width: int, phrase_width: int) -> keras.Model:
    """Build the two-branch model: ``region`` [B, region_width] and ``phrase`` [B, phrase_width] -> unit embeddings.

    The heads follow [image_tower] and [text_tower]; the outputs ``region`` and ``phrase`` are float32 [B, D].
    """
    inputs, outputs = {}, {}
    for side, width, tower in (
        ("region", region_width, config.image_tower),
        ("phrase", phrase_width, config.text_tower),
    ):
        x = inputs[side] = keras.Input((width,), name=side)
        x = embedding_head(
            x,
            head="fc-bn-relu-dropout-fc" if tower.head == "variant" else tower.head,
            hidden=tower.hidden,
            dropout=tower.dropout,
            embedding_size=config.embedding_size,
            name=side,
        )
        outputs[side] = keras.layers.UnitNormalization(dtype="float32", name=f"{side}_unit")(x)
    return keras.Model(inputs, outputs, name="localiser")


def embedder(model: keras.Model, side: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from features [n, F] of one branch to embeddings float32 [n, D]."""
    branch = keras.Model(model.input[side], model.output[side])
    embed = inference_function(branch)
    return lambda rows: predict(embed, rows, EMBEDDING_BATCH)


def train_stage(
    model: keras.Model,
    regions: Regions,
    phrases: np.ndarray,
    known: Pairs,
    stage: Stage,
    *,
    hard: Mapping[int, np.ndarray],
    seed: Sequence[int],
) -> float:
    """Train in place with the losses and optimiser of `stage`; returns the mean loss of the last epoch.

    Args:
        model: from `localiser`.
        regions: of the training split.
        phrases: features of normalised phrases, float32 [P, F]; `known` holds their rows.
        known: annotated pairs of region and phrase.
        stage: its epochs, batch_size, losses, and all that an optimiser takes.
        hard: phrase -> rows of its hard negatives, for the loss "hard_negatives".
        seed: random seed of order and sampling.

    Raises:
        ValueError: an unknown loss, or fewer pairs than the batch size.
    """
    unknown = set(stage.losses) - {*LOSSES, HARD_NEGATIVES}
    if unknown:
        raise ValueError(
            f"losses of stage {stage.name}: {sorted(unknown)}; allowed: {', '.join([*LOSSES, HARD_NEGATIVES])}"
        )
    if len(known.pairs) < stage.batch_size:
        raise ValueError(
            f"stage {stage.name}: batch_size is {stage.batch_size}, but there are only {len(known.pairs)} pairs"
        )
    optimizer = make_optimizer(
        stage,
        steps_per_epoch=len(known.pairs) // stage.batch_size,
        part_of=lambda variable: [],
        loss_scaling=False,
    )
    optimizer.build(model.trainable_variables)
    step = _compiled(model, optimizer, stage)
    rng = np.random.default_rng(list(seed))
    mean = 0.0
    for epoch in range(stage.epochs):
        total = count = 0.0
        bar = tqdm(
            draw_batches(known, stage.batch_size, rng),
            desc=f"stage {stage.name}, epoch {epoch + 1}/{stage.epochs}",
            unit=" batches",
            leave=epoch + 1 == stage.epochs,
        )
        for batch in bar:
            drawn, real = _draw_hard(batch, hard, rng) if HARD_NEGATIVES in stage.losses else (batch.regions[:0], _NONE)
            rows = regions.rows(np.concatenate([batch.regions, drawn]))
            total += float(step(rows, phrases[batch.phrases], batch.labels, real))
            count += 1
            mean = total / count
            bar.set_postfix(loss=f"{mean:.4f}", refresh=False)
    return mean


_NONE = np.zeros((0, HARD_A_ROW), bool)


def _draw_hard(batch: Batch, hard: Mapping[int, np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sample hard negatives for each row: rows int64 [b * HARD_A_ROW], and a mask bool [b, HARD_A_ROW].

    Phrases with fewer hard negatives are padded with the row's own region, masked out.
    """
    drawn = np.repeat(batch.regions[:, None], HARD_A_ROW, axis=1)
    real = np.zeros(drawn.shape, bool)
    for i, phrase in enumerate(batch.phrases):
        rows = hard.get(int(phrase), drawn[i, :0])
        chosen = rng.permutation(rows)[:HARD_A_ROW]
        drawn[i, : len(chosen)] = chosen
        real[i, : len(chosen)] = True
    return drawn.reshape(-1), real


def _compiled(model: keras.Model, optimizer: keras.optimizers.Optimizer, stage: Stage) -> Any:
    """Compile the training step: rows [b + h, F] (hard negatives last), phrases [b, P], labels [b], mask -> loss."""
    widths = [model.input[side].shape[-1] for side in ("region", "phrase")]
    signature = [tf.TensorSpec((None, width), tf.float32) for width in widths]
    signature += [tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, HARD_A_ROW), tf.bool)]
    branches = {side: keras.Model(model.input[side], model.output[side]) for side in ("region", "phrase")}
    variables = model.trainable_variables

    @tf.function(input_signature=signature)
    def step(rows: tf.Tensor, phrases: tf.Tensor, labels: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            region, phrase = branches["region"](rows, training=True), branches["phrase"](phrases, training=True)
            count = tf.shape(phrase)[0]
            terms = []
            for name, settings in stage.losses.items():
                if name == HARD_NEGATIVES:
                    value = hard_loss(region[:count], phrase, region[count:], real, **settings.parameters)
                else:
                    value = LOSSES[name](region[:count], phrase, labels, **settings.parameters)
                terms.append(settings.weight * value)
            loss = tf.add_n(terms)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return step


def hard_loss(region: Any, phrase: Any, hard: Any, real: Any, *, margin: float) -> Any:
    """Hard-negative triplet loss: hinge of margin + d(phrase, region) - d(phrase, negative).

    Args:
        region, phrase: [b, D], unit length; row i of both is a positive pair.
        hard: [b * H, D], H negatives for each row.
        real: bool [b, H]; False masks padding.
        margin: of the hinge.

    Returns:
        Scalar: mean over rows of the mean over the row's negatives; a row without negatives counts 0.
    """
    hard = ops.reshape(hard, (-1, real.shape[1], hard.shape[1]))
    to_hard = distance(ops.sum(ops.expand_dims(phrase, 1) * hard, axis=-1))
    hinges = ops.relu(margin + ops.expand_dims(distance(cosines(region, phrase)), 1) - to_hard)
    counts = ops.sum(ops.cast(real, "float32"), axis=1)
    return ops.mean(ops.sum(ops.where(real, hinges, 0.0), axis=1) / ops.maximum(counts, 1.0))
