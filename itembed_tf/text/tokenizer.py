"""Tokenizers: text normalisation and word splitting, without TensorFlow. `text.graph` does the same in a graph.

Steps, for both tokenizers:
  1. the first MAX_BYTES bytes of the text's UTF-8; invalid bytes become U+FFFD
  2. ("unicode" only) NFKC
  3. by character: case folding, accent removal ("words" only); invisible characters are removed; everything that is no
     letter, mark or number becomes a space
  4. ("unicode" only) NFC, as some pairs compose in lower case alone; spaces around words of scripts without spaces
  5. split at spaces
`Vocabulary.encode` then drops out-of-vocabulary words, truncates to `length` words and pads with 0 on the right.

Both implementations use the same character tables, derived from `unicodedata`. The libraries of Python and TensorFlow
(ICU) disagree about the newest characters, final sigma and the Turkish dotted capital I.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache, cached_property

import numpy as np

TOKENIZERS = ("words", "unicode")
RULES_VERSION = "1"  # part of every checksum: increment it whenever a text may get other words than before
MAX_BYTES = 65_536  # bytes read from one text: bounds the work that one request can cause
SPACE = ord(" ")

# Invisible characters do not separate words: soft hyphen, joiners, direction marks, variation selectors, tags.
# The zero-width space U+200B is not one of them: it exists to separate words.
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180b-\u180f\u200c-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)

HAN = "\u2e80-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
SOUTH_EAST_ASIAN = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f"  # Thai, Lao, Myanmar, Khmer
HIRAGANA = "\u3041-\u3096\u309d-\u309f"
KATAKANA = "\u30a1-\u30fa\u30fd-\u30ff\u31f0-\u31ff"
KANA_TAIL = "\u30fc\u3099\u309a"  # the prolonged sound mark and the voicing marks continue a run of either kana


def _marks(class_: str) -> str:
    """The combining marks of a character class."""
    members = re.compile(f"[{class_}]")
    return "".join(m for m in map(chr, range(0x10000)) if unicodedata.category(m)[0] == "M" and members.match(m))


TAIL = _marks(SOUTH_EAST_ASIAN) + "\u0300-\u036f\u302a-\u302f" + KANA_TAIL[1:]
# One pattern for Python's `re` and for RE2 in the graph: only ranges and alternation, which both read alike.
SCRIPT_WORDS = (
    f"([{HAN}{SOUTH_EAST_ASIAN}][{TAIL}]*|[{HIRAGANA}][{HIRAGANA}{KANA_TAIL}]*|[{KATAKANA}][{KATAKANA}{KANA_TAIL}]*)"
)
SCRIPT_WORDS_SPACED = r" \1 "
_SCRIPT_WORDS = re.compile(SCRIPT_WORDS)


class Characters(dict[int, "int | None"]):
    """Character table for `str.translate`, computed lazily: code point to code point, SPACE or None (removed)."""

    def __init__(self, rule: Callable[[str], int | None]) -> None:
        super().__init__()
        self.rule = rule

    def __missing__(self, code: int) -> int | None:
        value = self[code] = self.rule(chr(code))
        return value

    @cached_property
    def pages(self) -> tuple[np.ndarray, np.ndarray]:
        """The whole table as an index int32 [0x1100] into unique pages int32 [P, 256]; -1: unchanged, 0: removed."""
        table = np.empty(0x110000, np.int32)
        for code in range(0x110000):
            value = self.rule(chr(code))
            table[code] = 0 if value is None else -1 if value == code else value
        pages, index = np.unique(table.reshape(-1, 256), axis=0, return_inverse=True)
        return index.reshape(-1).astype(np.int32), pages


def _lower(character: str) -> str:
    """Case folding, one character to one: final sigma becomes sigma, dotted capital I becomes i, sharp s is kept."""
    folded = character.casefold()
    return folded if len(folded) == 1 else character.lower()[0]


def _fold(character: str) -> str:
    """The base letter, if canonical decomposition (NFD) adds only accents U+0300-U+036F; else the character itself."""
    base, *accents = list(unicodedata.normalize("NFD", character))
    return base if all("\u0300" <= accent <= "\u036f" for accent in accents) else character


def _character(character: str, *, lowercase: bool, fold: bool) -> int | None:
    if INVISIBLE.match(character) or (fold and "\u0300" <= character <= "\u036f"):
        return None
    category = unicodedata.category(character)
    if category == "Me":  # enclosing marks, as in keycap emoji
        return None
    if category[0] not in "LMN":
        return SPACE
    character = _lower(character) if lowercase else character
    return ord(_fold(character) if fold else character)


def _assigned(character: str) -> int | None:
    """Applied before NFKC: characters unknown to this Python's `unicodedata`, and control characters, become spaces.

    The graph's ICU may know newer characters, and would normalise them otherwise.
    """
    if INVISIBLE.match(character):
        return None
    return SPACE if unicodedata.category(character) in ("Cn", "Cc") else ord(character)


@cache
def characters(tokenizer: str, lowercase: bool) -> tuple[Characters, Characters | None]:
    """The character table of a tokenizer, and for "unicode" the one that is applied before NFKC (else None)."""
    table = Characters(lambda c: _character(c, lowercase=lowercase, fold=tokenizer == "words"))
    return table, Characters(_assigned) if tokenizer == "unicode" else None


def _decode(text: str | bytes) -> str:
    if isinstance(text, str) and 4 * len(text) <= MAX_BYTES:
        return text
    if isinstance(text, str):
        text = text[:MAX_BYTES].encode("utf-8", "replace")
    return text[:MAX_BYTES].decode("utf-8", "replace")


def tokenize(text: str | bytes, *, tokenizer: str, lowercase: bool) -> list[str]:
    """Split a text into words.

    Args:
        text: str or UTF-8 bytes (invalid bytes separate words); only the first MAX_BYTES bytes are read.
        tokenizer: "words": words are runs of letters, marks and numbers; accents are removed. "unicode": NFKC, accents
            kept; in addition, each Han, Thai, Lao, Khmer or Myanmar character with its marks is a word, and so is each
            run of Hiragana or Katakana.
        lowercase: fold case, one character to one.
    """
    table, before_nfkc = characters(tokenizer, lowercase)
    decoded = _decode(text)
    if before_nfkc is not None and not decoded.isascii():
        decoded = unicodedata.normalize("NFKC", decoded.translate(before_nfkc))
    decoded = decoded.translate(table)
    if before_nfkc is not None and not decoded.isascii():
        decoded = _SCRIPT_WORDS.sub(SCRIPT_WORDS_SPACED, unicodedata.normalize("NFC", decoded))
    return decoded.split()
