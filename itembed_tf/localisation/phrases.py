"""Phrase features: words without stop words, encoded by fixed sentence features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from itembed_tf.config import Config, arguments
from itembed_tf.models.inference import inference_function, predict
from itembed_tf.sentence_features.fitting import BATCH, fit_sentences
from itembed_tf.sentence_features.layers import sentence_features
from itembed_tf.text import tokenize, tokenize_captions
from itembed_tf.text.word_table import with_tokenizer, word_table

# Stop words: articles, pronouns, prepositions and forms of "be", which do not distinguish entities.
STOP_WORDS = frozenset(
    (
        *("a", "an", "the", "this", "that", "these", "those", "some", "any", "and", "or", "of", "in", "on", "at", "to"),
        *("for", "from", "with", "by", "as", "is", "are", "be", "being", "been", "who", "which", "it", "its", "he"),
        *("him", "his", "she", "her", "they", "them", "their"),
    )
)


def normalise_phrase(phrase: str) -> str:
    """Lower-case a phrase and remove stop words, unless nothing would be left (as the paper's code)."""
    words = tokenize(phrase, tokenizer="words", lowercase=True)
    return " ".join([word for word in words if word not in STOP_WORDS] or words)


def phrase_features(config: Config, training: Sequence[str], phrases: Sequence[str]) -> np.ndarray:
    """Features of normalised phrases, float32 [n, F], from the config's [text], [word_vectors] and [sentence].

    Vocabulary and features are fitted on the `training` phrases only. A phrase without a known word gives zeros.
    """
    config, _ = with_tokenizer(config, training)
    words = tokenize_captions(training, tokenizer=config.text.tokenizer, lowercase=config.text.lowercase)
    table = word_table(config, words)
    vocabulary = table.vocabulary
    features = sentence_features(
        **arguments(config.sentence),
        vocabulary_size=len(vocabulary.words) + 1,
        word_width=config.text_tower.word_width,
        length=vocabulary.length,
    )
    fit_sentences(
        features,
        vocabulary.encode_words(words),
        table.vectors,
        components=config.sentence.components,
        size=config.sentence.size,
        seed=config.seed,
    )
    ids = vocabulary.encode(phrases)
    encoded = predict(inference_function(features), ids, BATCH)
    return np.where(ids.any(axis=1, keepdims=True), encoded, np.float32(0))
