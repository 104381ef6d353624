"""Caption checks: duplicates across groups, empty, without words, out of vocabulary, truncated, or too few."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tqdm import tqdm

from itembed_tf.config import Config
from itembed_tf.data.readers import EmptyCaption, Group
from itembed_tf.text import tokenize_captions
from itembed_tf.text.caption_warnings import caption_warnings
from itembed_tf.text.word_table import training_vocabulary, with_tokenizer

SHOWN = 1000  # findings of each kind that are listed; all are counted
MAX_CHARACTERS = 300  # of a caption in a finding
GROUPS = 20  # groups of a duplicate caption that are listed


@dataclass(frozen=True)
class Caption:
    """A caption to look at, with the number of its words that the vocabulary has."""

    group: str
    split: str
    caption: str
    known_words: int


@dataclass(frozen=True)
class FewCaptions:
    """A group with few captions, and the median of its split."""

    group: str
    split: str
    captions: int
    median: float


@dataclass(frozen=True)
class DuplicateCaption:
    """A caption of several groups: its words, the number of groups, their splits, and the first ids."""

    caption: str
    count: int
    splits: list[str]
    groups: list[str]


@dataclass(frozen=True)
class CaptionList:
    """All captions of one kind: their number, and the first of them."""

    count: int
    shown: list[Caption]


@dataclass(frozen=True)
class FewCaptionsList:
    """All groups with few captions: their number, and the first of them."""

    count: int
    shown: list[FewCaptions]


@dataclass(frozen=True)
class DuplicateCaptions:
    """Captions that several groups have, those of most groups first.

    Attributes:
        count: distinct captions.
        groups: groups that have one of them.
        in_training: captions of several training groups. These are false negatives: the losses push an image away from
            a text that describes it.
        shown: the first of them.
    """

    count: int
    groups: int
    in_training: int
    shown: list[DuplicateCaption]


@dataclass(frozen=True)
class CaptionFindings:
    """What the caption checks found.

    Attributes:
        captions: number of captions checked, without the empty ones.
        duplicates: captions of several groups, compared as words.
        empty: only white space; the reader has left them out.
        without_words: characters, but no word.
        unknown: words, but none in the vocabulary of the training captions.
        truncated: more known words than text.length; those with most words first.
        few: groups with less than half as many captions with words as the median group of their split.
    """

    captions: int
    duplicates: DuplicateCaptions
    empty: CaptionList
    without_words: CaptionList
    unknown: CaptionList
    truncated: CaptionList
    few: FewCaptionsList


def check_captions(groups: Sequence[Group], config: Config, empty: Sequence[EmptyCaption] = ()) -> CaptionFindings:
    """Check all captions, with the tokenizer and vocabulary that training would use; `empty` are those left out."""
    config, line = with_tokenizer(config, [c for group in groups if group.split == "train" for c in group.captions])
    if line:
        print(line)
    text = config.text
    tokenized = [
        tokenize_captions(group.captions, tokenizer=text.tokenizer, lowercase=text.lowercase)
        for group in tqdm(groups, desc="checking captions", unit=" groups")
    ]
    training = [words for group, own in zip(groups, tokenized) if group.split == "train" for words in own]
    vocabulary = training_vocabulary(config, training) if training else None
    for warning in caption_warnings(config, training, vocabulary) if vocabulary else []:
        warnings.warn(warning, stacklevel=2)
    kinds: dict[str, list[Caption]] = {kind: [] for kind in ("empty", "without_words", "unknown", "truncated")}
    kinds["empty"] = [Caption(each.group, each.split, "", 0) for each in empty]
    for group, own in zip(groups, tokenized):
        for caption, words in zip(group.captions, own):
            known = sum(word in vocabulary.ids for word in words) if vocabulary else len(words)
            if kind := _kind(caption, len(words), known, text.length):
                kinds[kind].append(Caption(group.id, group.split, caption[:MAX_CHARACTERS], known))
    kinds["truncated"].sort(key=lambda each: -each.known_words)
    return CaptionFindings(
        captions=sum(len(group.captions) for group in groups),
        duplicates=_duplicates(groups, tokenized),
        few=_few(groups, [sum(map(bool, own)) for own in tokenized]),
        **{kind: CaptionList(len(listed), listed[:SHOWN]) for kind, listed in kinds.items()},
    )


def _kind(caption: str, words: int, known: int, length: int) -> str:
    if not words:
        return "without_words" if caption.strip() else "empty"
    return "truncated" if known > length else "" if known else "unknown"


def _few(groups: Sequence[Group], counts: Sequence[int]) -> FewCaptionsList:
    splits = {group.split for group in groups}
    medians = {s: median(n for n, group in zip(counts, groups) if group.split == s) for s in splits}
    few = [
        FewCaptions(group.id, group.split, n, medians[group.split])
        for group, n in zip(groups, counts)
        if n < medians[group.split] / 2
    ]
    return FewCaptionsList(len(few), few[:SHOWN])


def _duplicates(groups: Sequence[Group], tokenized: Sequence[Sequence[Sequence[str]]]) -> DuplicateCaptions:
    owners: dict[tuple[str, ...], list[int]] = {}
    for number, own in enumerate(tokenized):
        for words in {tuple(words) for words in own if words}:
            owners.setdefault(words, []).append(number)
    shared = [(words, numbers) for words, numbers in owners.items() if len(numbers) > 1]
    shared.sort(key=lambda each: (-len(each[1]), each[0]))
    in_training = [sum(groups[i].split == "train" for i in numbers) for _, numbers in shared]
    shown = [
        DuplicateCaption(
            caption=" ".join(words)[:MAX_CHARACTERS],
            count=len(numbers),
            splits=sorted({groups[i].split for i in numbers}),
            groups=[groups[i].id for i in numbers[:GROUPS]],
        )
        for words, numbers in shared[:SHOWN]
    ]
    return DuplicateCaptions(
        len(shared), len({i for _, numbers in shared for i in numbers}), sum(n > 1 for n in in_training), shown
    )
