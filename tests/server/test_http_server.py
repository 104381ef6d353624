"""The HTTP server alone: timeouts, connection limits, rejected requests and body sizes."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time

from itembed_tf.server import http_server
from itembed_tf.server.limits import Limits
from tests.support.waiting import wait_until


async def echo(method, path, body):
    return 200, "application/json", json.dumps([method, len(body)]).encode()


def with_server(check, **limits):
    """Run `check(port, server)` in a thread, with a server that echoes."""

    async def run():
        server = http_server.HttpServer(echo, Limits(**limits))
        port = await server.start("127.0.0.1", 0)
        try:
            return await asyncio.to_thread(check, port, server)
        finally:
            await server.close(1.0)

    return asyncio.run(run())


def request(port, method="POST", path="/", body=b"abc"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body)
    response = connection.getresponse()
    return response.status, response.read()


def test_stalled_connections_are_closed_while_others_are_served(monkeypatch):
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(http_server, "BODY_SECONDS", 0.3)

    def check(port, server):
        parts = [b"", b"POST / HTTP/1.1\r\nHos", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab"]
        stalled = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in parts]
        for connection, part in zip(stalled, parts):
            connection.sendall(part)
        assert request(port) == (200, b'["POST", 3]')
        assert [connection.recv(10) for connection in stalled] == [b"", b"", b""]
        wait_until(lambda: not server._connections)

    with_server(check)


def test_the_number_of_connections_is_limited():
    def check(port, server):
        connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        wait_until(lambda: len(server._connections) == 3)
        status, body = request(port)
        assert status == 503 and b"3 connections" in body
        for connection in connections:
            connection.close()
        wait_until(lambda: not server._connections)
        assert request(port)[0] == 200

    with_server(check, max_calls=3)


def test_a_rejection_reaches_a_client_that_is_still_sending():
    def check(port, server):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + b"a" * 1000)
            time.sleep(0.2)  # the response is sent by now; a server that had closed would reset what follows
            for _ in range(20):
                connection.sendall(b"a" * 100_000)
                time.sleep(0.005)
            response = b"".join(iter(lambda: connection.recv(10_000), b""))
        assert response.startswith(b"HTTP/1.1 413") and b"connection: close" in response.lower()

    with_server(check, max_message=100)


def test_body_size_is_limited_with_and_without_content_length():
    def check(port, server):
        assert request(port, body=b"a" * 100) == (200, b'["POST", 100]')
        assert request(port, body=b"a" * 101)[0] == 413
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/", iter([b"a" * 60] * 3), encode_chunked=True)
        assert connection.getresponse().status == 413
        assert request(port, method="HEAD", body=None) == (200, b"")

    with_server(check, max_message=100)
