"""The load test as a subprocess against the local server, and its report."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from benchmarks.served import sample_image


def run(*arguments):
    command = [sys.executable, "-m", "serving.load", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def rows(output):
    """Kind -> requests, errors, items per second, unit, and latencies of 50, 95 and 99 %."""
    pattern = r"^(text|images|all) +(\d+) +(\d+) +([\d.]+) (\S+/s) +([\d.]+) +([\d.]+) +([\d.]+)$"
    return {
        kind: (int(requests), int(errors), float(rate), unit, *map(float, latency))
        for kind, requests, errors, rate, unit, *latency in re.findall(pattern, output, re.MULTILINE)
    }


@pytest.mark.parametrize("address", ["grpc", "rest"])
def test_a_mix_of_images_and_texts(toy_server, address, tmp_path):
    (tmp_path / "a.jpg").write_bytes(sample_image())
    (tmp_path / "texts.txt").write_text("a dog runs\n\nthe man\n")
    files = ("--images", tmp_path, "--texts", tmp_path / "texts.txt")
    done = run(getattr(toy_server, address), "--kind", "mix", "--clients", 4, "--seconds", 2, *files)
    assert done.returncode == 0, done.stderr
    report = rows(done.stdout)
    assert list(report) == ["images", "text", "all"]
    for requests, errors, rate, _, p50, p95, p99 in report.values():
        assert requests > 4 and errors == 0 and rate > 0 and 0 < p50 <= p95 <= p99
    assert report["all"][0] == report["text"][0] + report["images"][0]
    assert abs(report["text"][0] - report["images"][0]) <= 4  # clients alternate


def test_errors_are_counted_and_reported(toy_server, tmp_path):
    (tmp_path / "texts.txt").write_text("a dog runs\n" + "b" * 1001 + "\n")
    done = run(toy_server.grpc, "--kind", "text", "--clients", 2, "--seconds", 1, "--texts", tmp_path / "texts.txt")
    ((requests, errors, *_),) = rows(done.stdout).values()
    assert done.returncode == 1 and "requests failed" in done.stderr
    assert 0 < errors < requests and f"{errors} x INVALID_ARGUMENT" in done.stdout


def test_wrong_arguments_are_reported_before_any_load(toy_server, tmp_path):
    done = run("127.0.0.1:1", "--timeout", 2)
    assert done.returncode == 1 and "UNAVAILABLE" in done.stderr and "requests" not in done.stdout
    done = run(toy_server.grpc, "--images", tmp_path)
    assert done.returncode == 1 and "has no image" in done.stderr
    assert run(toy_server.grpc, "--batch", 33).returncode == 2


def test_report():
    code = """if True:
        import json
        from itembed_tf.client.load_test import Result, ServingError, format_report
        results = [Result("text", i / 1000, None) for i in range(1, 101)]
        results += [Result("images", 0.5, None), Result("images", 9.0, ServingError("UNAVAILABLE", "full"))]
        print(json.dumps(format_report(results, 10.0, 2)))
    """  # in a subprocess: locust replaces Python's sockets
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    lines = json.loads(done.stdout)
    report = rows("\n".join(lines))
    assert report["text"] == (100, 0, 20.0, "texts/s", 51.0, 96.0, 100.0)
    assert report["images"] == (2, 1, 0.2, "images/s", 500.0, 500.0, 500.0)
    assert report["all"][:4] == (102, 1, 20.2, "items/s")
    assert lines[-1] == "1 x UNAVAILABLE, first: full"
