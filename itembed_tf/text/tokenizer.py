"""A sentence -> words -> ids. No TensorFlow: `text_graph` builds the same steps in a graph from the tables made here.

The road of a sentence, for both tokenizers:
  bytes or str -> the first LONGEST bytes of its UTF-8, errors replaced by U+FFFD
  -> (unicode only) NFKC
  -> character by character: lower-cased or folded, dropped if invisible, a space if it is no letter, mark or number
  -> (unicode only) NFC, as some pairs compose in lower case alone, and a space around words of scripts without spaces
  -> split at spaces -> known words only -> the first `length` of them -> ids, padded with 0 on the right.

The tables rest on `unicodedata` and not on either side's libraries, which disagree about the newest characters, about
final sigma and about the Turkish dotted capital I.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache, cached_property

import numpy as np

TOKENIZERS = ("words", "unicode")
RULES_VERSION = "1"  # part of every checksum: raise it whenever a sentence may get other words than before
LONGEST = 65_536  # bytes read of one sentence: bounds the work that one string can ask of a server
SPACE = ord(" ")

# What is not seen does not part a word: soft hyphen, joiners, direction marks, variation selectors, tags.
# The zero-width space U+200B is not among them: it is written to part words.
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180b-\u180f\u200c-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)

HAN = "\u2e80-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
SOUTH_EAST_ASIAN = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f"  # Thai, Lao, Myanmar, Khmer
HIRAGANA = "\u3041-\u3096\u309d-\u309f"
KATAKANA = "\u30a1-\u30fa\u30fd-\u30ff\u31f0-\u31ff"
KANA_TAIL = "\u30fc\u3099\u309a"  # prolonged sound mark and the voicing marks continue a run of either kana


def _marks(class_: str) -> str:
    """The combining marks within a character class, listed."""
    inside = re.compile(f"[{class_}]")
    return "".join(m for m in map(chr, range(0x10000)) if unicodedata.category(m)[0] == "M" and inside.match(m))


TAIL = _marks(SOUTH_EAST_ASIAN) + "\u0300-\u036f\u302a-\u302f" + KANA_TAIL[1:]
# One pattern for Python's `re` and for RE2 in the graph: literal ranges and plain alternation, nothing they read apart.
SCRIPT_WORDS = (
    f"([{HAN}{SOUTH_EAST_ASIAN}][{TAIL}]*|[{HIRAGANA}][{HIRAGANA}{KANA_TAIL}]*|[{KATAKANA}][{KATAKANA}{KANA_TAIL}]*)"
)
SCRIPT_WORDS_SPACED = r" \1 "
_SCRIPT_WORDS = re.compile(SCRIPT_WORDS)


class Characters(dict[int, "int | None"]):
    """What every code point becomes by `rule`: another, SPACE or None (dropped); for `str.translate`, filled as met."""

    def __init__(self, rule: Callable[[str], int | None]) -> None:
        super().__init__()
        self.rule = rule

    def __missing__(self, code: int) -> int | None:
        value = self[code] = self.rule(chr(code))
        return value

    @cached_property
    def pages(self) -> tuple[np.ndarray, np.ndarray]:
        """All code points as an index int32 [0x1100] into different pages int32 [P, 256]; -1: itself, 0: dropped."""
        table = np.empty(0x110000, np.int32)
        for code in range(0x110000):
            value = self.rule(chr(code))
            table[code] = 0 if value is None else -1 if value == code else value
        pages, index = np.unique(table.reshape(-1, 256), axis=0, return_inverse=True)
        return index.reshape(-1).astype(np.int32), pages


def _lower(character: str) -> str:
    """The one character that a character's case folds to: final sigma as sigma, dotted capital I as i, sharp s kept."""
    folded = character.casefold()
    return folded if len(folded) == 1 else character.lower()[0]


def _fold(character: str) -> str:
    """The base letter where all that canonical decomposition adds are accents U+0300-U+036F; else the character."""
    base, *accents = list(unicodedata.normalize("NFD", character))
    return base if all("\u0300" <= accent <= "\u036f" for accent in accents) else character


def _character(character: str, *, lowercase: bool, fold: bool) -> int | None:
    if INVISIBLE.match(character) or (fold and "\u0300" <= character <= "\u036f"):
        return None
    category = unicodedata.category(character)
    if category == "Me":  # an enclosing mark, as on the keycap emoji, is decoration
        return None
    if category[0] not in "LMN":
        return SPACE
    character = _lower(character) if lowercase else character
    return ord(_fold(character) if fold else character)


def _assigned(character: str) -> int | None:
    """Before NFKC: characters newer than this Python part words, whatever the graph's ICU makes of them; NUL too."""
    if INVISIBLE.match(character):
        return None
    return SPACE if unicodedata.category(character) in ("Cn", "Cc") else ord(character)


@cache
def characters(tokenizer: str, lowercase: bool) -> tuple[Characters, Characters | None]:
    """The table that makes words, and for "unicode" the one to apply before NFKC (None for "words")."""
    table = Characters(lambda c: _character(c, lowercase=lowercase, fold=tokenizer == "words"))
    return table, Characters(_assigned) if tokenizer == "unicode" else None


def _read(sentence: str | bytes) -> str:
    if isinstance(sentence, str) and 4 * len(sentence) <= LONGEST:
        return sentence
    if isinstance(sentence, str):
        sentence = sentence[:LONGEST].encode("utf-8", "replace")
    return sentence[:LONGEST].decode("utf-8", "replace")


def tokenize(sentence: str | bytes, *, tokenizer: str, lowercase: bool) -> list[str]:
    """The words of one sentence, in order.

    Args:
        sentence: str, or bytes of UTF-8 (what is not UTF-8 parts words); at most LONGEST bytes of it are read.
        tokenizer: "words": accents are dropped, runs of letters, marks and numbers are words. "unicode": NFKC, accents
            kept; besides, each Han, Thai, Lao, Khmer or Myanmar character with its marks is a word, and so is each run
            of Hiragana and of Katakana.
        lowercase: fold case, one character to one.
    """
    table, before = characters(tokenizer, lowercase)
    text = _read(sentence)
    if before is not None and not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(before))
    text = text.translate(table)
    if before is not None and not text.isascii():
        text = _SCRIPT_WORDS.sub(SCRIPT_WORDS_SPACED, unicodedata.normalize("NFC", text))
    return text.split()
