"""The benchmarks of the edge, on a run of seconds: they measure what they say, and their bars can fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import benchmarks.edge
import benchmarks.text_speed
from benchmarks.export_recall import small_run

ROWS = [
    {"precision": "float32", "bytes": 1000, "loss": 0.0},
    {"precision": "int8", "bytes": 265, "loss": 0.9},
]
MS = {"SavedModel": 8.0, "int8": 0.9}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("data"))


def test_edge_measures_a_small_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmarks.edge.main([str(run)]) == 1, "its files are mostly metadata"
    *_, saved_model, float32, float16, dynamic, int8, last = capsys.readouterr().out.splitlines()
    assert saved_model.startswith("SavedModel") and saved_model.endswith(" 1.0 x the SavedModel's speed")
    for line in (float32, float16, dynamic, int8):
        assert 0 < float(line.split()[1]) < float(saved_model.split()[1]), "LiteRT has less around each op"
    assert last.startswith("edge: 0.") and last.endswith("points of R@1 lost (bar 0.27 x, 8 x, 1.0 points) short")


@pytest.mark.parametrize(
    ("rows", "ms", "says"),
    [
        (ROWS, MS, "edge: 0.265 x the size, 8.9 x the speed, 0.90 points of R@1 lost (bar 0.27 x, 8 x, 1.0 points) ok"),
        ([ROWS[0], ROWS[1] | {"bytes": 271}], MS, "0.271 x the size"),
        ([ROWS[0], ROWS[1] | {"loss": 1.1}], MS, "1.10 points"),
        (ROWS, MS | {"int8": 1.1}, "7.3 x the speed"),
    ],
)
def test_edge_judges_size_speed_and_loss(rows, ms, says, capsys) -> None:
    code = benchmarks.edge.judge(rows, ms)
    last = capsys.readouterr().out.splitlines()[-1]
    assert says in last and last.endswith("short" if code else "ok") and code == (says != last)


PEER = """#!{python}
import sys
sys.stdin.readline()
print("ready nothing 1.0", flush=True)
for line in sys.stdin:
    print({{1: 90.0, 8: 50.0, 32: 70.0}}[int(line)], flush=True)
"""


def test_text_speed_takes_the_peers_best(run, tmp_path, monkeypatch, capsys) -> None:
    peer = tmp_path / "python"
    peer.write_text(PEER.format(python=sys.executable))
    peer.chmod(0o755)
    monkeypatch.setenv("ITEMBED_PEER_PYTHON", str(peer))
    assert benchmarks.text_speed.main([str(run)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1] == "39 sentences, one thread each; peer: nothing 1.0"
    rate = float(said[2].split()[1].replace(",", ""))
    ratio = float(said[-1].split()[1])
    assert ratio == pytest.approx(rate * 50 / 39, rel=0.02), "39 sentences in 50 seconds, in batches of 8"
    assert benchmarks.text_speed.judge({"ours": 1.0, "peer": 1.9, "other": 5.0}, 10) == 1
    monkeypatch.delenv("ITEMBED_PEER_PYTHON")
    with pytest.raises(SystemExit, match="ITEMBED_PEER_PYTHON"):
        benchmarks.text_speed.main([str(run)])
