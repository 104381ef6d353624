"""The HTTP server alone: timeouts, connection limits, rejected requests and body sizes."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time

from itembed_tf.server import http_server
from itembed_tf.server.http_messages import HttpResponse
from itembed_tf.server.limits import Limits
from tests.support.waiting import wait_until


async def echo(request):
    return HttpResponse(200, json.dumps([request.method, len(request.body)]).encode())


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


def exchange(port, content, *, end=True):
    """All that the server sends until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(content)
        if end:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(10_000), b""))


def test_content_length_with_transfer_encoding_is_refused():
    """A proxy that reads the one, before a server that reads the other, would let a second request through."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"

    def check(port, server):
        answer = exchange(port, head + b"0\r\n\r\n" + b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 Bad Request") and answer.count(b"HTTP/1.1") == 1

    with_server(check)


def test_unfinished_bodies_are_bounded_together_and_released():
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"

    def check(port, server):
        held = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(4)]
        for connection in held:
            connection.sendall(head + bytes(700_000))
        wait_until(lambda: server._body_bytes == 1_400_000)  # the third and the fourth are refused
        answer = exchange(port, head + bytes(1_000_000))
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable") and b"retry-after: 1" in answer.lower()
        assert request(port)[0] == 200  # small bodies are always received
        for connection in held:
            connection.close()
        wait_until(lambda: server._body_bytes == 0)
        assert request(port, body=bytes(900_000))[0] == 200

    with_server(check, max_message=1_000_000, max_waiting=2_000_000)


def test_a_body_in_tiny_chunks_is_refused_soon():
    def check(port, server):
        started = time.monotonic()
        body = b"1\r\na\r\n" * 500_000
        answer = exchange(port, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        assert answer.startswith(b"HTTP/1.1 400") and b"chunks of less than 64 bytes" in answer
        assert time.monotonic() - started < 5

    with_server(check)


def test_shutdown_answers_what_runs_and_nothing_that_is_sent_later():
    """The answer says that the connection ends, and arrives although the client has sent another request."""
    started, finish = threading.Event(), threading.Event()

    async def slow(request):
        started.set()
        await asyncio.to_thread(finish.wait, 10)
        return HttpResponse(200, b"{}")

    def ask(port, answers):
        answers.append(
            exchange(port, b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", end=False)
        )

    async def run():
        server, answers = http_server.HttpServer(slow, Limits()), []
        port = await server.start("127.0.0.1", 0)
        thread = threading.Thread(target=ask, args=(port, answers))
        thread.start()
        await asyncio.to_thread(started.wait, 10)
        closing = asyncio.create_task(server.close(5.0))
        await asyncio.sleep(0.05)
        finish.set()
        await closing
        await asyncio.to_thread(thread.join)
        return answers[0]

    answer = asyncio.run(run())
    assert answer.count(b"HTTP/1.1 200 OK") == 1 and b"connection: close" in answer.lower()
