"""The benchmarks index and milvus in their --quick form."""

from __future__ import annotations

import pytest

import benchmarks.index
import benchmarks.milvus
from benchmarks.milvus_server import installed
from itembed_tf.index.engines import choice, local


@pytest.fixture(autouse=True)
def sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore what `small` sets."""
    for module, name in ((choice, "APPROXIMATE_FROM"), (choice, "APPROXIMATE_SEGMENT"), (local, "SCANNED")):
        monkeypatch.setattr(module, name, getattr(module, name))


@pytest.mark.benchmark
def test_index_measures_a_small_index(capsys: pytest.CaptureFixture[str]) -> None:
    benchmarks.index.main(["--quick"])
    output = capsys.readouterr().out
    assert "ours: faiss, opened in" in output
    assert "FAISS HNSW16,SQ8, effort" in output
    assert " 0 wrong (bar" in output.splitlines()[-1]


@pytest.mark.benchmark
@pytest.mark.skipif(not installed(), reason="no Milvus server: pip install milvus==2.3.5")
def test_milvus_finds_what_the_exact_engine_finds(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmarks.milvus.main(["--quick"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("0 wrong after changes (bar 0.99, 0 wrong) ok")
