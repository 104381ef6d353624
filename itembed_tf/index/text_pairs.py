"""Texts by the old and by the new text encoder of an upgrade, on which a bridge is learned besides images.

They are captions and sentences of the index, or, where it has few, words that both vocabularies have.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.generations import read_encoders
from itembed_tf.index.items import CHUNK
from itembed_tf.index.records import Generation
from itembed_tf.index.text_encoder import TextEncoder, load_text_encoder

MOST = 4_000  # texts; each takes a millisecond or two
FEW = 500  # captions below which words are added

Pairs = tuple[NDArray[np.float32], NDArray[np.float32]]


def text_pairs(connection: sqlite3.Connection, old: Generation, new: Generation) -> Pairs:
    """The same texts by the encoders of two generations, float32 [n, D] and [n, E], unit length."""
    before, after = (load_text_encoder(read_encoders(connection, each.contract)) for each in (old, new))
    texts = some_captions(connection, MOST)
    if len(texts) < FEW:
        texts += common_words(before, after, MOST - len(texts))
    first, second = before.embed(texts), after.embed(texts)
    known = (first.known_words > 0) & (second.known_words > 0)
    return first.vectors[known], second.vectors[known]


def some_captions(connection: sqlite3.Connection, count: int, seed: int = 0) -> list[str]:
    """A caption each of `count` items that have some, chosen at random; of all of them where they are fewer."""
    random = np.random.default_rng(seed)
    ids = [row[0] for row in connection.execute("SELECT id FROM items WHERE captions != '[]' ORDER BY id")]
    chosen: Sequence[int] = sorted(random.permutation(ids)[:count].tolist())
    texts = []
    for start in range(0, len(chosen), CHUNK):
        chunk = chosen[start : start + CHUNK]
        query = f"SELECT captions FROM items WHERE id IN ({','.join('?' * len(chunk))}) ORDER BY id"
        for (captions,) in connection.execute(query, chunk):
            found = json.loads(captions)
            texts.append(str(found[random.integers(len(found))]))
    return texts


def common_words(old: TextEncoder, new: TextEncoder, count: int, seed: int = 0) -> list[str]:
    """At most `count` words that both vocabularies have, chosen at random."""
    words = [word for word in new.vocabulary.words if word in old.vocabulary.ids]
    order = np.random.default_rng(seed).permutation(len(words))[:count]
    return [words[i] for i in order]
