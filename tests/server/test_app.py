"""The local server as a program: bounds on the wire, versions that come, go and break, its end; and HTTP alone."""

from __future__ import annotations

import asyncio
import http.client
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

from benchmarks.served import local_server, toy_export
from itembed_tf import serve
from itembed_tf.client import Client, ServingError
from itembed_tf.server import app as local
from itembed_tf.server import http_server
from itembed_tf.server.limits import Limits

OPTIONS = ("--max-message", "1000000", "--max-text", "1000", "--max-queue", "8", "--versions", "2", "--poll", "0.1")


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    out = tmp_path_factory.mktemp("exports")
    for seed in range(3):
        toy_export(out, seed)
    kept = tmp_path_factory.mktemp("kept")
    for name in ("image_encoder", "text_encoder"):
        os.renames(out / name / "3", kept / name / "3")
    return out, kept


@pytest.fixture(scope="module")
def server(exports):
    with local_server(exports[0], *OPTIONS) as served:
        yield served


@pytest.fixture(params=["grpc", "rest"])
def client(request, server):
    with Client(getattr(server, request.param), retries=0) as client:
        yield client


def refused(call) -> ServingError:
    with pytest.raises(ServingError) as caught:
        call()
    return caught.value


def test_sizes_are_bounded(client):
    assert refused(lambda: client.embed_images([b"\xff" * 2_000_000])).code == "RESOURCE_EXHAUSTED"
    error = refused(lambda: client.embed_texts(["a", "b" * 1001]))
    assert error.code == "INVALID_ARGUMENT" and "text[1] is a text of 1,001 bytes" in error.details
    assert "9 items" in refused(lambda: client.embed_texts(["a"] * 9)).details
    assert len(client.embed_texts(["a dog"] * 8).embedding) == 8


def test_the_newest_two_versions_answer_side_by_side(client):
    one, two = (client.embed_texts(["a dog"], version=number).embedding for number in (1, 2))
    latest = client.embed_texts(["a dog"]).embedding
    assert abs(latest - two).max() < 1e-6 < abs(one - two).max()
    assert client.status("text_encoder") == {2: "AVAILABLE", 1: "AVAILABLE"}


def test_a_version_comes_one_goes_and_a_broken_one_is_told(server, exports):
    out, kept = exports
    with Client(server.grpc, retries=0) as client:
        broken = out / "text_encoder" / "9"
        broken.mkdir()
        (broken / "saved_model.pb").write_bytes(b"no model")
        wait_for(lambda: client.status("text_encoder").get(9) == "END")
        with urllib.request.urlopen(f"{server.rest}/v1/models/text_encoder/versions/9") as answer:
            (status,) = json.load(answer)["model_version_status"]
        assert status["status"]["error_code"] != "OK" and status["status"]["error_message"]
        assert len(client.embed_texts(["a dog"]).embedding) == 1
        assert refused(lambda: client.embed_texts(["a dog"], version=9)).code == "NOT_FOUND"
        shutil.rmtree(broken)
        os.rename(kept / "text_encoder" / "3", out / "text_encoder" / "3")
        wait_for(lambda: client.status("text_encoder").get(3) == "AVAILABLE")
        wait_for(lambda: client.status("text_encoder").get(1) == "END")
        assert refused(lambda: client.embed_texts(["a dog"], version=1)).code == "NOT_FOUND"


def wait_for(holds) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_names_that_callers_make_up_do_not_fill_the_metrics(server):
    with Client(server.grpc, retries=0) as by_grpc, Client(server.rest, retries=0) as by_rest:
        for client in (by_grpc, by_rest):
            assert refused(lambda: client.predict("made_up", {"x": [1.0]})).code == "NOT_FOUND"  # noqa: B023
    with urllib.request.urlopen(f"{server.rest}/monitoring/prometheus/metrics") as answer:
        page = answer.read().decode()
    assert "made_up" not in page and ':request_count{model_name="",status="NOT_FOUND"}' in page


def test_its_end_is_orderly(exports):
    with local_server(exports[0]) as served:
        half = socket.create_connection((urlsplit(served.rest).hostname, urlsplit(served.rest).port))
        with Client(served.grpc) as client:
            assert len(client.embed_texts(["a dog"]).embedding) == 1
        started = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(20) == 0
        assert time.monotonic() - started < local.GRACE
        half.close()


def test_what_it_cannot_serve_it_says(tmp_path, capsys):
    assert serve.main([str(tmp_path / "gone")]) == 1
    assert "itembed export" in capsys.readouterr().err
    for wrong in (["--label", "stable"], ["--label", "=1"], ["--max-batch", "0"], ["--poll", "-1"]):
        with pytest.raises(SystemExit):
            serve.main([str(tmp_path), *wrong])
    command = [sys.executable, "-m", "serving.local", str(tmp_path), "--grpc-port", "0", "--rest-port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1 and "holds no SavedModel" in done.stderr


async def echo(method, path, body):
    await asyncio.sleep(float(path.strip("/") or 0))
    return 200, "application/json", json.dumps([method, len(body)]).encode()


def with_server(play, **limits):
    """`play(port, server)` in a thread, against a server that echoes."""

    async def run():
        server = http_server.HttpServer(echo, Limits(**limits))
        port = await server.start("127.0.0.1", 0)
        try:
            return await asyncio.to_thread(play, port, server)
        finally:
            await server.close(1.0)

    return asyncio.run(run())


def ask(port, method="POST", path="/", body=b"abc"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body)
    response = connection.getresponse()
    return response.status, response.read()


def test_silent_connections_are_cut_and_others_served(monkeypatch):
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(http_server, "BODY_SECONDS", 0.3)

    def play(port, server):
        parts = [b"", b"POST / HTTP/1.1\r\nHos", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab"]
        held = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in parts]
        for connection, part in zip(held, parts):
            connection.sendall(part)
        assert ask(port) == (200, b'["POST", 3]')
        assert [connection.recv(10) for connection in held] == [b"", b"", b""]
        wait_for(lambda: not server._connections)

    with_server(play)


def test_connections_are_counted():
    def play(port, server):
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        wait_for(lambda: len(server._connections) == 3)
        status, body = ask(port)
        assert status == 503 and b"3 connections" in body
        for connection in held:
            connection.close()
        wait_for(lambda: not server._connections)
        assert ask(port)[0] == 200

    with_server(play, max_calls=3)


def test_a_refusal_reaches_who_is_still_sending():
    def play(port, server):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + b"a" * 1000)
            time.sleep(0.2)  # the answer is on its way, and a server that had closed by now would reset what follows
            for _ in range(20):
                connection.sendall(b"a" * 100_000)
                time.sleep(0.005)
            answer = b"".join(iter(lambda: connection.recv(10_000), b""))
        assert answer.startswith(b"HTTP/1.1 413") and b"connection: close" in answer.lower()

    with_server(play, max_message=100)


def test_bodies_are_bounded_whatever_they_say():
    def play(port, server):
        assert ask(port, body=b"a" * 100) == (200, b'["POST", 100]')
        assert ask(port, body=b"a" * 101)[0] == 413
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/", iter([b"a" * 60] * 3), encode_chunked=True)
        assert connection.getresponse().status == 413
        assert ask(port, method="HEAD", body=None) == (200, b"")

    with_server(play, max_message=100)
