"""The options of `itembed index` for other encoders: what they print, refuse and suggest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.index import upgrading
from itembed_tf.index.__main__ import main
from itembed_tf.index.bridge import Bridge
from itembed_tf.index.database import writing
from itembed_tf.index.generations import StoredEncoders, current_generation
from itembed_tf.index.items import put_vectors
from itembed_tf.index.records import Generation
from itembed_tf.index.upgrade import start_upgrade, switch
from tests.support.small_index import CONTRACT, new_item, write_index

NEW = StoredEncoders("d1" * 32, 4, b"", "{}")


@pytest.fixture
def index(tmp_path: Path) -> str:
    write_index(tmp_path / "i", [new_item(f"{i}.jpg", [i, 1, 2, 3]) for i in range(3)])
    return str(tmp_path / "i")


def begin(index: str) -> Generation:
    """An upgrade that has encoded two of three items."""
    with writing(index) as connection:
        generation = start_upgrade(connection, NEW)
        put_vectors(connection, generation.number, [1, 2], np.eye(4, dtype=np.float32)[:2], biases=np.zeros((2, 2)))
        return generation


def test_an_upgrade_says_what_is_left_and_how_to_go_back(
    index: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {}
    bridge = Bridge(np.eye(2, dtype=np.float32), np.zeros(2, np.float32), "ridge", 0.1, 0.3, 60, 0.9, 0.75, 12)

    def upgraded(*places, **options):
        given.update(options, places=places)
        return upgrading.Upgraded(Generation(2, NEW.contract, 4, "current"), 7, 2, {"/a.jpg": "damaged"}, bridge)

    monkeypatch.setattr(upgrading, "upgrade_index", upgraded)
    assert main([index, "--upgrade", "runs/newer", "--bridge", "60"]) == 0
    assert given["places"] == (index, "runs/newer") and given["bridge_items"] == 60
    printed = capsys.readouterr()
    assert f"{index}: 7 items encoded, contract d1d1d1d1d1d1d1d1; 2 still have a mapped vector" in printed.out
    assert printed.out.splitlines()[-1].endswith(f"itembed index {index} --rollback")
    assert "warning: /a.jpg is damaged; it keeps its mapped vector" in printed.err
    assert main([index, "--upgrade", "runs/newer", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bridge_recall_at_10"] == 0.75


def test_back_and_forward(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([index, "--rollback"]) == 1
    assert "error: the index has no earlier generation to go back to" in capsys.readouterr().err
    generation = begin(index)
    with writing(index) as connection:
        put_vectors(connection, generation.number, [3], np.eye(4, dtype=np.float32)[:1], biases=np.zeros((1, 2)))
        switch(connection, generation)
    for contract in (CONTRACT, NEW.contract):
        assert main([index, "--rollback"]) == 0
        assert f"searched by the encoders {contract[:16]} again" in capsys.readouterr().out


def test_an_unfinished_upgrade_is_given_up(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    begin(index)
    assert main([index, "--discard-upgrade"]) == 0
    assert "2 vectors of an unfinished upgrade removed" in capsys.readouterr().out
    with writing(index) as connection:
        assert current_generation(connection).contract == CONTRACT


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bridge", "60"], "--bridge is for --upgrade"),
        (["--upgrade", "run", "--rollback"], "give one of --delete, --verify, --compact, --export, --upgrade, "),
        (
            ["more", "--discard-upgrade"],
            "--discard-upgrade takes an index alone: itembed index INDEX --discard-upgrade",
        ),
    ],
)
def test_wrong_usage(index: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([index, *words])
    assert said in capsys.readouterr().err
