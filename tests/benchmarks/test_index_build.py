"""The benchmarks of building an index in their --quick form, and that they notice what they look for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import index_build, index_faults, many_files
from benchmarks.fake_encoder import FakeEncoder, empty_index
from itembed_tf.index.build import build_index
from itembed_tf.index.database import transaction, writing
from itembed_tf.index.sources import find_source


@pytest.mark.benchmark
def test_killed_writers_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert index_faults.main(["--quick"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("index_faults: 0 faults in 6 trials (bar 0) ok")


@pytest.mark.benchmark
def test_a_resumed_index_equals_an_undisturbed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert index_build.main(["--quick"]) == 0
    assert "others equal" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("DELETE FROM texts WHERE rowid = 2", "the full-text index has other items"),
        ("DELETE FROM vectors WHERE item = 2", "item 2 has no vector"),
        ("UPDATE items SET content = lower(hex(randomblob(32))) WHERE id = 1", "item 1 has no vector, or not that of"),
        ("DELETE FROM items WHERE id = 3", "the full-text index has other items"),
    ],
)
def test_a_mixed_state_and_lost_items_are_noticed(tmp_path: Path, damage: str, fault: str) -> None:
    place = index_faults.Place(tmp_path, images=4, seed=0)
    empty_index(place.index)
    build_index(place.index, [find_source(str(place.photos))], embed_images=FakeEncoder())
    place.acknowledged.write_text("".join(f"+{file}\n" for file in place.files()))
    assert index_faults.faults(place, set()) == []
    with writing(place.index) as connection, transaction(connection):
        connection.execute("PRAGMA defer_foreign_keys = ON")
        if "items WHERE id = 3" in damage:
            connection.execute("DELETE FROM vectors WHERE item = 3")
        connection.execute(damage)
    with writing(place.index) as connection:
        assert fault in index_faults.mixed_state(place.index, connection, np.random.default_rng(0))
    if "items WHERE id = 3" in damage:
        assert any(
            "acknowledged (+), and the index says otherwise" in line for line in index_faults.faults(place, set())
        )


@pytest.mark.benchmark
def test_many_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert many_files.main(["--quick"]) == 0
    assert "2,000 names of 1,000 files" in capsys.readouterr().out
