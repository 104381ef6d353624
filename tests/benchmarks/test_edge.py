"""The benchmarks edge, text_speed and parity on a small run: their figures, and bars that can fail."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import benchmarks.edge
import benchmarks.export_recall
import benchmarks.parity
import benchmarks.text_speed
from benchmarks.export_recall import small_run

FLOAT32 = SimpleNamespace(precision="float32", bytes=1000, loss=0.0)
ROWS = [FLOAT32, SimpleNamespace(precision="int8", bytes=265, loss=0.9)]
LARGE = [FLOAT32, SimpleNamespace(precision="int8", bytes=271, loss=0.9)]
LOSSY = [FLOAT32, SimpleNamespace(precision="int8", bytes=265, loss=1.1)]
MS = {"SavedModel": 8.0, "int8": 0.9}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("data"))


@pytest.mark.benchmark
def test_export_recall_measures_a_small_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmarks.export_recall.main([str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rsum = float(next(line for line in lines if line.startswith("rsum")).split()[1])
    assert rsum > 120, "chance is 82: constant encoders would not pass"
    assert lines[-1] == "export_recall: 0.00 points (bar 0.1) ok"


@pytest.mark.benchmark
def test_edge_measures_a_small_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmarks.edge.main([str(run)]) == 1, "small files are mostly metadata"
    *_, saved_model, float32, float16, dynamic, int8, last = capsys.readouterr().out.splitlines()
    assert saved_model.startswith("SavedModel") and saved_model.endswith(" 1.0 x the SavedModel's speed")
    for line in (float32, float16, dynamic, int8):
        assert 0 < float(line.split()[1]) < float(saved_model.split()[1]), "LiteRT has less overhead per op"
    assert last.startswith("edge: 0.") and last.endswith("points of R@1 lost (bar 0.27 x, 8 x, 1.0 points) short")


@pytest.mark.parametrize(
    ("rows", "ms", "expected"),
    [
        (ROWS, MS, "edge: 0.265 x the size, 8.9 x the speed, 0.90 points of R@1 lost (bar 0.27 x, 8 x, 1.0 points) ok"),
        (LARGE, MS, "0.271 x the size"),
        (LOSSY, MS, "1.10 points"),
        (ROWS, MS | {"int8": 1.1}, "7.3 x the speed"),
    ],
)
def test_edge_judges_size_speed_and_loss(rows, ms, expected, capsys) -> None:
    code = benchmarks.edge.judge(rows, ms)
    last = capsys.readouterr().out.splitlines()[-1]
    assert expected in last and last.endswith("short" if code else "ok") and code == (expected != last)


@pytest.mark.benchmark
def test_text_speed_uses_the_peers_best_batch_size(run, capsys) -> None:
    code = benchmarks.text_speed.main([str(run)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("39 texts, one thread each; peer: onnxruntime ")
    rates = [float(line.split(" texts/s")[0].split()[-1].replace(",", "")) for line in lines[2:6]]
    assert float(lines[-1].split()[1]) == pytest.approx(rates[0] / max(rates[1:]), rel=0.05)
    assert code == (rates[0] / max(rates[1:]) < 2)
    assert benchmarks.text_speed.judge({"ours": 1.0, "peer": 1.9, "other": 5.0}, 10) == 1
    assert benchmarks.text_speed.judge({"ours": 1.0, "peer": 2.1, "other": 5.0}, 10) == 0


@pytest.mark.benchmark
def test_parity_measures_every_backend(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmarks.parity.main([str(run), "--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ["live model", "SavedModel", "gRPC", "REST"]
    names += ["ONNX Runtime", "OpenVINO float32", "OpenVINO bfloat16", "LiteRT float32", "LiteRT int8"]
    table = {name: line.split()[-10:] for name in names for line in lines if line.startswith(f"{name} ")}
    assert list(table) == names
    assert table["live model"][:4] == ["0.0e+00"] * 4 and float(table["live model"][-1]) > 20, "R@1 is far above chance"
    for name in set(names[1:]) - {"OpenVINO bfloat16", "LiteRT int8"}:
        assert all(float(off) < 1e-4 for off in table[name][:4]) and table[name][4:] == table["live model"][4:]
    assert table["gRPC"] == table["REST"]
    assert 1e-4 < float(table["LiteRT int8"][0]) < 0.2, "int8 cannot be this close to float32"
    assert lines[-1].startswith("parity: ") and lines[-1].endswith("recall 0.00 points apart (bar 0.0001, 0) ok")


def test_parity_judges_float32_backends_and_the_size_of_dev(capsys) -> None:
    recalls = {"R@1": 20.0, "R@5": 50.0, "R@10": 60.0}
    same = {"image_query": recalls, "text_query": recalls}
    other = {"image_query": recalls, "text_query": {**recalls, "R@5": 49.9}}
    a = np.eye(3, dtype=np.float32)
    off, lost = a + np.float32(2e-4), np.where(a, np.nan, a)

    def judged(name: str, images: np.ndarray = a, captions: np.ndarray = a, table: dict = same, least: int = 3) -> str:
        live = benchmarks.parity.Backend("live model", a, a, same)
        code = benchmarks.parity.judge([live, benchmarks.parity.Backend(name, images, captions, table)], least, 3)
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.endswith("short" if code else "ok")
        return last

    assert judged("REST") == "parity: 0.0e+00, recall 0.00 points apart (bar 0.0001, 0) ok"
    assert judged("REST", images=off) == "parity: 2.0e-04, recall 0.00 points apart (bar 0.0001, 0) short"
    assert judged("REST", captions=lost).endswith("short")
    assert judged("LiteRT float32", captions=off).endswith("short")
    assert judged("OpenVINO float32", captions=off).endswith("short")
    assert judged("LiteRT int8", captions=off, table=other).endswith("ok")
    assert judged("OpenVINO bfloat16", captions=off, table=other).endswith("ok")
    assert judged("gRPC", table=other) == "parity: 0.0e+00, recall 0.10 points apart (bar 0.0001, 0) short"
    assert judged("gRPC", least=4).endswith("short")
