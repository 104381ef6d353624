"""The tokenizer as a text file, so that other languages can implement `itembed_tf.text.tokenizer` exactly.

One rule per line, values separated by single spaces, code points in hexadecimal, ranges as ``first-last``:

    itembed_tf tokenizer 1           version of the rules (`itembed_tf.text.vocabulary.RULES_VERSION`)
    tokenizer words
    lowercase true
    length 32                        ids per text
    longest 65536                    bytes of a text that are read
    before drop ad 34f ...           tokenizer "unicode" only, before NFKC: characters that are removed
    before part 0-1f ...             ... and that become a space
    after drop ad 34f ...            then: characters that are removed,
    after part 0-2f 3a-40 ...        that become a space,
    after +32 41-5a c0 ...           that are mapped by adding to their code point,
    after =61 c1 e0-e5 ...           or that are mapped to one code point
    spaced 3005 4e00-9fff | 300-36f  tokenizer "unicode" only, after NFC: a character of the left and all characters of
                                     the right that follow it form a word; the first line that matches applies
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
# Heads and tails of words in scripts without spaces, as in `itembed_tf.text.tokenizer.SCRIPT_WORDS`.
SPACED = ((HAN + SOUTH_EAST_ASIAN, TAIL), (HIRAGANA, HIRAGANA + KANA_TAIL), (KATAKANA, KATAKANA + KANA_TAIL))


def tokenizer_file(vocabulary: Vocabulary) -> str:
    """The content of ``tokenizer.txt``: everything that decides the words of a text, except the vocabulary."""
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
    to = pages[index].reshape(-1)  # target of every code point: -1 itself, 0 removed
    codes = np.flatnonzero(to > 0)
    codes = codes[to[codes] != SPACE]
    shifts, targets = Counter((to[codes] - codes).tolist()), Counter(to[codes].tolist())
    by_action: dict[str, list[int]] = {}
    for code, value in zip(codes.tolist(), to[codes].tolist()):
        # Letter cases differ by a few shifts, accented letters share a few bases: use whichever makes fewer lines.
        action = f"={value:x}" if targets[value] > shifts[value - code] else f"{value - code:+d}"
        by_action.setdefault(action, []).append(code)
    lines = [f"{name} {action} {_ranges(codes)}" for action, codes in by_action.items()]
    alone = [
        f"{name} {action} {_ranges(np.flatnonzero(to == value))}" for action, value in (("drop", 0), ("part", SPACE))
    ]
    return alone + lines


def _listed(class_: str) -> list[int]:
    """Code points of a character class without its brackets, such as "a-cx"."""
    codes, i = set(), 0
    while i < len(class_):
        last = class_[i + 2] if class_[i + 1 : i + 2] == "-" else class_[i]
        codes |= set(range(ord(class_[i]), ord(last) + 1))
        i += 3 if last != class_[i] else 1
    return sorted(codes)


def _ranges(codes: Sequence[int] | np.ndarray) -> str:
    """Ascending code points as ranges ``first-last`` and single code points."""
    array = np.asarray(codes)
    runs = np.split(array, np.flatnonzero(np.diff(array) != 1) + 1)
    return " ".join(f"{run[0]:x}" if len(run) == 1 else f"{run[0]:x}-{run[-1]:x}" for run in runs)
