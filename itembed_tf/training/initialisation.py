"""The weights that a training starts from: word vectors, sentence features, CCA's heads, class weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras
import numpy as np
from tqdm import tqdm

from itembed_tf.config import Config, arguments
from itembed_tf.data.batches import Items
from itembed_tf.models.dual_path import imprint, parts, sentence_features
from itembed_tf.sentence_features.cca import cca, moments
from itembed_tf.sentence_features.fitting import fit_sentences
from itembed_tf.training.frozen_outputs import caption_features, evaluation_features, image_features

ROWS = 1024  # pairs that CCA reads at a time


def start_weights(
    config: Config, model: keras.Model, items: Items, ids: np.ndarray, labels: np.ndarray, words: np.ndarray | None
) -> None:
    """Give a new model of `config` the weights that are not drawn at random.

    Args:
        config: of the run.
        model: as `itembed_tf.training.run_directory.build_model` gives it.
        items: of train; `ids` int32 [m, L] are the words of its captions, `labels` int32 [G] the classes of its groups.
        words: first values of the word table, float32 [vocabulary_size, d], or None for random ones.

    Raises:
        ValueError: sentence features that cannot be fitted, CCA that has no solution, or classes without a picture.
    """
    features = sentence_features(model)
    if features is not None:
        print(f"sentence features: fitting {config.sentence.kind} on {len(ids):,} training captions")
        fit_sentences(
            features, ids, words, components=config.sentence.components, size=config.sentence.size, seed=config.seed
        )
    elif words is not None:
        parts(model)["words"].embeddings.assign(words)
    if config.model.start == "cca":
        _start_as_cca(config, model, items, ids)
    if config.model.classifier == "imprinted":
        imprint(model, evaluation_features(config, model, items), labels[items.image_groups])


def _start_as_cca(config: Config, model: keras.Model, items: Items, ids: np.ndarray) -> None:
    """Make both heads the maps of CCA of every training picture, seen as in evaluation, and every caption of its group.

    Evaluation adds what the head says of a picture and of its mirror image; of a linear head that is what it says of
    their mean.
    """
    flip = config.evaluation.flip
    views = image_features(config, model, items, 1 + flip, mirror=flip)
    sentences = caption_features(model, ids)
    assert sentences is not None, "dual_path_model has seen to it that there are sentence features"
    images, captions = _all_pairs(items)
    found = moments(_rows(views, sentences, images, captions))
    settings = arguments(config.cca)
    image, text, correlations = cca(found, size=config.embedding_size, **settings)
    parts(model)["image_head"].get_layer("image_fc1").set_weights([image.kernel, image.bias])
    text_head = model.get_layer("text_tower").get_layer("text_head")
    text_head.get_layer("text_fc1").set_weights([text.kernel, text.bias])
    print(f"CCA: {found.count:,} pairs, correlations {correlations[0]:.3f} to {correlations[-1]:.3f}")


def _all_pairs(items: Items) -> tuple[np.ndarray, np.ndarray]:
    """Every picture with every caption of its group: indices of both."""
    first = np.searchsorted(items.caption_groups, items.image_groups, side="left")
    counts = np.searchsorted(items.caption_groups, items.image_groups, side="right") - first
    images = np.repeat(np.arange(len(items.images)), counts)
    place = np.arange(len(images)) - np.repeat(np.cumsum(counts) - counts, counts)
    return images, first[images] + place


def _rows(
    views: Sequence[np.ndarray], sentences: np.ndarray, images: np.ndarray, captions: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Picture features, the mean of the views, and sentence features of the pairs, `ROWS` at a time."""
    for start in tqdm(range(0, len(images), ROWS), desc="CCA", unit=" batches"):
        part = slice(start, start + ROWS)
        seen = np.stack([view[images[part]] for view in views])
        yield seen.mean(axis=0, dtype=np.float64), sentences[captions[part]]
