"""An upgrade with drawn encoders: killed and continued, files that are away, a bridge and its budget."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from itembed_tf.index import upgrading
from itembed_tf.index import vectors as module
from itembed_tf.index.bridge import unit
from itembed_tf.index.build import build_index
from itembed_tf.index.database import reading, writing
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import StoredEncoders, current_generation, start_generation
from itembed_tf.index.items import read_vectors
from itembed_tf.index.shown import ShownCounter
from itembed_tf.index.sources import find_source
from itembed_tf.index.upgrade import Counts, count_items
from itembed_tf.index.upgrading import Upgraded, upgrade_index

OLD = StoredEncoders("c0" * 32, 4, b"", "{}")
NEW = StoredEncoders("d1" * 32, 6, b"", "{}")
MAPS = {4: np.random.default_rng(1).normal(size=(8, 4)), 6: np.random.default_rng(2).normal(size=(8, 6))}
IMAGES, COPY = 120, "copy.png"  # COPY has the content of 7.png


def embed(contents: Sequence[bytes], dimensions: int = 6) -> list[np.ndarray | str]:
    """Linear maps of the same eight numbers of each image; a bridge can be learned between them."""
    return [embed_one(content, dimensions) for content in contents]


def embed_one(content: bytes, dimensions: int = 6) -> np.ndarray:
    seed = int(hashlib.sha256(content).hexdigest()[:8], 16)
    latent = np.random.default_rng(seed).normal(size=(1, 8))
    return unit((latent @ MAPS[dimensions]).astype(np.float32))[0]


def embed_texts(texts: Sequence[str]) -> SimpleNamespace:
    return SimpleNamespace(vectors=unit(np.array([[len(text), 1, 0, 0, 0, 0] for text in texts], np.float32)))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(IMAGES):
        Image.new("RGB", (2, 2), (i, 255 - i, 7)).save(folder / f"{i}.png")
    (folder / COPY).write_bytes((folder / "7.png").read_bytes())
    return folder


@pytest.fixture
def index(photos: Path, tmp_path: Path) -> Path:
    """120 images and a copy of one, with vectors of four dimensions."""
    folder = tmp_path / "i.index"
    with writing(folder, create=True) as connection:
        start_generation(connection, OLD)
    build_index(folder, [find_source(str(photos))], embed_images=lambda contents: embed(contents, 4))
    return folder


@pytest.fixture(autouse=True)
def no_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """These encoders have no text encoder."""
    monkeypatch.setattr(upgrading, "text_pairs", lambda *_: (np.zeros((0, 4)), np.zeros((0, 6))))


def upgrade(index: Path, embed_images=embed, **options) -> Upgraded:
    return upgrade_index(index, "unused", embed_images=embed_images, stored=NEW, **options)


def searched(index: Path) -> str:
    with closing(reading(index)) as connection:
        return current_generation(connection).contract


def counts(index: Path, generation: int = 2) -> Counts:
    with closing(reading(index)) as connection:
        return count_items(connection, generation)


def vectors(index: Path, photos: Path, names: Sequence[str]) -> np.ndarray:
    with closing(reading(index)) as connection:
        ids = [
            connection.execute("SELECT id FROM items WHERE place = ?", (str(photos / name),)).fetchone()[0]
            for name in names
        ]
        return read_vectors(connection, ids, 2)


class Stopped:
    """Encodes some batches, then the process is killed."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def __call__(self, contents: Sequence[bytes]) -> list[np.ndarray | str]:
        self.batches -= 1
        if self.batches < 0:
            raise KeyboardInterrupt
        return embed(contents)


def test_everything_is_encoded_once_and_the_index_switched(index: Path, photos: Path) -> None:
    seen: list[bytes] = []
    done = upgrade(index, lambda contents: seen.extend(contents) or embed(contents))
    assert (done.encoded, done.mapped, done.unreadable, done.bridge) == (121, 0, {}, None)
    assert len(seen) == 120, "a copy is not encoded again"
    assert searched(index) == NEW.contract and done.generation.contract == NEW.contract
    contents = [(photos / name).read_bytes() for name in ("0.png", "7.png", COPY)]
    np.testing.assert_allclose(vectors(index, photos, ["0.png", "7.png", COPY]), embed(contents), atol=1e-3)
    lines: list[str] = []
    assert upgrade(index, report=lines.append).encoded == 0
    assert lines == ["the index has vectors of the encoders d1d1d1d1d1d1d1d1 already"]


def test_a_killed_upgrade_goes_on_where_it_was(index: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        upgrade(index, Stopped(2))
    assert searched(index) == OLD.contract and counts(index) == Counts(121, 64, 0)
    assert upgrade(index).encoded == 121 - 64
    assert searched(index) == NEW.contract


@pytest.mark.parametrize("said", ["missing: there is no such file", "another image than the one that was indexed"])
def test_an_image_that_cannot_be_encoded_stops_the_switch_and_is_named(index: Path, photos: Path, said: str) -> None:
    file = photos / "4.png"
    content = file.read_bytes()
    file.unlink()
    if "another" in said:
        file.write_bytes(b"edited")
    message = rf"1 items have no vector(.|\n)*4.png{' is ' + said if 'another' in said else ''}"
    with pytest.raises(SearchIndexError, match=message):
        upgrade(index)
    assert searched(index) == OLD.contract
    file.write_bytes(content)
    assert upgrade(index).encoded == 1


def test_a_damaged_image_is_named_and_the_others_are_encoded(index: Path, photos: Path) -> None:
    broken = (photos / "9.png").read_bytes()

    def embed_some(contents: Sequence[bytes]) -> list[np.ndarray | str]:
        return ["damaged" if content == broken else embed_one(content) for content in contents]

    with pytest.raises(SearchIndexError, match=r"9\.png is damaged"):
        upgrade(index, embed_some)
    assert counts(index) == Counts(121, 120, 0)


def test_a_bridge_switches_early_and_what_is_away_keeps_its_mapped_vector(index: Path, photos: Path) -> None:
    states: list[bool] = []
    lines: list[str] = []

    def watched(contents: Sequence[bytes]) -> list[np.ndarray | str]:
        states.append(searched(index) == NEW.contract)
        return [
            "damaged" if states[-1] and len(states) == 3 and i == 0 else embed_one(c) for i, c in enumerate(contents)
        ]

    done = upgrade(index, watched, bridge_items=60, least_recall=0.0, report=lines.append)
    assert done.bridge is not None and done.bridge.learned == 60 and 0 < done.bridge.recall <= 1
    assert states == [False, False, True, True]
    assert done.mapped == 1 and list(done.unreadable.values()) == ["damaged"]
    assert counts(index) == Counts(121, 120, 1)
    assert "of the ten nearest images are the same" in lines[0] and lines[-1].startswith("61 images are searched")
    assert upgrade(index).encoded == 1, "once it can be read, it is encoded"
    names = [f"{i}.png" for i in range(IMAGES)]
    contents = [(photos / name).read_bytes() for name in names]
    np.testing.assert_allclose(vectors(index, photos, names), embed(contents), atol=1e-3)


def test_a_bridge_over_the_budget_is_refused_and_all_is_encoded_first(index: Path) -> None:
    lines: list[str] = []
    done = upgrade(index, bridge_items=60, least_recall=1.1, report=lines.append)
    assert done.bridge is None and done.mapped == 0 and done.encoded == 121
    assert any(line.startswith("refused: less than 110 %") for line in lines)
    assert searched(index) == NEW.contract


def test_a_switched_index_with_mapped_vectors_is_finished_by_the_next_call(index: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        upgrade(index, Stopped(3), bridge_items=60, least_recall=0.0)
    assert searched(index) == NEW.contract
    before = counts(index)
    assert before.missing == 0 and 0 < before.mapped < 61
    done = upgrade(index, bridge_items=60)
    assert (done.encoded, done.mapped) == (before.mapped, 0)


def test_after_the_switch_what_was_shown_most_is_encoded_first(index: Path, photos: Path) -> None:
    counter = ShownCounter(index)
    for id in (90, 15, 90, 33, 999):  # an item that is gone is passed over
        counter.add([id])
    counter.write()
    seen: list[bytes] = []

    def watched(contents: Sequence[bytes]) -> list[np.ndarray | str]:
        if searched(index) == NEW.contract:
            seen.extend(contents)
        return embed(contents)

    with closing(reading(index)) as connection:
        places = [connection.execute("SELECT place FROM items WHERE id = ?", (id,)).fetchone() for id in (90, 15, 33)]
    lines: list[str] = []
    upgrade(index, watched, bridge_items=30, least_recall=0.0, report=lines.append)
    contents = [Path(place).read_bytes() for [place] in places]
    waiting = [content for content in contents if content in seen]  # the others were among those for the bridge
    assert len(waiting) >= 2 and seen[: len(waiting)] == waiting


def test_images_that_are_added_while_others_are_mapped_are_encoded(index: Path, photos: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        upgrade(index, Stopped(2), bridge_items=60, least_recall=0.0)
    (photos / "again.png").write_bytes((photos / "3.png").read_bytes())  # of a content that may be mapped
    build_index(index, embed_images=embed)
    assert counts(index).missing == 0
    content = (photos / "3.png").read_bytes()
    np.testing.assert_allclose(vectors(index, photos, ["again.png"]), embed([content]), atol=1e-3)


def test_sentences_are_encoded_by_the_new_text_encoder(
    index: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = SimpleNamespace(
        embed=lambda texts: SimpleNamespace(vectors=np.tile(np.eye(4, dtype=np.float32)[:1], (len(texts), 1)))
    )
    monkeypatch.setattr(module, "load_text_encoder", lambda _: old)
    (tmp_path / "lines.txt").write_text("ten chars!\n")
    build_index(index, [find_source(str(tmp_path / "lines.txt"))])
    monkeypatch.setattr(module, "load_text_encoder", lambda _: SimpleNamespace(embed=embed_texts))
    done = upgrade(index, bridge_items=60, least_recall=0.0)
    assert done.encoded == 122 and done.mapped == 0
    with closing(reading(index)) as connection:
        [id] = connection.execute("SELECT id FROM items WHERE kind = 'text'").fetchone()
        np.testing.assert_allclose(read_vectors(connection, [id], 2), embed_texts(["ten chars!"]).vectors, atol=1e-3)
