"""The texts on which a bridge is learned: captions of the index, or words that both vocabularies have."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from itembed_tf.index import text_pairs as module
from itembed_tf.index.database import reading
from itembed_tf.index.records import Generation
from itembed_tf.index.text_pairs import some_captions, text_pairs
from itembed_tf.text import Vocabulary
from tests.support.small_index import new_item, write_index

OLD, NEW = Generation(1, "c0", 2, "current"), Generation(2, "d1", 3, "building")


class Encoder:
    def __init__(self, dimensions: int, *words: str) -> None:
        self.vocabulary = Vocabulary(words, "words", True, 4)
        self.dimensions = dimensions
        self.seen: list[str] = []

    def embed(self, texts: list[str]) -> SimpleNamespace:
        self.seen += texts
        known = np.array([sum(word in self.vocabulary.ids for word in text.split()) for text in texts])
        return SimpleNamespace(vectors=np.ones((len(texts), self.dimensions), np.float32), known_words=known)


@pytest.fixture
def encoders(monkeypatch: pytest.MonkeyPatch) -> dict[str, Encoder]:
    made = {"c0": Encoder(2, "a", "bird", "sea"), "d1": Encoder(3, "bird", "dog", "sea")}
    monkeypatch.setattr(module, "read_encoders", lambda _, contract: contract)
    monkeypatch.setattr(module, "load_text_encoder", made.__getitem__)
    return made


def index(folder: Path, captions: list[tuple[str, ...]]) -> Path:
    items = [new_item(f"{i}.jpg", [i, 1, 0, 0], captions=own) for i, own in enumerate(captions)]
    write_index(folder, items)
    return folder


def test_captions_that_both_encoders_read(tmp_path: Path, encoders: dict[str, Encoder], monkeypatch) -> None:
    monkeypatch.setattr(module, "FEW", 3)
    folder = index(tmp_path / "i", [("a bird", "a bird"), (), ("the dog",), ("a sea", "sea")])
    with closing(reading(folder)) as connection:
        old, new = text_pairs(connection, OLD, NEW)
    assert old.shape == (2, 2) and new.shape == (2, 3), "no word of the dog is known to the old encoder"
    assert encoders["c0"].seen == encoders["d1"].seen and encoders["c0"].seen[:2] == ["a bird", "the dog"]


def test_words_of_both_vocabularies_where_captions_are_few(tmp_path: Path, encoders: dict[str, Encoder]) -> None:
    folder = index(tmp_path / "i", [("a bird",), ()])
    with closing(reading(folder)) as connection:
        old, _ = text_pairs(connection, OLD, NEW)
    assert encoders["d1"].seen[0] == "a bird" and sorted(encoders["d1"].seen[1:]) == ["bird", "sea"]
    assert len(old) == 3


def test_a_caption_each_of_some_items(tmp_path: Path) -> None:
    folder = index(tmp_path / "i", [(f"{i} one", f"{i} two") for i in range(20)])
    with closing(reading(folder)) as connection:
        found = some_captions(connection, 7)
        assert len(found) == 7 and len({text.split()[0] for text in found}) == 7
        assert some_captions(connection, 7) == found and len(some_captions(connection, 99)) == 20
