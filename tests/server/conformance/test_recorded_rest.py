"""224 requests that TF Serving's own REST code has answered: the status, the form of the answer, the connection."""

from __future__ import annotations

import base64
import json
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.served import LENGTH, sample_image

RECORDED = json.loads(Path(__file__).with_name("tf_serving_rest.json").read_text(encoding="utf-8"))["cases"]
STATUS = b"GET /v1/models/text_encoder HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = "POST /v1/models/{}_encoder:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: @LENGTH@\r\n\r\n"
ONE_DIMENSION = "a text encoder takes one dimension; TF Serving does not check it"
NO_JSON = "not JSON by RFC 8259, which RapidJSON accepts"
NO_HTTP = "not HTTP by RFC 9112; a proxy may read it in another way"
METHOD = "one error for every method of the API that does not exist"
# Where the local server's status differs, and why; docs/serving.md says it too.
DIFFERENT = {
    "rows list of list": (400, ONE_DIMENSION),
    "extra key Inf": (400, NO_JSON),
    "trailing garbage": (400, NO_JSON),
    "two documents": (400, NO_JSON),
    "trailing NUL": (400, NO_JSON),
    "invalid utf8 in string": (400, NO_JSON),
    "GET /v1/models/text%ZZencoder": (404, "an escape that is none is a part of the name"),
    "TRACE :predict": (400, METHOD),
    "FOO :predict": (400, METHOD),
    "method lower": (400, METHOD),
    "OPTIONS origin": (400, "no CORS: pages of other sites must not call a server on localhost"),
    "gzip request upper": (200, "names of encodings have no case"),
    "chunked + ext + trailer": (200, "chunk extensions and trailers are read, and ignored"),
    "TE gzip, chunked": (501, "no compression by Transfer-Encoding"),
    "TE identity": (501, "no compression by Transfer-Encoding"),
    "two unequal CL": (400, NO_HTTP),
    "CL +n": (400, NO_HTTP),
    "no Host": (400, NO_HTTP),
    "space before colon": (400, NO_HTTP),
}
CLOSES = {"HTTP/1.0 keep-alive"}  # where the local server closes the connection and TF Serving keeps it


def filled_in(request: str) -> bytes:
    """The bytes of a recorded request, for the encoders under test."""
    data = sample_image()
    image = base64.b64encode(data + bytes(-len(data) % 3)).decode()  # without padding
    lines = "\\n".join(re.findall(".{1,76}", image))
    request = re.sub("@(text|image)@", lambda match: POST.format(match[1]), request)
    request = request.replace("@IMAGE with line breaks@", lines)
    request = request.replace("@IMAGE urlsafe@", image.replace("+", "-").replace("/", "_"))
    request = request.replace("@IMAGE@", image).replace("@IMAGE unpadded@", image)
    request = request.replace("@500 headers@", "".join(f"X{i}: y\r\n" for i in range(500)))
    request = re.sub(r"@(\d+) times (.)@", lambda match: match[2] * int(match[1]), request, flags=re.DOTALL)
    request = re.sub("@16 ([^@]+)@", lambda match: ", ".join([match[1]] * LENGTH), request)
    body = request.partition("\r\n\r\n")[2]
    return request.replace("@LENGTH@", str(len(body))).encode("latin-1")


def ask(rest: str, content: bytes, answers: int) -> list[tuple[int, bytes]]:
    """Status and body of the answers to a request and to one of the status behind it; fewer if the server closes."""
    url, received = urlsplit(rest), []
    with socket.create_connection((url.hostname, url.port), timeout=20) as connection:
        connection.sendall(content)
        file = connection.makefile("rb")
        for i in range(answers + 1):
            if i == answers:
                try:
                    connection.sendall(STATUS)
                except OSError:
                    break
            try:
                response = read_response(file, b"HEAD" if content.startswith(b"HEAD") and i < answers else b"")
            except OSError:
                break
            if response is None:
                break
            received.append(response)
    return received


def read_response(file, method):
    line = file.readline()
    while line.startswith(b"HTTP/1.1 100"):
        file.readline()
        line = file.readline()
    if not line:
        return None
    length = 0
    while (header := file.readline().strip()) != b"":
        if header.lower().startswith(b"content-length:"):
            length = int(header.split(b":")[1])
    return int(line.split()[1]), b"" if method == b"HEAD" else file.read(length)


def form(body: bytes) -> str:
    """What an answer is: OK and its keys, ERR, or anything else."""
    try:
        content = json.loads(body)
    except ValueError:
        return "other"
    return "ERR" if "error" in content else "OK " + " ".join(content)


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["name"])
def test_answers_are_those_of_tf_serving(target, case):
    expected = case["answers"]
    received = ask(target.rest, filled_in(case["request"]), len(expected))
    status, reason = DIFFERENT.get(case["name"], (expected[0][0], "")) if target.local else (expected[0][0], "")
    assert received and received[0][0] == status, received[:1]
    if reason:
        assert status != expected[0][0], "no longer different"
        return
    for (_, body), (_, says) in zip(received, expected):
        if says.startswith("OK"):
            assert form(body) == says
        elif says.startswith("ERR") and not case["name"].startswith("HEAD"):
            assert form(body) == "ERR"
    if case["connection"] == "open" and not (target.local and case["name"] in CLOSES):
        assert [answer[0] for answer in received[len(expected) :]] == [200]
