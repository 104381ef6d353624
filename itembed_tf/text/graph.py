"""Text encoding in a TensorFlow graph, with the steps and tables of `text.tokenizer`: a server gives the same ids."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import tensorflow as tf

from itembed_tf.text.tokenizer import MAX_BYTES, SCRIPT_WORDS, SCRIPT_WORDS_SPACED, Characters, characters
from itembed_tf.text.vocabulary import Vocabulary, load_vocabulary


class TextGraph(tf.Module):
    """`Vocabulary.encode` as TensorFlow ops, for SavedModels.

    Tokenizer "words" uses only TensorFlow's own ops. Tokenizer "unicode" uses those of tensorflow-text: a program must
    import tensorflow_text before it loads the model, and a server must be built with its ops.

    Args:
        vocabulary: the words and settings.
        vocabulary_file: the same words on disk; the SavedModel contains a copy as an asset.

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
                f"{vocabulary_file} ({len(on_disk.words)} words) differs from the vocabulary "
                f"({len(vocabulary.words)} words); write it with vocabulary.save(path)"
            )
        self.length = vocabulary.length
        self.table, self.before_nfkc = characters(vocabulary.tokenizer, vocabulary.lowercase)
        if self.before_nfkc is not None:
            _tensorflow_text()  # raises here rather than during tracing
        self.words = tf.lookup.StaticHashTable(
            _LineNumbers(str(vocabulary_file), vocabulary.checksum()), default_value=0
        )

    def __call__(self, text: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Encode a batch of texts.

        Args:
            text: string [B], UTF-8.

        Returns:
            ids int32 [B, L], padded with 0 on the right; and known_words int32 [B], the number of words in each row.
        """
        text = tf.strings.substr(text, 0, MAX_BYTES)
        if self.before_nfkc is not None:
            text = _tensorflow_text().normalize_utf8(_translate(text, self.before_nfkc), "NFKC")
        text = _translate(text, self.table)
        if self.before_nfkc is not None:
            text = _tensorflow_text().normalize_utf8(text, "NFC")
            text = tf.strings.regex_replace(text, SCRIPT_WORDS, SCRIPT_WORDS_SPACED)
        words = tf.strings.split(text, sep=" ")  # empty strings between spaces are out of vocabulary
        ids = words.with_flat_values(tf.cast(self.words.lookup(words.flat_values), tf.int32))
        known = tf.ragged.boolean_mask(ids, ids > 0)
        known_words = tf.minimum(tf.cast(known.row_lengths(), tf.int32), self.length)
        return known.to_tensor(shape=[None, self.length]), known_words


class _LineNumbers(tf.lookup.TextFileInitializer):
    """Maps each line of a file to its line number, counted from 1."""

    def __init__(self, path: str, checksum: str) -> None:
        self.checksum = checksum
        whole, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        super().__init__(path, tf.string, whole, tf.int64, number, value_index_offset=1)

    @property
    def _shared_name(self) -> str:
        # Private API: TensorFlow names a table after its file's path and shares tables of one name within a process, so
        # that a rewritten file would keep its old words. The public alternative, an anonymous table, is reached by its
        # handle alone, and a server initialises tables by name. tests/text/test_graph.py fails if TensorFlow stops
        # using this property.
        return f"vocabulary_{self.checksum}"


def _translate(text: tf.Tensor, table: Characters) -> tf.Tensor:
    """`str.translate` as TensorFlow ops: string [B] to string [B]."""
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
            'tokenizer "unicode" needs the package tensorflow-text: pip install tensorflow-text (of the same version '
            "as "
            'TensorFlow), or set text.tokenizer = "words"'
        ) from error
    return tensorflow_text
