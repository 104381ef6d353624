"""Captions that mislead: the same words on different groups, no words, more words than are read, too few captions."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from tqdm import tqdm

from itembed_tf.config import Config, arguments
from itembed_tf.data.readers import Group
from itembed_tf.text import Vocabulary, build_vocabulary, tokenize
from itembed_tf.text.word_vectors import load_word_vectors

SHOWN = 1000  # findings of a kind that are listed; all are counted


def known_words(config: Config, groups: Sequence[Group]) -> Vocabulary | None:
    """The vocabulary that training would build of these groups; None without a training split."""
    captions = [caption for group in groups if group.split == "train" for caption in group.captions]
    if not captions:
        return None
    text, source = config.text, config.word_vectors.source
    vectors: Any = None
    # Vectors are read where they decide which words are known; those learnt of the captions know all of these.
    if source not in ("random", "skip-gram") and (text.only_with_vectors or config.word_vectors.extra_words):
        sentences = [tokenize(caption, tokenizer=text.tokenizer, lowercase=text.lowercase) for caption in captions]
        width = config.text_tower.word_width
        vectors = load_word_vectors(
            **arguments(config.word_vectors), width=width, sentences=sentences, seed=config.seed
        )
    extra = vectors.index_to_key[: config.word_vectors.extra_words] if vectors is not None else []
    settings = arguments(text)
    if source == "skip-gram":
        settings["only_with_vectors"] = False
    return build_vocabulary(captions, **settings, vectors=vectors, extra_words=extra)


def look_at_captions(groups: Sequence[Group], config: Config) -> dict[str, Any]:
    """What is wrong with the captions, as doctor.json holds it; of each kind a count and up to SHOWN findings.

    - same: one sentence, as the tokenizer sees it, on several groups; most groups first. Of training groups these are
      false negatives: the instance loss and every ranking loss push a picture away from words that are true of it.
    - empty: nothing but white space. - wordless: characters, but no word. - unknown: words, but none that training
      knows. - long: more known words than `text.length`; the rest is not read.
    - few: groups with less than half as many captions with words as the median group of their split.
    """
    vocabulary, text = known_words(config, groups), config.text
    kinds: dict[str, list[dict[str, Any]]] = {kind: [] for kind in ("empty", "wordless", "unknown", "long", "few")}
    holders: dict[tuple[str, ...], list[int]] = {}
    usable = []
    for number, group in enumerate(tqdm(groups, desc="reading captions", unit=" groups")):
        usable.append(0)
        for caption in group.captions:
            words = tuple(tokenize(caption, tokenizer=text.tokenizer, lowercase=text.lowercase))
            known = sum(word in vocabulary.ids for word in words) if vocabulary else len(words)
            found = {"group": group.id, "split": group.split, "caption": caption[:300], "words": known}
            if not words:
                kinds["wordless" if caption.strip() else "empty"].append(found)
                continue
            usable[-1] += 1
            if known > text.length:
                kinds["long"].append(found)
            elif not known:
                kinds["unknown"].append(found)
            if not (ids := holders.setdefault(words, [])) or ids[-1] != number:
                ids.append(number)
    middle = {s: median(u for u, g in zip(usable, groups) if g.split == s) for s in {g.split for g in groups}}
    for group, count in zip(groups, usable):
        if count < middle[group.split] / 2:
            found = {"group": group.id, "split": group.split, "captions": count, "median": middle[group.split]}
            kinds["few"].append(found)
    report: dict[str, Any] = {"captions": sum(len(group.captions) for group in groups), "same": _same(holders, groups)}
    kinds["long"].sort(key=lambda found: -found["words"])
    return report | {kind: {"count": len(found), "shown": found[:SHOWN]} for kind, found in kinds.items()}


def _same(holders: dict[tuple[str, ...], list[int]], groups: Sequence[Group]) -> dict[str, Any]:
    """Sentences that several groups have."""
    shared = sorted(((words, ids) for words, ids in holders.items() if len(ids) > 1), key=lambda s: (-len(s[1]), s[0]))
    in_training = [sum(groups[i].split == "train" for i in ids) for _, ids in shared]
    shown = [
        {
            "sentence": " ".join(words)[:300],
            "count": len(ids),
            "splits": sorted({groups[i].split for i in ids}),
            "groups": [groups[i].id for i in ids[:20]],
        }
        for words, ids in shared[:SHOWN]
    ]
    return {
        "count": len(shared),
        "groups": len({i for _, ids in shared for i in ids}),
        "in_training": sum(count > 1 for count in in_training),
        "shown": shown,
    }
