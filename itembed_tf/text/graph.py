"""Sentences -> ids inside a TensorFlow graph: the steps and tables of `text`, so that served and Python ids agree."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import tensorflow as tf

from itembed_tf.text.tokenizer import (
    LONGEST,
    SCRIPT_WORDS,
    SCRIPT_WORDS_SPACED,
    Characters,
    characters,
)
from itembed_tf.text.vocabulary import Vocabulary, load_vocabulary


class TextGraph(tf.Module):
    """What `Vocabulary.encode` does, as TensorFlow ops that a SavedModel carries.

    With tokenizer "words" the graph needs nothing but TensorFlow's own ops; with "unicode" whoever loads it must have
    tensorflow-text (import tensorflow_text, or a server built with its ops).

    Args:
        vocabulary: the words and settings.
        vocabulary_file: the same words on disk; a SavedModel takes the file along as an asset.

    Raises:
        ValueError: the file holds other words than the vocabulary.
        ModuleNotFoundError: tokenizer "unicode" without tensorflow-text.
    """

    def __init__(self, vocabulary: Vocabulary, vocabulary_file: str | Path) -> None:
        super().__init__(name="text_graph")
        on_disk = load_vocabulary(
            vocabulary_file, tokenizer=vocabulary.tokenizer, lowercase=vocabulary.lowercase, length=vocabulary.length
        )
        if on_disk.words != vocabulary.words:
            raise ValueError(
                f"{vocabulary_file} holds {len(on_disk.words)} words that are not the vocabulary's "
                f"{len(vocabulary.words)}; write it with vocabulary.save(path)"
            )
        self.length = vocabulary.length
        self.table, self.before = characters(vocabulary.tokenizer, vocabulary.lowercase)
        if self.before is not None:
            _tensorflow_text()  # fail here, not while a model is being traced
        self.words = tf.lookup.StaticHashTable(_Lines(str(vocabulary_file), vocabulary.checksum()), default_value=0)

    def __call__(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Encode a batch of sentences.

        Args:
            text: string [B], UTF-8.

        Returns:
            ids int32 [B, L], left-aligned, 0 = padding; and known_words int32 [B], how many of the L are words.
        """
        text = tf.strings.substr(text, 0, LONGEST)
        if self.before is not None:
            text = _tensorflow_text().normalize_utf8(_translate(text, self.before), "NFKC")
        text = _translate(text, self.table)
        if self.before is not None:
            text = _tensorflow_text().normalize_utf8(text, "NFC")
            text = tf.strings.regex_replace(text, SCRIPT_WORDS, SCRIPT_WORDS_SPACED)
        words = tf.strings.split(text, sep=" ")  # an empty string between two spaces is an unknown word like any other
        ids = words.with_flat_values(tf.cast(self.words.lookup(words.flat_values), tf.int32))
        known = tf.ragged.boolean_mask(ids, ids > 0)
        known_words = tf.minimum(tf.cast(known.row_lengths(), tf.int32), self.length)
        return known.to_tensor(shape=[None, self.length]), known_words


class _Lines(tf.lookup.TextFileInitializer):
    """Line -> line number, counted from 1."""

    def __init__(self, path: str, checksum: str) -> None:
        self.checksum = checksum
        whole, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        super().__init__(path, tf.string, whole, tf.int64, number, value_index_offset=1)

    @property
    def _shared_name(self) -> str:
        # TensorFlow shares tables of one process by the file's path: a file written anew would meet the old words.
        return f"vocabulary_{self.checksum}"


def _translate(text: tf.Tensor, table: Characters) -> tf.Tensor:
    """`str.translate` in the graph: string [B] -> string [B]."""
    index, pages = table.pages
    codes = tf.strings.unicode_decode(text, "UTF-8", errors="replace")
    flat = codes.flat_values
    places = tf.gather(index, flat // 256) * 256 + flat % 256
    values = tf.gather(pages.reshape(-1), places)
    codes = codes.with_flat_values(tf.where(values < 0, flat, values))
    return tf.strings.unicode_encode(tf.ragged.boolean_mask(codes, codes > 0), "UTF-8")


def _tensorflow_text() -> ModuleType:
    try:
        import tensorflow_text
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'tokenizer "unicode" needs tensorflow-text in the graph: pip install tensorflow-text of TensorFlow\'s '
            'version, or set text.tokenizer = "words"'
        ) from error
    return tensorflow_text
