"""The load program, in a process of its own as it is used, against the local server; and its table by hand."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.served import local_server, picture, toy_export


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with local_server(toy_export(tmp_path_factory.mktemp("exports")), "--max-text", "1000") as served:
        yield served


def run(*arguments):
    command = [sys.executable, "-m", "serving.load", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def rows(text):
    """Name of the row -> requests, items a second, p50, p95, p99, errors."""
    found = [line.split() for line in text.splitlines()]
    return {
        words[0]: [float(word) for word in words[1:]] for words in found if len(words) == 7 and words[0] != "requests"
    }


@pytest.mark.parametrize("address", ["grpc", "rest"])
def test_a_mix_by_many_clients(server, address, tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture())
    (tmp_path / "words.txt").write_text("a dog runs\n\nthe man\n")
    files = ("--images", tmp_path, "--texts", tmp_path / "words.txt")
    done = run(getattr(server, address), "--kind", "mix", "--clients", 4, "--seconds", 2, *files)
    assert done.returncode == 0, done.stderr
    found = rows(done.stdout)
    assert list(found) == ["images", "text", "all"]
    for requests, rate, p50, p95, p99, errors in found.values():
        assert requests > 4 and errors == 0 and 0 < p50 <= p95 <= p99
        assert rate == pytest.approx(requests / 2, rel=0.2)
    assert found["all"][0] == found["text"][0] + found["images"][0]
    assert abs(found["text"][0] - found["images"][0]) <= 4  # in turn


def test_what_is_refused_is_counted_and_said(server, tmp_path):
    (tmp_path / "words.txt").write_text("a dog runs\n" + "b" * 1001 + "\n")
    done = run(server.grpc, "--kind", "text", "--clients", 2, "--seconds", 1, "--texts", tmp_path / "words.txt")
    (found,) = rows(done.stdout).values()
    assert done.returncode == 1 and "requests failed" in done.stderr
    assert 0 < found[5] < found[0] and f"{found[5]:.0f} x INVALID_ARGUMENT" in done.stdout


def test_wrong_arguments_are_told_before_any_load(server, tmp_path):
    done = run("127.0.0.1:1", "--timeout", 2)
    assert done.returncode == 1 and "UNAVAILABLE" in done.stderr and "requests" not in done.stdout
    done = run(server.grpc, "--images", tmp_path)
    assert done.returncode == 1 and "holds no picture" in done.stderr
    assert run(server.grpc, "--batch", 33).returncode == 2


def test_the_table_by_hand():
    code = """if True:
        import json
        from itembed_tf.client.load_test import Answer, ServingError, table
        answers = [Answer("text", i / 1000, None) for i in range(1, 101)]
        answers += [Answer("pictures", 0.5, None), Answer("pictures", 9.0, ServingError("UNAVAILABLE", "full"))]
        print(json.dumps(table(answers, 10.0, 2)))
    """  # locust puts its own sockets in place of Python's: not in this process
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    lines = json.loads(done.stdout)
    found = rows("\n".join(lines))
    assert found["text"] == [100, 20.0, 51.0, 96.0, 100.0, 0]
    assert found["pictures"] == [2, 0.2, 500.0, 500.0, 500.0, 1]
    assert found["all"][:2] == [102, 20.2] and found["all"][5] == 1
    assert lines[-1] == "1 x UNAVAILABLE, first: full"
