"""Tokenizer, vocabulary and initial word embeddings, chosen and built from the training captions as a config says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from gensim.models import KeyedVectors

from itembed_tf.config import Config, arguments
from itembed_tf.text.languages import choose_tokenizer
from itembed_tf.text.vocabulary import Vocabulary, build_vocabulary
from itembed_tf.text.word_vectors import align, load_word_vectors


@dataclass(frozen=True)
class WordTable:
    """A vocabulary with the first values of its word embeddings.

    Attributes:
        vocabulary: built from training captions alone.
        vectors: float32 [words + 1, width]; None where the config has no word vectors.
        coverage: share of the captions' words, those of text.min_count occurrences, that have a word vector, 0..1.
    """

    vocabulary: Vocabulary
    vectors: np.ndarray | None
    coverage: float


def with_tokenizer(config: Config, captions: Iterable[str]) -> tuple[Config, str]:
    """The config with the tokenizer that ``text.tokenizer = "auto"`` gives for these training captions.

    The second value is a line for the screen; it is empty, and the config unchanged, where it names a tokenizer.
    """
    if config.text.tokenizer != "auto":
        return config, ""
    tokenizer, reason = choose_tokenizer(captions)
    line = f'tokenizer: "{tokenizer}", as {reason} (text.tokenizer = "auto")'
    return replace(config, text=replace(config.text, tokenizer=tokenizer)), line


def word_table(config: Config, captions: Sequence[Sequence[str]]) -> WordTable:
    """Build the vocabulary and the word embeddings from tokenised training captions (`tokenize_captions`)."""
    return word_tables([config], captions)[0]


def word_tables(configs: Sequence[Config], captions: Sequence[Sequence[str]]) -> list[WordTable]:
    """`word_table` of each member of an ensemble: one vocabulary, that of the first config, and its word embeddings.

    Members with the same source share its vectors; those of words that it does not have differ by the members' seeds.
    """
    loaded: dict[object, KeyedVectors | None] = {}
    for config in configs:
        key = config.word_vectors, config.text_tower.word_width
        if key not in loaded:
            loaded[key] = _load_vectors(config, captions)
    of_configs = [loaded[config.word_vectors, config.text_tower.word_width] for config in configs]
    vocabulary = _build(configs[0], captions, of_configs[0])
    counts = Counter(word for words in captions for word in words)
    own = [word for word in counts if counts[word] >= configs[0].text.min_count]
    return [_table(config, vocabulary, vectors, own) for config, vectors in zip(configs, of_configs)]


def _table(config: Config, vocabulary: Vocabulary, vectors: KeyedVectors | None, own: Sequence[str]) -> WordTable:
    if vectors is None:
        return WordTable(vocabulary, None, 0.0)
    table, _ = align(vectors, vocabulary.words, config.text_tower.word_width, config.seed)
    return WordTable(vocabulary, table, sum(word in vectors for word in own) / max(len(own), 1))


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
