"""The local server as a program: limits, versions that are added, removed or broken, metrics, and shutdown."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from urllib.parse import urlsplit

import pytest

from benchmarks.served import local_server, sample_image
from itembed_tf import serve
from itembed_tf.client import Client, ServingError
from itembed_tf.server import local_server as module
from tests.support.waiting import wait_until

OPTIONS = ("--max-message", "1000000", "--max-text", "1000", "--max-queue", "8", "--versions", "2", "--poll", "0.1")


@pytest.fixture(scope="module")
def exports(toy_exports, tmp_path_factory):
    return toy_exports.copy(tmp_path_factory.mktemp("exports"), 1, 2)


@pytest.fixture(scope="module")
def server(exports):
    with local_server(exports, *OPTIONS) as served:
        yield served


@pytest.fixture(params=["grpc", "rest"])
def client(request, server):
    with Client(getattr(server, request.param), retries=0) as client:
        yield client


def serving_error(call) -> ServingError:
    with pytest.raises(ServingError) as caught:
        call()
    return caught.value


def test_sizes_are_limited(client):
    assert serving_error(lambda: client.embed_images([b"\xff" * 2_000_000])).code == "RESOURCE_EXHAUSTED"
    error = serving_error(lambda: client.embed_texts(["a", "b" * 1001]))
    assert error.code == "INVALID_ARGUMENT" and "text[1] is a text of 1,001 bytes" in error.details
    assert "9 items" in serving_error(lambda: client.embed_texts(["a"] * 9)).details
    assert len(client.embed_texts(["a dog"] * 8).embedding) == 8


def test_the_newest_two_versions_are_served(client):
    first, second = (client.embed_texts(["a dog"], version=number).embedding for number in (1, 2))
    newest = client.embed_texts(["a dog"]).embedding
    assert abs(newest - second).max() < 1e-6 < abs(first - second).max()
    assert client.status("text_encoder") == {2: "AVAILABLE", 1: "AVAILABLE"}


def test_one_call_is_answered_by_one_version_and_says_which(client):
    contracts = {}
    for number in (1, 2):
        texts = client.embed_texts(["a dog"], version=number)
        images = client.image_embeddings([sample_image()], version=number)
        assert texts.version == images.version == number and len(texts.contract) == 64
        assert texts.contract == images.contract
        contracts[number] = texts.contract
    assert contracts[1] != contracts[2]


def test_a_version_is_added_one_is_removed_and_a_broken_one_is_reported(server, exports, toy_exports, tmp_path):
    with Client(server.grpc, retries=0) as client:
        broken = exports / "text_encoder" / "9"
        broken.mkdir()
        (broken / "saved_model.pb").write_bytes(b"not a model")
        wait_until(lambda: client.status("text_encoder").get(9) == "END")
        with urllib.request.urlopen(f"{server.rest}/v1/models/text_encoder/versions/9") as response:
            (status,) = json.load(response)["model_version_status"]
        assert status["status"]["error_code"] != "OK" and status["status"]["error_message"]
        assert len(client.embed_texts(["a dog"]).embedding) == 1
        assert serving_error(lambda: client.embed_texts(["a dog"], version=9)).code == "NOT_FOUND"
        shutil.rmtree(broken)
        added = toy_exports.copy(tmp_path, 1) / "text_encoder" / "1"
        os.rename(added, exports / "text_encoder" / "3")
        wait_until(lambda: client.status("text_encoder").get(3) == "AVAILABLE")
        wait_until(lambda: client.status("text_encoder").get(1) == "END")
        assert serving_error(lambda: client.embed_texts(["a dog"], version=1)).code == "NOT_FOUND"


def test_unknown_model_names_do_not_become_metric_labels(server):
    with Client(server.grpc, retries=0) as by_grpc, Client(server.rest, retries=0) as by_rest:
        for client in (by_grpc, by_rest):
            assert serving_error(lambda: client.predict("made_up", {"x": [1.0]})).code == "NOT_FOUND"  # noqa: B023
    with urllib.request.urlopen(f"{server.rest}/monitoring/prometheus/metrics") as response:
        page = response.read().decode()
    assert "made_up" not in page and ':request_count{model_name="",status="NOT_FOUND"}' in page


def test_a_port_that_is_in_use_is_named(server, exports):
    port = server.rest.rpartition(":")[2]
    command = [sys.executable, "-m", "itembed_tf", "serve", str(exports), "--grpc-port", "0", "--rest-port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr and "choose another with --rest-port" in done.stderr


def test_the_limit_of_open_files_is_raised():
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
    try:
        module._allow_many_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_shutdown_does_not_wait_for_idle_connections(server):
    """The last test of this server."""
    idle = socket.create_connection((urlsplit(server.rest).hostname, urlsplit(server.rest).port))
    with Client(server.grpc) as client:
        assert len(client.embed_texts(["a dog"]).embedding) == 1
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    assert time.monotonic() - started < module.GRACE_SECONDS
    idle.close()


def test_errors_of_the_command_line(tmp_path, capsys):
    assert serve.main([str(tmp_path / "missing")]) == 1
    assert "itembed export" in capsys.readouterr().err
    assert serve.main([str(tmp_path)]) == 1
    assert "has no SavedModel" in capsys.readouterr().err
    for wrong in (["--label", "stable"], ["--label", "=1"], ["--max-batch", "0"], ["--poll", "-1"]):
        with pytest.raises(SystemExit):
            serve.main([str(tmp_path), *wrong])


def test_a_folder_in_which_no_model_loads(tmp_path):
    broken = tmp_path / "text_encoder" / "1"
    broken.mkdir(parents=True)
    (broken / "saved_model.pb").write_bytes(b"not a model")
    command = [sys.executable, "-m", "serving.local", str(tmp_path), "--grpc-port", "0", "--rest-port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "text_encoder/1: could not be loaded" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: no model in")
