"""Smoke test of the localisation benchmark on a few small scenes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.localisation import main
from itembed_tf.localisation.scenes import Kinds, write_scenes
from tests.localisation.test_scenes import drawing


@pytest.mark.benchmark
def test_quick(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Existing scenes are reused: rendering OpenMoji takes longest."""
    things = [drawing(f"{word} thing", 10 + i) for i, word in enumerate(("red", "dark", "pale", "long", "odd", "big"))]
    kinds = Kinds(things, {"dev": things, "test": things})
    write_scenes(tmp_path / "out" / "scenes", kinds, {"train": 16, "dev": 1, "test": 5}, 0, "")
    assert main([str(tmp_path / "out"), "--quick"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1].startswith("localisation: R@1 ") and printed[-1].endswith("(bar 0 x random) ok")
    rows = [line for line in printed if line.startswith("stage ")]
    assert [line[6:20].strip() for line in rows] == ["I", "II, hard negat", "II, none"]
    assert any(line.startswith("hard negatives: ") for line in printed)
    assert (tmp_path / "out" / "index.html").is_file()
