"""The text encoder that an index carries: texts to vectors with LiteRT, without TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import StoredEncoders
from itembed_tf.litert import LiteRTFunction, encode_ids, litert_function
from itembed_tf.text import Vocabulary


@dataclass(frozen=True)
class EmbeddedTexts:
    """Texts as vectors.

    Attributes:
        vectors: float32 [n, D], unit length; 0 for a text without a known word, whose embedding has no meaning.
        known_words: int32 [n], words that the encoder read, at most L.
        words: the words of each text as the tokenizer writes them, and whether training saw each.
    """

    vectors: NDArray[np.float32]
    known_words: NDArray[np.int32]
    words: tuple[tuple[tuple[str, bool], ...], ...]


class TextEncoder:
    """Encodes texts; several threads may share one.

    Attributes:
        vocabulary: words and tokenizer.
        dimensions: D of a vector.
    """

    def __init__(self, vocabulary: Vocabulary, dimensions: int, function: LiteRTFunction) -> None:
        self.vocabulary = vocabulary
        self.dimensions = dimensions
        self._function = function
        self._lock = Lock()

    def embed(self, texts: Sequence[str]) -> EmbeddedTexts:
        """Encode texts, one after the other.

        Raises:
            TypeError: a single text instead of a list.
        """
        if isinstance(texts, (str, bytes)):
            raise TypeError("embed takes a list of texts; write embed([text])")
        tokens = [self.vocabulary.tokenize(text) for text in texts]
        ids = self.vocabulary.encode_words(tokens)
        known_words = np.count_nonzero(ids, axis=1).astype(np.int32)
        with self._lock:
            vectors = encode_ids(self._function, ids, np.zeros(self.dimensions, np.float32))
        known = self.vocabulary.ids
        words = tuple(tuple((word, word in known) for word in own) for own in tokens)
        return EmbeddedTexts(vectors, known_words, words)


def load_text_encoder(encoders: StoredEncoders) -> TextEncoder:
    """The text encoder of a generation.

    Raises:
        SearchIndexError: the stored file or tokenizer is damaged.
    """
    try:
        settings = json.loads(encoders.tokenizer)
        vocabulary = Vocabulary(tuple(settings.pop("words")), **settings)
        function = litert_function(encoders.text_encoder)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise SearchIndexError(
            f"the text encoder in the index (contract {encoders.contract[:16]}) cannot be loaded: {error}; check the "
            "index with `itembed index INDEX --verify`, or rebuild it"
        ) from None
    return TextEncoder(vocabulary, encoders.dimensions, function)


def tokenizer_json(vocabulary: Vocabulary) -> str:
    """The vocabulary as the table `encoders` has it."""
    settings = {
        "words": vocabulary.words,
        "tokenizer": vocabulary.tokenizer,
        "lowercase": vocabulary.lowercase,
        "length": vocabulary.length,
    }
    return json.dumps(settings, ensure_ascii=False)
