"""Captions in twelve languages with the default settings: do they become words, and is the user warned?

    python -m benchmarks.languages [--quick]

A hundred captions of each language (`benchmarks.language_captions`) take the way of a training: tokenizer, vocabulary,
word vectors, warnings. Of each, the table has the tokenizer that "auto" chooses, words per caption, different words
(types), types that lose their difference from another by the tokenizer (merged), and the share of types with a word
vector; in brackets what the tokenizer "words" would give. A language fails where captions are one word each, where
types merge, or where a warning is missing or needless: all but English need other word vectors than the default ones,
Thai also a larger text.length, and with the tokenizer "words", scripts without spaces must be warned of. --quick takes
twenty captions of each.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import replace
from statistics import mean

from benchmarks.language_captions import LANGUAGES, captions
from benchmarks.runner import print_versions, verdict
from itembed_tf.config import Config
from itembed_tf.text import tokenize, tokenize_captions
from itembed_tf.text.caption_warnings import caption_warnings
from itembed_tf.text.word_table import with_tokenizer, word_table

WITHOUT_SPACES = ("Chinese", "Japanese", "Thai")
# A part of each warning that is due, with the default settings.
VECTORS, LENGTH, ONE_WORD = "Use vectors for", "have more than text.length", "one long word each"


def words_of(texts: list[str], tokenizer: str) -> list[list[str]]:
    return tokenize_captions(texts, tokenizer=tokenizer, lowercase=True)


def merged_types(texts: list[str], tokenizer: str) -> int:
    """Types, with their accents, that the tokenizer makes equal to another type."""
    types = {word for words in words_of(texts, "unicode") for word in words}
    forms = {word: tuple(tokenize(word, tokenizer=tokenizer, lowercase=True)) for word in types}
    counts = Counter(forms.values())
    return sum(counts[form] > 1 for form in forms.values())


def warnings_of(texts: list[str], tokenizer: str) -> tuple[list[str], float, str]:
    """The warnings of a training on these captions, the coverage, and the tokenizer that was used."""
    config = Config()
    config, _ = with_tokenizer(replace(config, text=replace(config.text, tokenizer=tokenizer)), texts)
    words = words_of(texts, config.text.tokenizer)
    table = word_table(config, words)
    return caption_warnings(config, words, table.vocabulary, table.coverage), table.coverage, config.text.tokenizer


def problems(name: str, texts: list[str]) -> list[str]:
    """Print the row of a language and return what is wrong with it."""
    given, coverage, tokenizer = warnings_of(texts, "auto")
    words, plain = words_of(texts, tokenizer), words_of(texts, "words")
    types, plain_types = ({word for own in each for word in own} for each in (words, plain))
    merged = merged_types(texts, tokenizer)
    print(
        f"{name:11} {tokenizer:8} {mean(map(len, words)):5.1f} ({mean(map(len, plain)):4.1f}) {len(types):6}"
        f" ({len(plain_types):3}) {merged:7} ({merged_types(texts, 'words'):3}) {100 * coverage:8.0f} %"
        f"   {len(given)}"
    )
    due = [VECTORS] * (name != "English") + [LENGTH] * (name == "Thai")
    wrong = [f"no warning {part!r}" for part in due if not any(part in warning for warning in given)]
    wrong += [f"needless: {warning}" for warning in given if not any(part in warning for part in due)]
    wrong += ["one word a caption"] if sum(len(own) == 1 for own in words) > len(words) / 100 else []
    wrong += [f"{merged} merged types"] if merged else []
    if name in WITHOUT_SPACES and not any(ONE_WORD in warning for warning in warnings_of(texts, "words")[0]):
        wrong.append('no warning of tokenizer "words"')
    return wrong


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="twenty captions of each language")
    step = 5 if parser.parse_args(argv).quick else 1
    print_versions()
    print(f"{'':11} {'auto':8} {'words a caption':>12} {'types':>10} {'merged':>13} {'coverage':>11} warnings")
    wrong = {name: problems(name, captions(name)[::step]) for name in LANGUAGES}
    for name, listed in wrong.items():
        for problem in listed:
            print(f"{name}: {problem}")
    failed = sum(map(bool, wrong.values()))
    return verdict("languages", f"{failed} of {len(wrong)} languages fail", "0", failed == 0)


if __name__ == "__main__":
    sys.exit(main())
