"""What would spoil a training in silence: captions of one word, captions that are cut, words without a vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from itembed_tf.config import Config
from itembed_tf.text.languages import language
from itembed_tf.text.tokenizer import tokenize
from itembed_tf.text.vocabulary import Vocabulary

# A caption of one word with more letters, or that "unicode" would split into so many, is a sentence without spaces.
LETTERS, PARTS = 12, 4
MANY = 0.1  # share of the captions that is worth a warning
MIN_COVERAGE = 0.5  # share of the words
ENGLISH_SOURCES = ("glove-50", "minilm")  # of word vectors
PAGE = "docs/languages.md"


def caption_warnings(
    config: Config, captions: Sequence[Sequence[str]], vocabulary: Vocabulary, coverage: float | None = None
) -> list[str]:
    """Warnings about tokenised training captions, each with what to do; usually none.

    Args:
        config: of the run.
        captions: the words of each caption.
        vocabulary: built from them.
        coverage: share of the words that have a word vector, 0..1; None without word vectors, or where it is unknown.
    """
    found = [_one_word(captions, vocabulary), _truncated(captions, vocabulary)]
    if coverage is not None:
        found.append(_coverage(config, captions, coverage))
    return [warning for warning in found if warning]


def _one_word(captions: Sequence[Sequence[str]], vocabulary: Vocabulary) -> str:
    whole = [words[0] for words in captions if len(words) == 1 and _is_sentence(words[0])]
    if len(whole) <= MANY * len(captions):
        return ""
    advice = 'set text.tokenizer = "auto" or "unicode", which split scripts without spaces'
    if vocabulary.tokenizer == "unicode":
        advice = "this script is not split: put spaces between the words, in captions and queries"
    return (
        f"{100 * len(whole) / len(captions):.0f} % of the training captions are one long word each, such as "
        f"{whole[0][:40]!r}, and other texts will not have these words; {advice} ({PAGE})"
    )


def _is_sentence(word: str) -> bool:
    return len(word) > LETTERS or len(tokenize(word, tokenizer="unicode", lowercase=True)) >= PARTS


def _truncated(captions: Sequence[Sequence[str]], vocabulary: Vocabulary) -> str:
    known = np.array([sum(word in vocabulary.ids for word in words) for words in captions])
    if (known > vocabulary.length).sum() <= MANY * len(captions):
        return ""
    return (
        f"{100 * (known > vocabulary.length).mean():.0f} % of the training captions have more than text.length = "
        f"{vocabulary.length} known words, and the rest of each is not read; with text.length = "
        f"{int(np.percentile(known, 99))}, 99 % of the captions are read whole"
    )


def _coverage(config: Config, captions: Sequence[Sequence[str]], coverage: float) -> str:
    source, path = config.word_vectors.source, config.word_vectors.path
    spoken = language(captions)
    foreign = source in ENGLISH_SOURCES and spoken is not None and spoken[0] != "en"
    if coverage >= MIN_COVERAGE and not foreign:
        return ""
    code, name = spoken or ("XX", "your language (XX: its code, such as de)")
    which = f"{source} ({path})" if path else source
    reason = " is English" if foreign else ""
    case = " If they are of this language, is their case that of text.lowercase?" if path else ""
    return (
        f"word vectors: {which}{reason}; it has {100 * coverage:.0f} % of the words of the captions.{case} "
        f"Use vectors for {name}: download fastText's cc.{code}.300.vec.gz and set word_vectors.source = "
        f'"word2vec", word_vectors.path = "cc.{code}.300.vec.gz" and text_tower.word_width = 300, or set '
        f'word_vectors.source = "skip-gram", which is trained on the captions ({PAGE})'
    )
