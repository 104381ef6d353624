"""The tokeniser as data: one text file from which another language does what `itembed_tf.text.vocabulary` does.

One line a fact, values parted by single spaces, code points in hexadecimal, ranges as ``first-last``:

    itembed_tf tokenizer 1           the version of the rules (`itembed_tf.text.vocabulary.RULES_VERSION`)
    tokenizer words
    lowercase true
    length 32                        ids of a sentence
    longest 65536                    bytes of a sentence that are read
    before drop ad 34f ...           tokenizer "unicode" alone, before NFKC: what is left out
    before part 0-1f ...             ... and what becomes a space
    after drop ad 34f ...            then: what is left out,
    after part 0-2f 3a-40 ...        what becomes a space,
    after +32 41-5a c0 ...           what becomes another character, by what is added to its code point,
    after =61 c1 e0-e5 ...           or by what it becomes
    spaced 3005 4e00-9fff | 300-36f  tokenizer "unicode" alone, after NFC: one of the left and all of the right that
                                     follow it are a word; the first such line that fits
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from itembed_tf.text import MAX_BYTES, RULES_VERSION, Vocabulary
from itembed_tf.text.tokenizer import (
    HAN,
    HIRAGANA,
    KANA_TAIL,
    KATAKANA,
    SOUTH_EAST_ASIAN,
    SPACE,
    TAIL,
    Characters,
    characters,
)

TOKENIZER_FILE = "tokenizer.txt"
# As `itembed_tf.text.vocabulary.SCRIPT_WORDS` has them: heads and tails of words in scripts without spaces.
SPACED = ((HAN + SOUTH_EAST_ASIAN, TAIL), (HIRAGANA, HIRAGANA + KANA_TAIL), (KATAKANA, KATAKANA + KANA_TAIL))


def tokenizer_file(vocabulary: Vocabulary) -> str:
    """The content of ``tokenizer.txt``: all that decides the words of a sentence, but for the vocabulary itself."""
    after, before = characters(vocabulary.tokenizer, vocabulary.lowercase)
    lines = [
        f"itembed_tf tokenizer {RULES_VERSION}",
        f"tokenizer {vocabulary.tokenizer}",
        f"lowercase {str(vocabulary.lowercase).lower()}",
        f"length {vocabulary.length}",
        f"longest {MAX_BYTES}",
    ]
    if before is not None:
        lines += _table("before", before)
    lines += _table("after", after)
    if before is not None:
        lines += [f"spaced {_ranges(_listed(head))} | {_ranges(_listed(tail))}" for head, tail in SPACED]
    return "".join(f"{line}\n" for line in lines)


def _table(name: str, table: Characters) -> list[str]:
    index, pages = table.pages
    to = pages[index].reshape(-1)  # of every code point: -1 itself, 0 dropped
    codes = np.flatnonzero(to > 0)
    codes = codes[to[codes] != SPACE]
    shifts, targets = Counter((to[codes] - codes).tolist()), Counter(to[codes].tolist())
    by_action: dict[str, list[int]] = {}
    for code, value in zip(codes.tolist(), to[codes].tolist()):
        # Cases differ by few shifts, accented letters share few bases: whichever makes fewer lines.
        action = f"={value:x}" if targets[value] > shifts[value - code] else f"{value - code:+d}"
        by_action.setdefault(action, []).append(code)
    lines = [f"{name} {action} {_ranges(codes)}" for action, codes in by_action.items()]
    alone = [
        f"{name} {action} {_ranges(np.flatnonzero(to == value))}" for action, value in (("drop", 0), ("part", SPACE))
    ]
    return alone + lines


def _listed(class_: str) -> list[int]:
    """The code points of a character class without its brackets, such as "a-cx"."""
    codes, i = set(), 0
    while i < len(class_):
        last = class_[i + 2] if class_[i + 1 : i + 2] == "-" else class_[i]
        codes |= set(range(ord(class_[i]), ord(last) + 1))
        i += 3 if last != class_[i] else 1
    return sorted(codes)


def _ranges(codes: Sequence[int] | np.ndarray) -> str:
    """Ascending code points as ``first-last`` and single ones."""
    found = np.asarray(codes)
    runs = np.split(found, np.flatnonzero(np.diff(found) != 1) + 1)
    return " ".join(f"{run[0]:x}" if len(run) == 1 else f"{run[0]:x}-{run[-1]:x}" for run in runs)
