"""What a config makes of training captions: the vocabulary, and the word vectors that its table starts with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from itembed_tf.config import Config, arguments
from itembed_tf.text.vocabulary import Vocabulary, build_vocabulary, tokenize
from itembed_tf.text.word_vectors import align, load_word_vectors


def word_table(config: Config, captions: Sequence[str]) -> tuple[Vocabulary, np.ndarray | None, float]:
    """The words of training captions, which no caption of dev or test has a part in.

    Returns:
        The vocabulary; the word table's first values, float32 [words + 1, width], or None where the config asks for no
        word vectors; and the share of words that have a vector.
    """
    width, text = config.text_tower.word_width, config.text
    sentences = [tokenize(c, tokenizer=text.tokenizer, lowercase=text.lowercase) for c in captions]
    vectors = load_word_vectors(**arguments(config.word_vectors), width=width, sentences=sentences, seed=config.seed)
    extra = vectors.index_to_key[: config.word_vectors.extra_words] if vectors else []
    vocabulary = build_vocabulary(captions, **arguments(text), vectors=vectors, extra_words=extra)
    if vectors is None:
        return vocabulary, None, 0.0
    return vocabulary, *align(vectors, vocabulary.words, width, config.seed)
