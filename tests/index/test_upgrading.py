"""An upgrade with drawn encoders: killed and continued, files that are away, a bridge and its budget."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.index.bridge import unit
from itembed_tf.index.database import writing
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import StoredEncoders, current_generation
from itembed_tf.index.items import read_vectors
from itembed_tf.index.records import Item
from itembed_tf.index.upgrade import Counts, count_items
from itembed_tf.index.upgrading import Encode, upgrade_index
from tests.support.small_index import CONTRACT, new_item, write_index

NEW = StoredEncoders("d1" * 32, 6, b"new", "{}")
PICTURES = np.random.default_rng(0).normal(size=(120, 8)).astype(np.float32)  # the "images"
OLD = np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)
NEWER = np.random.default_rng(2).normal(size=(8, 6)).astype(np.float32)


def read(item: Item) -> bytes:
    return PICTURES[int(item.name)].tobytes()


def embed(contents) -> list:
    return [unit((np.frombuffer(content, np.float32) @ NEWER)[None])[0] for content in contents]


def embed_texts(texts) -> np.ndarray:
    return unit(np.array([[len(text), 1, 0, 0, 0, 0] for text in texts], np.float32))


ENCODE = Encode(embed, embed_texts, read)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """120 images and one sentence, with vectors of four dimensions."""
    items = [
        new_item(str(i), picture @ OLD, content=hashlib.sha256(picture.tobytes()).hexdigest())
        for i, picture in enumerate(PICTURES)
    ]
    write_index(tmp_path / "i", [*items, new_item("s", [1, 0, 0, 0], kind="text", captions=("ten chars!",))])
    return tmp_path / "i"


def expected(id: int) -> np.ndarray:
    return unit((PICTURES[id - 1] @ NEWER)[None])[0]


def test_everything_is_encoded_and_the_index_switched(index: Path) -> None:
    with writing(index) as connection:
        done = upgrade_index(connection, NEW, ENCODE)
        assert (done.encoded, done.mapped, done.unreadable, done.bridge) == (121, 0, (), None)
        assert current_generation(connection).contract == NEW.contract
        vectors = read_vectors(connection, [1, 60, 121], done.generation.number)
        np.testing.assert_allclose(vectors[:2], [expected(1), expected(60)], atol=1e-3)
        np.testing.assert_allclose(vectors[2], embed_texts(["ten chars!"])[0], atol=1e-3)
        lines: list[str] = []
        assert upgrade_index(connection, NEW, ENCODE, report=lines.append).encoded == 0
        assert lines == ["the index has vectors of the encoders d1d1d1d1d1d1d1d1 already"]


def test_a_killed_upgrade_goes_on_where_it_was(index: Path) -> None:
    calls = []

    def killed(contents) -> list:
        calls.append(len(contents))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed(contents)

    with writing(index) as connection, pytest.raises(KeyboardInterrupt):
        upgrade_index(connection, NEW, Encode(killed, embed_texts, read))
    with writing(index) as connection:
        assert current_generation(connection).contract == CONTRACT
        assert count_items(connection, 2) == Counts(121, 64, 0)
        assert upgrade_index(connection, NEW, ENCODE).encoded == 121 - 64
        assert current_generation(connection).contract == NEW.contract


@pytest.mark.parametrize(("reason", "said"), [("gone", "missing: there is no such file"), ("edited", "another image")])
def test_an_image_that_cannot_be_encoded_stops_the_switch_and_is_named(index: Path, reason: str, said: str) -> None:
    def away(item: Item) -> bytes:
        if item.id == 5:
            if reason == "edited":
                return b"edited"
            raise FileNotFoundError(item.place)
        return read(item)

    with writing(index) as connection:
        with pytest.raises(SearchIndexError, match=rf"1 items have no vector(.|\n)*/photos/4 is {said}"):
            upgrade_index(connection, NEW, Encode(embed, embed_texts, away))
        assert current_generation(connection).contract == CONTRACT
        assert upgrade_index(connection, NEW, ENCODE).encoded == 1  # the file is back


def test_a_damaged_image_is_named_and_the_others_are_encoded(index: Path) -> None:
    def embed_some(contents) -> list:
        return ["damaged" if content == PICTURES[7].tobytes() else embed([content])[0] for content in contents]

    with writing(index) as connection, pytest.raises(SearchIndexError, match="/photos/7 is damaged"):
        upgrade_index(connection, NEW, Encode(embed_some, embed_texts, read))
    with writing(index) as connection:
        assert count_items(connection, 2) == Counts(121, 120, 0)


def test_a_bridge_switches_early_and_what_is_away_keeps_its_mapped_vector(index: Path) -> None:
    switched_after = []

    def watched(contents) -> list:
        switched_after.append(current_generation(connection).contract == NEW.contract)
        return embed(contents)

    def away(item: Item) -> bytes:
        if item.id == 5 and switched_after.count(True):
            raise FileNotFoundError
        return read(item)

    lines: list[str] = []
    with writing(index) as connection:
        before = read_vectors(connection, [5], 1)
        done = upgrade_index(
            connection, NEW, Encode(watched, embed_texts, away), bridge_items=60, least_recall=0.0, report=lines.append
        )
        assert done.bridge is not None and done.bridge.learned == 60 and 0 < done.bridge.recall <= 1
        assert switched_after == [False, False, True, True]
        assert count_items(connection, 2).missing == 0
        if done.mapped:  # unless it was among the sixty
            assert done.unreadable == (("/photos/4", "missing: there is no such file"),)
            mapped = read_vectors(connection, [5], 2)
            np.testing.assert_allclose(mapped, done.bridge.map(before), atol=1e-3)
        others = [id for id in range(1, 121) if id != 5]
        np.testing.assert_allclose(
            read_vectors(connection, others, 2), np.stack(list(map(expected, others))), atol=1e-3
        )
    assert "of the ten nearest images are the same" in lines[0] and "left out" in lines[0]
    assert lines[-1] == "60 images are searched through the bridge until they are encoded"


def test_a_bridge_over_the_budget_is_refused_and_all_is_encoded_first(index: Path) -> None:
    lines: list[str] = []
    with writing(index) as connection:
        done = upgrade_index(connection, NEW, ENCODE, bridge_items=60, least_recall=1.1, report=lines.append)
        assert done.bridge is None and done.mapped == 0 and done.encoded == 121
        assert any(line.startswith("refused: less than 110 %") for line in lines)
        assert current_generation(connection).contract == NEW.contract


def test_a_switched_index_with_mapped_vectors_is_finished_by_the_next_call(index: Path) -> None:
    calls = []

    def killed(contents) -> list:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return embed(contents)

    with writing(index) as connection, pytest.raises(KeyboardInterrupt):
        upgrade_index(connection, NEW, Encode(killed, embed_texts, read), bridge_items=60, least_recall=0.0)
    with writing(index) as connection:
        assert current_generation(connection).contract == NEW.contract
        assert count_items(connection, 2) == Counts(121, 93, 28)
        done = upgrade_index(connection, NEW, ENCODE, bridge_items=60)
        assert (done.encoded, done.mapped) == (28, 0)
