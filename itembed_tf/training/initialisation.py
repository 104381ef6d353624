"""Initial weights of a training: word vectors, sentence features, CCA heads, imprinted class weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras
import numpy as np
from tqdm import tqdm

from itembed_tf.config import Config, arguments
from itembed_tf.data.batches import Items
from itembed_tf.models.dual_path import parts, sentence_features
from itembed_tf.models.imprinting import imprint
from itembed_tf.sentence_features.cca import cca, moments
from itembed_tf.sentence_features.fitting import fit_sentences
from itembed_tf.training.frozen_outputs import caption_features, evaluation_features, image_features
from itembed_tf.training.train_set import TrainSet

ROWS = 1024  # pairs per batch for CCA


def start_weights(config: Config, model: keras.Model, train: TrainSet, words: np.ndarray | None) -> None:
    """Set the weights of a new model that are not random, as the config says.

    Args:
        config: of the run.
        model: from `itembed_tf.training.build.build_model`.
        train: the training set.
        words: initial word table, float32 [vocabulary_size, d], or None for a random one.

    Raises:
        ValueError: sentence features that cannot be fitted, CCA without a solution, or classes without an image.
    """
    features = sentence_features(model)
    if features is not None:
        print(f"sentence features: fitting {config.sentence.kind} on {len(train.ids):,} training captions", flush=True)
        fit_sentences(
            features,
            train.ids,
            words,
            components=config.sentence.components,
            size=config.sentence.size,
            seed=config.seed,
        )
    elif words is not None:
        parts(model)["words"].embeddings.assign(words)
    if config.model.start == "cca":
        _start_as_cca(config, model, train)
    if config.model.classifier == "imprinted":
        items = train.items
        imprint(model, evaluation_features(config, model, items), train.classes[items.image_groups])


def _start_as_cca(config: Config, model: keras.Model, train: TrainSet) -> None:
    """Set both heads to the CCA maps of all pairs of a training image and a caption of its group.

    Evaluation adds the head's outputs for an image and its mirror image; for a linear head this equals the output for
    the mean of their features, which CCA therefore uses.
    """
    flip = config.evaluation.flip
    views = image_features(config, model, train.items, 1 + flip, mirror=flip)
    sentences = caption_features(model, train.ids)
    assert sentences is not None, "dual_path_model refuses start = 'cca' without sentence features"
    images, captions = _all_pairs(train.items)
    statistics = moments(_rows(views, sentences, images, captions))
    settings = arguments(config.cca)
    image, text, correlations = cca(statistics, size=config.embedding_size, **settings)
    parts(model)["image_head"].get_layer("image_fc1").set_weights([image.kernel, image.bias])
    text_head = model.get_layer("text_tower").get_layer("text_head")
    text_head.get_layer("text_fc1").set_weights([text.kernel, text.bias])
    print(f"CCA: {statistics.count:,} pairs, correlations {correlations[0]:.3f} to {correlations[-1]:.3f}", flush=True)


def _all_pairs(items: Items) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of an image and a caption of its group: indices of both."""
    first = np.searchsorted(items.caption_groups, items.image_groups, side="left")
    counts = np.searchsorted(items.caption_groups, items.image_groups, side="right") - first
    images = np.repeat(np.arange(len(items.images)), counts)
    place = np.arange(len(images)) - np.repeat(np.cumsum(counts) - counts, counts)
    return images, first[images] + place


def _rows(
    views: Sequence[np.ndarray], sentences: np.ndarray, images: np.ndarray, captions: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Image features (mean over the views) and sentence features of the pairs, `ROWS` at a time."""
    for start in tqdm(range(0, len(images), ROWS), desc="CCA", unit=" batches"):
        part = slice(start, start + ROWS)
        both = np.stack([view[images[part]] for view in views])
        yield both.mean(axis=0, dtype=np.float64), sentences[captions[part]]
