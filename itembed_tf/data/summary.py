"""Statistics of a dataset, beside those of the paper, and the counts that commands print after reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from itembed_tf.config import Config
from itembed_tf.data.readers import Group, ReadData
from itembed_tf.data.readers.group import SPLITS
from itembed_tf.text import tokenize_captions
from itembed_tf.text.word_table import with_tokenizer, word_table

# Paper section 6.1 and the released code. The vocabulary size d counts words with a GoogleNews vector; on Flickr30k
# also those of dev captions.
PAPER: dict[str, dict[str, str]] = {
    "flickr30k": {
        "images": "31,783",
        "captions": "158,915",
        "images by split": "29,783 / 1,000 / 1,000",
        "classes": "29,783",
        "vocabulary size d": "20,074",
        "text length L": "32",
        "words per caption, mean": "10.5",
    },
    "coco": {
        "images": "123,287",
        "captions": "616,767",
        "images by split": "113,287 / 5,000 / 5,000",
        "classes": "113,287",
        "vocabulary size d": "29,972",
        "text length L": "32",
        "words per caption, mean": "8.7",
    },
    "cuhk-pedes": {
        "images": "40,206",
        "captions": "80,440",
        "images by split": "34,054 / 3,078 / 3,074",
        "classes": "11,003",
        "vocabulary size d": "7,263",
        "text length L": "56",
        "words per caption, mean": "19.6",
    },
}


@dataclass(frozen=True)
class DataSummary:
    """Statistics of a dataset; those of words are of the training captions.

    Attributes:
        images, captions: counts by split.
        classes: groups in train, the classes of the instance loss.
        tokenizer: "words" or "unicode", as text.tokenizer says or its "auto" chooses.
        vocabulary: words, the size d of the paper.
        vector_source: word_vectors.source.
        vector_coverage_percent: share of the words with a word vector; None without word vectors.
        text_length: L, the maximum number of words that are read.
        truncated_percent: share of the captions with more than L known words.
        words_mean, words_99_percent, words_max: words per caption.
    """

    images: dict[str, int]
    captions: dict[str, int]
    classes: int
    tokenizer: str
    vocabulary: int
    vector_source: str
    vector_coverage_percent: float | None
    text_length: int
    truncated_percent: float
    words_mean: float
    words_99_percent: int
    words_max: int


def summarise(groups: Sequence[Group], config: Config) -> DataSummary:
    """Compute the statistics of the splits in dataset.splits."""
    by_split = {split: [g for g in groups if g.split == split] for split in config.dataset.splits}
    training = [caption for group in by_split["train"] for caption in group.captions]
    config, _ = with_tokenizer(config, training)
    captions = tokenize_captions(training, tokenizer=config.text.tokenizer, lowercase=config.text.lowercase)
    table = word_table(config, captions)
    ids = table.vocabulary.ids
    words = np.array([len(caption) for caption in captions])
    known = np.array([sum(word in ids for word in caption) for caption in captions])
    return DataSummary(
        images=_sums(by_split, lambda group: len(group.images)),
        captions=_sums(by_split, lambda group: len(group.captions)),
        classes=len(by_split["train"]),
        tokenizer=table.vocabulary.tokenizer,
        vocabulary=len(ids),
        vector_source=config.word_vectors.source,
        vector_coverage_percent=round(100 * table.coverage, 1) if table.vectors is not None else None,
        text_length=table.vocabulary.length,
        truncated_percent=round(100 * float(np.mean(known > table.vocabulary.length)), 2),
        words_mean=round(float(words.mean()), 1),
        words_99_percent=int(np.percentile(words, 99)),
        words_max=int(words.max()),
    )


def _sums(by_split: Mapping[str, Sequence[Group]], size: Callable[[Group], int]) -> dict[str, int]:
    return {split: sum(map(size, groups)) for split, groups in by_split.items()}


def format_summary(summary: DataSummary, name: str, more: Mapping[str, str] | None = None) -> str:
    """Format statistics as a table, with a column of the paper's figures for its datasets; `more` adds rows."""
    paper = PAPER.get(name, {})
    rows = _rows(summary) | dict(more or {})
    width, value_width = max(map(len, rows)), max(*map(len, rows.values()), 4)
    lines = [f"{'':{width}}  {'here':>{value_width}}" + "  paper" * bool(paper)]
    lines += [f"{key:{width}}  {value:>{value_width}}  {paper.get(key, '')}".rstrip() for key, value in rows.items()]
    return "\n".join(lines)


def _rows(summary: DataSummary) -> dict[str, str]:
    coverage = summary.vector_coverage_percent
    return {
        "images": f"{sum(summary.images.values()):,}",
        "captions": f"{sum(summary.captions.values()):,}",
        "images by split": " / ".join(f"{n:,}" for n in summary.images.values()),
        "captions by split": " / ".join(f"{n:,}" for n in summary.captions.values()),
        "classes": f"{summary.classes:,}",
        "tokenizer": summary.tokenizer,
        "vocabulary size d": f"{summary.vocabulary:,}",
        f"of them in {summary.vector_source}": "no word vectors" if coverage is None else f"{coverage} %",
        "text length L": f"{summary.text_length:,}",
        "captions truncated to L words": f"{summary.truncated_percent:.2f} %",
        "words per caption, mean": f"{summary.words_mean}",
        "words per caption, 99th percentile": f"{summary.words_99_percent:,}",
        "words per caption, maximum": f"{summary.words_max:,}",
    }


def format_counts(data: ReadData, groups: Sequence[Group] | None = None) -> str:
    """One line about what was read: ``1,000 train, 100 dev groups; 13 in test, not used by this config; ...``.

    Args:
        data: what `read_data` returned.
        groups: those to count, if not all of `data` (without unreadable images).
    """
    counts = Counter(group.split for group in (data.groups if groups is None else groups))
    parts = [", ".join(f"{counts[split]:,} {split}" for split in SPLITS if counts[split]) + " groups"]
    parts += [f"{n:,} in {split}, not used by this config" for split, n in data.unused_groups.items()]
    if n := data.images_without_caption:
        parts.append(f"{n:,} {'file' if n == 1 else 'files'} without a caption")
    return "; ".join(parts)
