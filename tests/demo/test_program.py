"""`itembed demo` as a program: its URL, its end by Ctrl-C, the index of a run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from itembed_tf.demo.searched_index import SearchedIndex
from itembed_tf.index.database import writing

ROOT = Path(__file__).parents[2]


def start(*words: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "itembed_tf", "demo", *map(str, words), "--no-browser"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_prints_its_url_serves_and_ends_by_ctrl_c(tmp_path: Path) -> None:
    with writing(tmp_path / "empty.index", create=True):
        pass
    process = start(tmp_path / "empty.index")
    assert process.stdout is not None
    url = process.stdout.readline().removeprefix("search page: ").strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
    with urllib.request.urlopen(url, timeout=10) as response:
        assert b"<title>Search</title>" in response.read()
    with urllib.request.urlopen(f"{url}api/search", timeout=10) as response:
        assert b"the index is empty" in response.read()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 0 and errors == "Ctrl-C stops it\n"


def test_a_port_that_is_in_use_is_one_line(tmp_path: Path) -> None:
    with writing(tmp_path / "empty.index", create=True):
        pass
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = start(tmp_path / "empty.index", "--port", str(taken.getsockname()[1]))
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1 and re.fullmatch(r"error: cannot listen on .*; choose another port .*\n", errors)


@pytest.mark.slow
def test_a_run_is_indexed_with_its_captions_and_splits_once(
    small_run: Path, small_export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from itembed_tf.demo.run_index import index_run

    run = shutil.copytree(small_run, tmp_path / "run")
    shutil.copytree(small_export, run / "encoders")
    folder = index_run(run, "all")
    assert folder == run / "demo.index" and "indexed 16 images" in capsys.readouterr().err
    with closing(SearchedIndex(folder)) as index:
        assert index.summary().images == 16 and index.splits() == [("dev", 8), ("train", 8)]
    assert index_run(run, "all") == folder and "indexed" not in capsys.readouterr().err
