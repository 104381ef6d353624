"""The ablation benchmark: every row loads and has its own run, and is compared with the first of its family."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.ablation import CONFIG, FAMILIES, INSTANCE, Row, folder_of, table
from itembed_tf.config import load_config

ROWS = [row for rows in FAMILIES.values() for row in rows]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_loads(row):
    load_config(CONFIG, [*row.changes, f"stages.0.losses={row.losses}"])
    if row.second:
        load_config(CONFIG, [f"stages.0.losses={row.second}"])


def test_different_rows_have_different_run_directories():
    settings = {(row.changes, row.losses, row.second) for row in ROWS}
    folders = {folder_of(Path("out"), row, 0) for row in ROWS}
    assert len(folders) == len(settings) < len(ROWS)  # four families share the row without changes
    assert folder_of(Path("out"), ROWS[0], 0) != folder_of(Path("out"), ROWS[0], 1)


def test_rows_are_compared_with_the_first_row_only(tmp_path, capsys):
    """If the first was not measured, there is no comparison, even if others were."""
    rows = (Row("a", (), (30.0, 20.0)), Row("b", ("seed=1",), (29.0, 19.0)), Row("c", ("seed=2",), (28.0, 18.0)))
    assert rows[0].losses == INSTANCE
    for row in rows[1:]:
        folder = folder_of(tmp_path, row, 0)
        folder.mkdir()
        block = {"image_query": {"R@1": 10.0}, "text_query": {"R@1": 8.0}, "rsum": 99.0}
        (folder / "metrics.json").write_text(json.dumps({"finished": True, "dev": block}))
    assert table(tmp_path, "family", rows, [0]) == 2
    printed = capsys.readouterr().out
    assert "| a | not measured | | | 30.0 / 20.0 | |" in printed
    assert "| b | 10.0 | 8.0 | 99.0 | 29.0 / 19.0 |  |" in printed
