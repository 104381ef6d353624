"""What a phrase is to the network: its words without fillers, and their features, which stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from itembed_tf.config import Config, arguments
from itembed_tf.models.inference import inference_function, predict
from itembed_tf.sentence_features.fitting import BATCH, fit_sentences
from itembed_tf.sentence_features.layers import sentence_features
from itembed_tf.text import tokenize
from itembed_tf.text.word_table import word_table

# Articles, pronouns, prepositions and the like, which tell no thing from another.
FILLERS = frozenset(
    (
        *("a", "an", "the", "this", "that", "these", "those", "some", "any", "and", "or", "of", "in", "on", "at", "to"),
        *("for", "from", "with", "by", "as", "is", "are", "be", "being", "been", "who", "which", "it", "its", "he"),
        *("him", "his", "she", "her", "they", "them", "their"),
    )
)


def plain(phrase: str) -> str:
    """Lower-case words without fillers; where nothing would be left, all words (as the paper's code)."""
    words = tokenize(phrase, tokenizer="words", lowercase=True)
    return " ".join([word for word in words if word not in FILLERS] or words)


def phrase_features(config: Config, training: Sequence[str], phrases: Sequence[str]) -> np.ndarray:
    """Features float32 [n, F] of plain phrases, by the config's [text], [word_vectors] and [sentence].

    Words and numbers are fitted to the `training` phrases alone. A phrase without a known word is a row of zeros.
    """
    vocabulary, table, _ = word_table(config, training)
    features = sentence_features(
        **arguments(config.sentence),
        vocabulary_size=len(vocabulary.words) + 1,
        word_width=config.text_tower.word_width,
        length=vocabulary.length,
    )
    fit_sentences(
        features,
        vocabulary.encode(training),
        table,
        components=config.sentence.components,
        size=config.sentence.size,
        seed=config.seed,
    )
    ids = vocabulary.encode(phrases)
    found = predict(inference_function(features), ids, BATCH)
    return np.where(ids.any(axis=1, keepdims=True), found, np.float32(0))
