"""What a data set holds, in figures, beside those that the paper gives of the same one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from itembed_tf.config import Config
from itembed_tf.data.readers import Group
from itembed_tf.text.word_table import word_table

# Paper section 6.1 and released code, of the three data sets it uses: (all pictures, captions, pictures of train / dev
# / test, classes, d, L, words a caption). Its d counts the words that GoogleNews has a vector of; on Flickr30k those of
# the dev captions too.
PAPER: dict[str, dict[str, str]] = {
    "flickr30k": {
        "pictures": "31,783",
        "captions": "158,915",
        "pictures by split": "29,783 / 1,000 / 1,000",
        "classes": "29,783",
        "dictionary size d": "20,074",
        "text length L": "32",
        "words a caption, mean": "10.5",
    },
    "coco": {
        "pictures": "123,287",
        "captions": "616,767",
        "pictures by split": "113,287 / 5,000 / 5,000",
        "classes": "113,287",
        "dictionary size d": "29,972",
        "text length L": "32",
        "words a caption, mean": "8.7",
    },
    "cuhk-pedes": {
        "pictures": "40,206",
        "captions": "80,440",
        "pictures by split": "34,054 / 3,078 / 3,074",
        "classes": "11,003",
        "dictionary size d": "7,263",
        "text length L": "56",
        "words a caption, mean": "19.6",
    },
}


def summarise(groups: Sequence[Group], config: Config) -> dict[str, Any]:
    """Figures by name: counts, or texts for several counts in one. Words are those of the training captions."""
    by_split = {split: [g for g in groups if g.split == split] for split in config.dataset.splits}
    captions = [caption for group in by_split["train"] for caption in group.captions]
    vocabulary, vectors, coverage = word_table(config, captions)
    known = vocabulary.ids
    sentences = [vocabulary.tokenize(caption) for caption in captions]
    words = np.array([len(sentence) for sentence in sentences])
    kept = np.array([sum(word in known for word in sentence) for sentence in sentences])
    return {
        "pictures": sum(len(group.images) for group in groups),
        "captions": sum(len(group.captions) for group in groups),
        "pictures by split": _each(by_split, lambda group: len(group.images)),
        "captions by split": _each(by_split, lambda group: len(group.captions)),
        "classes": len(by_split["train"]),
        "dictionary size d": len(known),
        f"of them in {config.word_vectors.source}": f"{100 * coverage:.1f} %" if vectors is not None else "no vectors",
        "text length L": vocabulary.length,
        "captions with more known words": f"{100 * np.mean(kept > vocabulary.length):.2f} %",
        "words a caption, mean": round(float(words.mean()), 1),
        "words a caption, 99 % have at most": int(np.percentile(words, 99)),
        "words a caption, most": int(words.max()),
    }


def _each(by_split: Mapping[str, Sequence[Group]], size: Any) -> str:
    return " / ".join(f"{sum(map(size, groups)):,}" for groups in by_split.values())


def format_summary(summary: Mapping[str, Any], name: str) -> str:
    """A table in lines, with the paper's figures where it has some of this data set."""
    paper = PAPER.get(name, {})
    shown = {key: f"{value:,}" if isinstance(value, int) else str(value) for key, value in summary.items()}
    wide, far = max(map(len, shown)), max(*map(len, shown.values()), 4)
    lines = [f"{'':{wide}}  {'here':>{far}}" + "  paper" * bool(paper)]
    lines += [f"{key:{wide}}  {value:>{far}}  {paper.get(key, '')}".rstrip() for key, value in shown.items()]
    return "\n".join(lines)
