"""Connections of the client: deadlines, encryption, headers, proxies, concurrent calls, a server that returns."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from concurrent import futures

import grpc
import pytest

from itembed_tf.client import AsyncClient, Client, ServingError
from itembed_tf.client.grpc_transport import _serving_error
from itembed_tf.client.messages import GetModelStatusResponse

AVAILABLE = {"model_version_status": [{"version": "3", "state": "AVAILABLE"}]}


class RestServer:
    """Sends the parts of `answer`, waiting before each, to every GET request; keeps the heads of the requests."""

    def __init__(self, answer, *, pause=0.0, tls=None):
        self.answer, self.pause, self.tls, self.heads = answer, pause, tls, []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            with self.tls.wrap_socket(connection, server_side=True) if self.tls else connection as secured:
                file = secured.makefile("rb")
                while line := file.readline():
                    head = [line]
                    while (line := file.readline()) not in (b"\r\n", b""):
                        head.append(line)
                    self.heads.append(b"".join(head))
                    for part in self.answer:
                        time.sleep(self.pause)
                        secured.sendall(part)
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.listener.close()


def ok(content):
    body = json.dumps(content).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def test_a_timeout_is_for_the_whole_answer():
    """A server that sends a byte from time to time keeps every single read alive."""
    slowly = [bytes([byte]) for byte in ok(AVAILABLE)]
    with RestServer(slowly, pause=0.05) as server, Client(f"http://127.0.0.1:{server.port}", timeout=0.6) as client:
        started = time.monotonic()
        with pytest.raises(ServingError) as caught:
            client.status("text_encoder")
        assert caught.value.code == "DEADLINE_EXCEEDED" and time.monotonic() - started < 2


def test_many_asynchronous_rest_calls_run_at_the_same_time():
    async def ask(address):
        async with AsyncClient(address) as client:
            return await asyncio.gather(*(client.status("text_encoder") for _ in range(20)))

    with RestServer([ok(AVAILABLE)], pause=1.0) as server:
        started = time.monotonic()
        assert asyncio.run(ask(f"http://127.0.0.1:{server.port}")) == [{3: "AVAILABLE"}] * 20
        assert time.monotonic() - started < 2.5  # six threads would take four seconds


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed: it would make a certificate")
    folder = tmp_path_factory.mktemp("certificate")
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-addext", names]
    subprocess.run([*make, "-keyout", "key.pem", "-out", "ca.pem"], cwd=folder, check=True, capture_output=True)
    return folder


def grpc_server(address="127.0.0.1:0", credentials=None, seen=None):
    """A server that answers every call with the status; `seen` gets the metadata of the calls."""

    def status(request, context):
        if seen is not None:
            seen.append(dict(context.invocation_metadata()))
        response = GetModelStatusResponse()
        response.model_version_status.add(version=3, state=30)
        return response.SerializeToString()

    server = grpc.server(futures.ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    handler = grpc.method_handlers_generic_handler(
        "tensorflow.serving.ModelService", {"GetModelStatus": grpc.unary_unary_rpc_method_handler(status)}
    )
    server.add_generic_rpc_handlers([handler])
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.start()
    return server, port


SENT = {"token": "secret", "headers": {"X-Tenant": "me"}}


def test_rest_over_tls_with_a_token_and_headers(certificate):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate / "ca.pem", certificate / "key.pem")
    with RestServer([ok(AVAILABLE)], tls=tls) as server:
        address = f"https://localhost:{server.port}"
        with Client(address, ca_file=certificate / "ca.pem", **SENT) as client:
            assert client.status("text_encoder") == {3: "AVAILABLE"}
        head = server.heads[0].lower()
        assert b"authorization: bearer secret\r\n" in head and b"x-tenant: me\r\n" in head
        with Client(address, retries=0) as client, pytest.raises(ServingError, match="certificate"):
            client.status("text_encoder")


def test_grpc_over_tls_with_a_token_and_headers(certificate):
    pair = ((certificate / "key.pem").read_bytes(), (certificate / "ca.pem").read_bytes())
    seen = []
    server, port = grpc_server(credentials=grpc.ssl_server_credentials([pair]), seen=seen)

    async def ask():
        async with AsyncClient(f"grpcs://localhost:{port}", ca_file=certificate / "ca.pem", **SENT) as client:
            return await client.status("text_encoder")

    with Client(f"grpcs://localhost:{port}", ca_file=certificate / "ca.pem", **SENT) as client:
        assert client.status("text_encoder") == asyncio.run(ask()) == {3: "AVAILABLE"}
    assert (
        all(sent["authorization"] == "Bearer secret" and sent["x-tenant"] == "me" for sent in seen) and len(seen) == 2
    )
    server.stop(0)


@pytest.mark.parametrize(
    ("address", "settings", "message"),
    [
        ("localhost:1", {"timeout": None}, "timeout is None; it must be a number of seconds above 0"),
        ("localhost:1", {"timeout": 0}, "above 0"),
        ("localhost:1", {"retries": 1.5}, "whole number"),
        ("ftp://localhost", {}, "is not an address"),
        ("localhost", {}, "has no port; use host:port, for example localhost:8500"),
        ("http://user:password@localhost:1", {}, "expected http://host:port"),
        ("localhost:1", {"headers": {"a b": "c"}}, "not a name of a header"),
        ("localhost:1", {"token": "a\nb"}, "on one line"),
        ("grpcs://localhost:1", {"ca_file": "missing.pem"}, "missing.pem does not exist"),
        ("http://localhost:1", {"ca_file": __file__}, "use grpcs:// or https://"),
    ],
)
def test_settings_that_cannot_be_used(address, settings, message):
    with pytest.raises(ValueError, match=message):
        Client(address, **settings)


def test_a_proxy_in_the_environment_is_not_asked_for_localhost(monkeypatch):
    server, port = grpc_server()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Client(f"localhost:{port}", retries=0) as client:
        assert client.status("text_encoder") == {3: "AVAILABLE"}
    server.stop(0)


def test_an_error_behind_a_proxy_names_it(monkeypatch):
    class Refused:
        def code(self):
            return grpc.StatusCode.UNAVAILABLE

        def details(self):
            return "failed to connect"

    monkeypatch.setenv("http_proxy", "http://me:password@proxy.example:3128")
    error = _serving_error(Refused(), "models.example:8500")
    assert "proxy.example:3128" in str(error) and "no_proxy=models.example" in str(error)
    assert "password" not in str(error)
    assert "proxy" not in str(_serving_error(Refused(), "127.0.0.1:8500"))


def test_a_server_that_returns_is_found_within_seconds():
    """gRPC by itself waits longer and longer between two attempts to connect."""
    server, port = grpc_server()
    with Client(f"127.0.0.1:{port}", timeout=30, retries=0) as client:
        assert client.status("text_encoder")
        server.stop(0).wait()
        for _ in range(40):
            with pytest.raises(ServingError):
                client.status("text_encoder")
            time.sleep(0.1)
        server, _ = grpc_server(f"127.0.0.1:{port}")
        started = time.monotonic()
        while time.monotonic() - started < 20:
            try:
                client.status("text_encoder")
                break
            except ServingError:
                time.sleep(0.05)
        assert time.monotonic() - started < 3
    server.stop(0)
