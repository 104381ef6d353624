"""The requests of the page: which function answers which path, and how errors are answered."""

from __future__ import annotations

import asyncio
import json
import mimetypes
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import Any

from itembed_tf.demo.access import HEADERS, Access
from itembed_tf.demo.body import Body
from itembed_tf.demo.lessons import Busy
from itembed_tf.demo.originals import NotShown
from itembed_tf.demo.page_api import NotFound, PageApi
from itembed_tf.demo.parameters import Parameters
from itembed_tf.demo.query_images import KEY_DIGITS
from itembed_tf.errors import UserError
from itembed_tf.server.http_messages import JSON, HttpRequest, HttpResponse
from itembed_tf.server.http_server import Handler

IMMUTABLE = "private, max-age=31536000, immutable"  # the key in the URL is that of the content
_STATIC = re.compile(r"/static/([a-z_]+\.(?:js|css|svg))")
_ITEM = re.compile(rf"/api/(item|weights|thumbnail|image)/([0-9a-f]{{{KEY_DIGITS}}})")
_QUERY_IMAGE = re.compile(rf"/api/query-image/([0-9a-f]{{{KEY_DIGITS}}})")
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


def make_handler(api: PageApi, access: Access) -> Handler:
    """The request handler for `itembed_tf.server.http_server.HttpServer`; requests are answered in threads."""

    async def handle(request: HttpRequest) -> HttpResponse:
        response = await asyncio.to_thread(_answer, api, access, request)
        return HttpResponse(response.status, response.body, response.content_type, (*response.headers, *HEADERS))

    return handle


def _answer(api: PageApi, access: Access, request: HttpRequest) -> HttpResponse:
    if refusal := access.refusal(request.headers):
        return _error(403, refusal)
    try:
        return _route(api, request)
    except (NotFound, NotShown) as error:
        return _error(404, str(error))
    except Busy as error:
        return _error(409, str(error))
    except UserError as error:
        return _error(400, " ".join(str(error).split()))
    except Exception:
        traceback.print_exc(file=sys.stderr)
        return _error(500, "an error in the program; its traceback is in the terminal of `itembed demo`")


def _route(api: PageApi, request: HttpRequest) -> HttpResponse:
    path = request.target.partition("?")[0]
    if request.method == "POST" and path == "/api/query-image":
        return _json(api.add_query_image(bytes(request.body)))
    if request.method == "POST" and path in ("/api/lessons", "/api/lessons/undo"):
        body = Body(bytes(request.body), request.headers)
        return _json((api.teach if path == "/api/lessons" else api.undo)(Parameters(request.target), body))
    if request.method not in ("GET", "HEAD"):
        return _error(405, f"{request.method} is not allowed", ("Allow", "GET, HEAD"))
    if path == "/":
        return HttpResponse(200, _static("index.html"), "text/html; charset=utf-8", (("Cache-Control", "no-cache"),))
    if static := _STATIC.fullmatch(path):
        return _static_response(static[1], request)
    parameters = Parameters(request.target)
    lists: dict[str, Callable[[Parameters], Any]] = {
        "/api/indexes": lambda _: [asdict(summary) for summary in api.summaries()],
        "/api/search": api.search,
        "/api/facets": api.facets,
        "/api/lessons": api.lessons,
    }
    if path in lists:
        return _json(lists[path](parameters))
    if kept := _QUERY_IMAGE.fullmatch(path):
        return _image(api.query_image(kept[1]), kept[1], request)
    if item := _ITEM.fullmatch(path):
        what, key = item.groups()
        if what in ("item", "weights"):
            return _json((api.item if what == "item" else api.weights)(parameters, key))
        return _image((api.thumbnail if what == "thumbnail" else api.image)(parameters, key), key, request)
    return _error(404, f"{path[:200]} not found")


def _image(image: tuple[bytes, str], key: str, request: HttpRequest) -> HttpResponse:
    headers = (("Cache-Control", IMMUTABLE), ("ETag", f'"{key}"'))
    if request.headers.get("if-none-match") == f'"{key}"':
        return HttpResponse(304, b"", image[1], headers)
    return HttpResponse(200, *image, headers)


def _static_response(name: str, request: HttpRequest) -> HttpResponse:
    if not files(__package__).joinpath("static", name).is_file():
        return _error(404, f"{name} not found")
    kind = _TYPES.get(name[name.rindex(".") :]) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return HttpResponse(200, _static(name), kind, (("Cache-Control", "no-cache"),))


@cache
def _static(name: str) -> bytes:
    return files(__package__).joinpath("static", name).read_bytes()


def _json(value: Any) -> HttpResponse:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")
    return HttpResponse(200, body, JSON, (("Cache-Control", "no-store"),))


def _error(status: int, message: str, *headers: tuple[str, str]) -> HttpResponse:
    return HttpResponse(status, json.dumps({"error": message}).encode(), JSON, headers)
