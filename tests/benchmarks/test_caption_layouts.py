"""All layouts are read or refused with what to do, and the benchmark notices captions of other images."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import caption_layouts
from benchmarks.layouts import LAYOUTS, Layout, table


def test_all_layouts_but_those_of_parquet(capsys: pytest.CaptureFixture[str]) -> None:
    assert caption_layouts.main(["--quick"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("ok")


def test_there_are_at_least_thirty_layouts() -> None:
    assert len(LAYOUTS) >= 30 and caption_layouts.BAR >= 28


def test_wrong_captions_and_wrong_splits_are_noticed(tmp_path: Path) -> None:
    swapped = Layout(table("captions.csv", "image,caption", name="{:02d}0.jpg", stored="{:02d}0.jpg"))
    assert caption_layouts.outcome(swapped, tmp_path / "a")[0] == "read"
    lines = (tmp_path / "a" / "captions.csv").read_text().splitlines()
    lines[1:3], lines[3:5] = lines[3:5], lines[1:3]
    wrong = [lines[0], *(f"{row[:7]}{other[7:]}" for row, other in zip(lines[1:], [*lines[3:], *lines[1:3]]))]
    other = Layout(lambda root: (root / "captions.csv").write_text("\n".join(wrong)) and None)
    assert caption_layouts.outcome(other, tmp_path / "a")[0].startswith("wrong")
    assert caption_layouts.outcome(Layout(swapped.write, splits=True), tmp_path / "b")[0].startswith("wrong split")
