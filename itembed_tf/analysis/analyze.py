"""Analysis of one split: similarity overlap, word importance, similarities before and after training."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable

import keras
import numpy as np

from itembed_tf.analysis.overlap import similarity_overlap
from itembed_tf.analysis.records import (
    Analysis,
    BeforeAfter,
    CaptionImportance,
    SimilarityMatrix,
    WordChange,
    WordMean,
    WordRanking,
)
from itembed_tf.analysis.word_importance import mean_changes, word_importance
from itembed_tf.config import Config, arguments
from itembed_tf.data.batches import Items
from itembed_tf.evaluation.embeddings import Embeddings, embedder
from itembed_tf.models.dual_path import encoder, sentence_features
from itembed_tf.models.inference import inference_function, predict
from itembed_tf.progress import running_clock
from itembed_tf.text import Vocabulary
from itembed_tf.training.build import build_model
from itembed_tf.training.frozen_outputs import given_features

SEED = 0  # of all samples, so that two runs on one dataset show the same images and captions
CAPTIONS = 500  # sampled for word importance at the end of a training run; takes some seconds
EXAMPLES = 8  # captions shown with their words
MINIMUM_COUNT = 5  # places where a word was left out, for a mean
RANKED = 15  # words shown with the most negative and the most positive means
GROUPS = 24  # shown before and after training


def analyze(
    model: keras.Model,
    items: Items,
    embeddings: Embeddings,
    config: Config,
    vocabulary: Vocabulary,
    *,
    classes: int,
    captions: int = CAPTIONS,
) -> Analysis:
    """Analyse a model on one split.

    Args:
        model: the trained model, float32.
        items: images and captions of the split.
        embeddings: of the items, by the model.
        config, vocabulary, classes: of the run.
        captions: number of captions sampled for word importance.
    """
    groups = (items.image_groups, items.caption_groups)
    words, examples = _word_importance(model, items, embeddings, config, vocabulary, captions)
    return Analysis(
        overlap=similarity_overlap(embeddings.images, embeddings.captions, *groups),
        words=words,
        examples=examples,
        similarity=_before_and_after(model, items, embeddings, config, vocabulary, classes),
    )


def _word_importance(
    model: keras.Model, items: Items, embeddings: Embeddings, config: Config, vocabulary: Vocabulary, count: int
) -> tuple[WordRanking, tuple[CaptionImportance, ...]]:
    """Word importance of sampled captions, each with the first image of its group."""
    first = np.unique(items.image_groups, return_index=True)[1]  # groups are numbered from 0; each has an image
    if config.evaluation.shifts == "all":  # every caption is encoded at every position, so fewer captions
        count = max(EXAMPLES, count // vocabulary.length)
    chosen: list[int] = []
    known: list[list[int]] = []
    for caption in np.random.default_rng(SEED).permutation(len(items.captions)).tolist():
        ids = [vocabulary.ids[w] for w in vocabulary.tokenize(items.captions[caption]) if w in vocabulary.ids]
        if len(ids) > 1 and len(chosen) < count:
            chosen.append(caption)
            known.append(ids)
    images = first[items.caption_groups[chosen]]
    importances = word_importance(known, embeddings.images[images], _text_encoding(model, config), vocabulary.length)
    means = tuple(
        WordMean(vocabulary.words[mean.word - 1], round(mean.change, 5), mean.count)
        for mean in mean_changes(known, importances, MINIMUM_COUNT)
    )
    _, of_distinct_groups = np.unique(items.caption_groups[chosen], return_index=True)
    examples = tuple(
        CaptionImportance(
            image=int(images[at]),
            caption=chosen[at],
            score=round(importances[at].score, 5),
            words=_word_changes(items.captions[chosen[at]], importances[at].changes, vocabulary),
        )
        for at in np.sort(of_distinct_groups)[:EXAMPLES].tolist()
    )
    least = means[RANKED:][-RANKED:][::-1]
    return WordRanking(len(chosen), MINIMUM_COUNT, len(means), means[:RANKED], least), examples


def _text_encoding(model: keras.Model, config: Config) -> Callable[[np.ndarray], np.ndarray]:
    """A function from ids int32 [n, L] to embeddings float32 [n, D], by the text encoder of the run."""
    encode = inference_function(encoder(model, "text", shifts=config.evaluation.shifts))
    batch = config.evaluation.batch_size
    return lambda ids: predict(encode, ids, batch, progress="word importance")


def _word_changes(caption: str, changes: np.ndarray, vocabulary: Vocabulary) -> tuple[WordChange, ...]:
    """The words of a caption with their changes; None for unknown words and words beyond the encoder's input."""
    values = (round(float(change), 5) for change in changes)
    words = vocabulary.tokenize(caption)
    return tuple(WordChange(word, next(values, None) if word in vocabulary.ids else None) for word in words)


def _before_and_after(
    model: keras.Model, items: Items, embeddings: Embeddings, config: Config, vocabulary: Vocabulary, classes: int
) -> BeforeAfter:
    """Similarities of the first image and first caption of sampled groups, before and after training.

    "Before" is a new model from the run's seed: the backbone has the weights that the config names, the word table is
    random, and fitted sentence features, if any, are those of the trained model.
    """
    groups, images = np.unique(items.image_groups, return_index=True)
    captions = np.searchsorted(items.caption_groups, groups)
    sample = np.sort(np.random.default_rng(SEED).permutation(len(groups))[:GROUPS])
    images, captions = images[sample].tolist(), captions[sample].tolist()
    number = np.arange(len(sample), dtype=np.int32)
    ids = [items.image_ids[i] for i in images] if items.image_ids else ()
    pairs = Items([items.images[i] for i in images], number, [items.captions[i] for i in captions], number, ids)
    before = None
    try:
        with running_clock("building the untrained model"):
            untrained = build_model(
                dataclasses.replace(config, precision="float32"), vocabulary_size=vocabulary.size, classes=classes
            )
        trained_features, new_features = sentence_features(model), sentence_features(untrained)
        if trained_features is not None and new_features is not None:
            new_features.set_weights(trained_features.get_weights())
        settings = arguments(config.image) | arguments(config.evaluation)
        initial = embedder(untrained, pairs, vocabulary, **settings, features=given_features(config, pairs))()
        before = _matrix(initial.images, initial.captions)
    except OSError as error:
        print(f"no similarities of the untrained model: {error}", file=sys.stderr)
    after = _matrix(embeddings.images[images], embeddings.captions[captions])
    return BeforeAfter(tuple(images), tuple(captions), before, after)


def _matrix(images: np.ndarray, captions: np.ndarray) -> SimilarityMatrix:
    scores = images @ captions.T
    own = np.eye(len(scores), dtype=bool)
    return SimilarityMatrix(
        scores=[[round(float(score), 4) for score in row] for row in scores],
        mean_matching=round(float(scores[own].mean()), 5),
        mean_other=round(float(scores[~own].mean()), 5) if len(scores) > 1 else None,
        correct=int((scores.argmax(axis=1) == np.arange(len(scores))).sum()),
    )
