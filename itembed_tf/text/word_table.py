"""Vocabulary and initial word embeddings, built from the tokenised training captions as a config says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from gensim.models import KeyedVectors

from itembed_tf.config import Config, arguments
from itembed_tf.text.vocabulary import Vocabulary, build_vocabulary
from itembed_tf.text.word_vectors import align, load_word_vectors


@dataclass(frozen=True)
class WordTable:
    """A vocabulary with the first values of its word embeddings.

    Attributes:
        vocabulary: built from training captions alone.
        vectors: float32 [words + 1, width]; None where the config has no word vectors.
        coverage: share of the vocabulary that has a word vector, 0..1.
    """

    vocabulary: Vocabulary
    vectors: np.ndarray | None
    coverage: float


def word_table(config: Config, captions: Sequence[Sequence[str]]) -> WordTable:
    """Build the vocabulary and the word embeddings from tokenised training captions (`tokenize_captions`)."""
    vectors = _load_vectors(config, captions)
    vocabulary = _build(config, captions, vectors)
    if vectors is None:
        return WordTable(vocabulary, None, 0.0)
    return WordTable(vocabulary, *align(vectors, vocabulary.words, config.text_tower.word_width, config.seed))


def training_vocabulary(config: Config, captions: Sequence[Sequence[str]]) -> Vocabulary:
    """Build the vocabulary alone: word vectors are loaded only where they decide which words it has."""
    has_words = config.word_vectors.source not in ("random", "skip-gram")  # a word list that can decide
    decides = has_words and (config.text.only_with_vectors or config.word_vectors.extra_words > 0)
    return _build(config, captions, _load_vectors(config, captions) if decides else None)


def _load_vectors(config: Config, captions: Sequence[Sequence[str]]) -> KeyedVectors | None:
    width = config.text_tower.word_width
    return load_word_vectors(**arguments(config.word_vectors), width=width, captions=captions, seed=config.seed)


def _build(config: Config, captions: Sequence[Sequence[str]], vectors: KeyedVectors | None) -> Vocabulary:
    extra_words = vectors.index_to_key[: config.word_vectors.extra_words] if vectors is not None else []
    settings = arguments(config.text)
    if config.word_vectors.source == "skip-gram":  # trained on these captions, so that each of their words has a vector
        settings["only_with_vectors"] = False
    return build_vocabulary(captions, **settings, vectors=vectors, extra_words=extra_words)
