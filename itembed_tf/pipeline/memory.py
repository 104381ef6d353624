"""The memory of a trained model: embeddings of its training images (`itembed_tf.models.memory`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np

from itembed_tf.config import Config, arguments
from itembed_tf.data.batches import Items, flatten
from itembed_tf.data.joined_features import Features
from itembed_tf.data.readers import Group
from itembed_tf.evaluation.embeddings import image_embedder
from itembed_tf.models.memory import fill_memory, memory_of, with_memory


def add_memory(
    config: Config,
    model: keras.Model,
    train: Sequence[Group],
    features: Callable[[Items], Sequence[Features]] | None,
) -> keras.Model:
    """The model with its memory of training images, evenly spaced over train where they are more than its rows.

    Args:
        config: of the run; without memory rows, the model is returned as it is.
        model: the trained model.
        train: readable groups of train.
        features: as `itembed_tf.pipeline.outputs.finish_run` has it.
    """
    model = with_memory(model, **arguments(config.memory))
    memory = memory_of(model)
    if memory is None:
        return model
    items = flatten(train)
    chosen = np.unique(np.linspace(0, len(items.images) - 1, config.memory.rows).astype(np.int64))
    cached = [view[chosen] for view in features(items)] if features else None
    embed = image_embedder(
        model,
        [items.images[row] for row in chosen],
        **arguments(config.image),
        flip=config.evaluation.flip,
        batch_size=config.evaluation.batch_size,
        features=cached,
    )
    fill_memory(memory, embed())
    print(f"memory: {len(chosen):,} training images", flush=True)
    return model
