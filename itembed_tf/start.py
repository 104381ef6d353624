"""The weights that a training starts from: word vectors, sentence features, class weights."""

from __future__ import annotations

import keras
import numpy as np

from itembed_tf.config import Config
from itembed_tf.data import Items
from itembed_tf.frozen import plain_features
from itembed_tf.model import imprint, parts, sentence_features
from itembed_tf.two_branch.fitting import fit_sentences


def start_weights(
    config: Config, model: keras.Model, items: Items, ids: np.ndarray, labels: np.ndarray, words: np.ndarray | None
) -> None:
    """Give a new model of `config` the weights that are not drawn at random.

    Args:
        config: of the run.
        model: as `itembed_tf.run.build_model` gives it.
        items: of train; `ids` int32 [m, L] are the words of its captions, `labels` int32 [G] the classes of its groups.
        words: first values of the word table, float32 [vocabulary_size, d], or None for random ones.

    Raises:
        ValueError: sentence features that cannot be fitted, or classes without a picture.
    """
    features = sentence_features(model)
    if features is not None:
        print(f"sentence features: fitting {config.sentence.kind} on {len(ids):,} training captions")
        fit_sentences(
            features, ids, words, components=config.sentence.components, size=config.sentence.size, seed=config.seed
        )
    elif words is not None:
        parts(model)["words"].embeddings.assign(words)
    if config.model.classifier == "imprinted":
        imprint(model, plain_features(config, model, items), labels[items.image_groups])
