"""FAISS segments: recall as measured, additions and deletions at once, filters, and an index without FAISS."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.index.database import writing
from itembed_tf.index.engines import choose_engine, open_engine, update_derived
from itembed_tf.index.engines.choice import APPROXIMATE_FROM
from itembed_tf.index.items import delete_items
from tests.support.small_index import new_item, write_index

pytest.importorskip("faiss")
COUNT, DIMENSIONS, K = 4000, 24, 10


def vectors(first: int, count: int) -> np.ndarray:
    centres = np.random.default_rng(0).standard_normal((40, DIMENSIONS))
    random = np.random.default_rng(first + 1)
    return centres[random.integers(0, 40, count)] + 0.5 * random.standard_normal((count, DIMENSIONS))


def items(first: int, count: int):
    biases = np.random.default_rng(first).random(count) / 8
    return [
        new_item(f"{i}.jpg", v, text_bias=float(b), thumbnail=None)
        for i, (v, b) in enumerate(zip(vectors(first, count), biases), first)
    ]


@pytest.fixture(autouse=True)
def approximate_when_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itembed_tf.index.engines.choice.APPROXIMATE_FROM", 3000)
    monkeypatch.setattr("itembed_tf.index.engines.choice.APPROXIMATE_SEGMENT", 1000)
    monkeypatch.setattr("itembed_tf.index.engines.local.SCANNED", 100)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "i"
    write_index(folder, items(0, COUNT), DIMENSIONS)
    return folder


@pytest.fixture
def index(written: Path, tmp_path: Path) -> Path:
    import shutil

    shutil.copytree(written, tmp_path / "i")
    update_derived(tmp_path / "i")
    update_derived(tmp_path / "i", everything=True)
    return tmp_path / "i"


def queries(kind: tuple[int, int]) -> np.ndarray:
    asked = vectors(10**6, 50)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    return np.concatenate([asked, np.tile(kind, (50, 1))], axis=1).astype(np.float32)


def recall(index: Path, asked: np.ndarray, allowed=None) -> float:
    with closing(open_engine(index)) as fast, closing(open_engine(index, "exact")) as exact:
        found, scores = fast.refresh().search(asked, K, allowed)
        right, right_scores = exact.refresh().search(asked, K, allowed)
        assert (fast.name, exact.name) == ("faiss", "exact")
    for a, b, s, t in zip(found, right, scores, right_scores):
        common = dict(zip(a, s))
        assert all(common[i] == x for i, x in zip(b, t) if i in common), "scores are exact"
        assert np.all(np.diff(s) <= 0)
    return float(np.mean([len(set(a) & set(b)) for a, b in zip(found, right)])) / K


@pytest.mark.parametrize("kind", [(1, 0), (0, 1), (0, 0)])
def test_recall_and_exact_scores(kind, index: Path) -> None:
    assert recall(index, queries(kind)) >= 0.95


def test_additions_and_deletions_are_seen_at_once(index: Path) -> None:
    [asked] = queries((0, 0))[:1]
    with closing(open_engine(index)) as engine:
        [[best]] = engine.refresh().search(asked[None], 1)[0]
        with writing(index) as connection:
            delete_items(connection, [int(best)])
        [found] = engine.refresh().search(asked[None], K)[0]
        assert best not in found and (found >= 0).all()
        [new] = write_index(index, [new_item("new.jpg", asked[:-2])], DIMENSIONS)
        assert engine.refresh().search(asked[None], 1)[0].item() == new
        assert engine.name == "faiss"
    assert recall(index, queries((1, 0))) >= 0.95


@pytest.mark.parametrize("share", [0.3, 0.05, 0.01])
def test_recall_with_a_filter(share, index: Path) -> None:
    random = np.random.default_rng(5)
    allowed = np.flatnonzero(random.random(COUNT + 1) < share)
    assert recall(index, queries((1, 0)), allowed[allowed > 0]) >= 0.95


def test_most_rows_deleted(index: Path) -> None:
    with writing(index) as connection:
        delete_items(connection, [i for i in range(1, COUNT + 1) if i % 20])
    assert recall(index, queries((0, 0))) >= 0.95
    with closing(open_engine(index)) as engine:
        found = engine.refresh().search(queries((0, 0)), 150)[0]
    assert (found > 0).all() and (found % 20 == 0).all()


def test_without_faiss_a_large_index_is_searched_exactly_and_says_so(index: Path, monkeypatch) -> None:
    monkeypatch.setattr("itembed_tf.index.engines.choice.find_spec", lambda name: None)
    monkeypatch.setattr("itembed_tf.index.engines.ivf._faiss", _missing)
    with closing(open_engine(index)) as engine:
        assert engine.refresh().count == COUNT
        assert engine.name == "exact"
        assert "pip install 'itembed_tf[search]' brings FAISS" in engine.note


def _missing():
    raise ImportError("no module named faiss")


def test_the_choice_of_the_engine(monkeypatch) -> None:
    monkeypatch.setattr("itembed_tf.index.engines.choice.APPROXIMATE_FROM", APPROXIMATE_FROM)
    assert (choose_engine(199_999).name, choose_engine(200_000).name) == ("exact", "faiss")
