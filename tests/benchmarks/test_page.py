"""The benchmark of the search page runs, and judges both bars."""

from __future__ import annotations

import contextlib
import shutil

import pytest

from benchmarks import page


@pytest.mark.benchmark
@pytest.mark.skipif(not shutil.which("chromium"), reason="no Chromium: apt-get install chromium")
def test_quick(capsys):
    assert page.main(["--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("page: ") and lines[-1].endswith(" ok")


def test_both_bars_are_judged(capsys, monkeypatch):
    monkeypatch.setattr(page, "write_index", lambda *_: None)
    monkeypatch.setattr(page, "flickr8k_captions", list)
    monkeypatch.setattr(page, "serving", lambda _: contextlib.nullcontext("url"))
    for opened, painted, code in ((900.0, 59.0, 0), (900.0, 61.0, 1), (1100.0, 59.0, 1)):
        keys = [
            {"wanted": "a", "painted": painted, "decoded": painted},
            {"wanted": "b", "painted": None, "decoded": None},
        ]
        monkeypatch.setattr(page, "measure", lambda *_, opened=opened, keys=keys: ([opened], keys, [20.0]))
        assert page.main(["run"]) == code
        printed = capsys.readouterr().out
        assert "1 overtaken" in printed and printed.rstrip().endswith(["ok", "short"][code])
