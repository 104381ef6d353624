"""TF Serving's REST API: predict, metadata and status of a model, and the Prometheus metrics."""

from __future__ import annotations

import asyncio
import json
import re
import time
import traceback
import zlib
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2

from itembed_tf.server.batching import Arrays
from itembed_tf.server.bounded_json import Body
from itembed_tf.server.defaults import METRICS_PATH
from itembed_tf.server.errors import RequestError, invalid_argument
from itembed_tf.server.http_messages import HttpRequest, HttpResponse
from itembed_tf.server.http_server import Handler
from itembed_tf.server.json_outputs import write_json_outputs
from itembed_tf.server.limits import Limits
from itembed_tf.server.metrics import Metrics
from itembed_tf.server.model_manager import ModelManager
from itembed_tf.server.model_version import ModelVersion
from itembed_tf.server.off_loop import run_off_loop
from itembed_tf.server.replies import CONTRACT_HEADER, VERSION_HEADER, metadata_response, status_response
from itembed_tf.server.request_validation import check_items
from itembed_tf.server.rest_json import parse_request, read_json_inputs
from itembed_tf.server.search_api import SEARCH_PATH, SearchApi

_MODEL = r"(?i:/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_PREDICT = re.compile(_MODEL + r":(predict|classify|regress))")
_METADATA = re.compile(_MODEL + r"(/metadata)?)")
_HTTP_STATUS = {"OK": 200, "CANCELLED": 499, "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400}
_HTTP_STATUS |= {"NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429, "UNIMPLEMENTED": 501, "UNAVAILABLE": 503}
_HTTP_STATUS |= {"DEADLINE_EXCEEDED": 504}
_GZIP = ("gzip", "x-gzip")
_BYTES_PER_NUMBER = 8  # in JSON, roughly
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def make_handler(models: ModelManager, limits: Limits, metrics: Metrics, searching: SearchApi | None = None) -> Handler:
    """The request handler for `http_server.HttpServer`; `searching` answers `SEARCH_PATH`."""

    async def handle(request: HttpRequest) -> HttpResponse:
        path, _, query = request.target.partition("?")
        if path == METRICS_PATH and request.method == "GET":
            return HttpResponse(200, metrics.page(), _METRICS_TYPE)
        if not path.lower().startswith("/v1/"):
            return _error(404, f"{path[:200]} not found; paths of the API start with /v1/models/")
        started, code = time.monotonic(), "OK"
        match = _PREDICT.fullmatch(path) if request.method == "POST" and not query else None
        try:
            if match:
                answer = await asyncio.wait_for(_predict(models, match, request, limits), limits.timeout)
            elif path == SEARCH_PATH:
                answer = await asyncio.wait_for(_search(searching, request, limits), limits.timeout)
            else:
                answer = _metadata_or_status(models, request.method, path, request.target)
        except RequestError as error:
            code, answer = error.code.name, _error(_HTTP_STATUS.get(error.code.name, 500), error.message[:2000])
            error.__traceback__ = None  # its frames hold the request, until the garbage collector runs
        except asyncio.TimeoutError:
            code, answer = "DEADLINE_EXCEEDED", _error(504, f"the request took longer than {limits.timeout} s")
        except Exception:
            traceback.print_exc()
            code, answer = "INTERNAL", _error(500, "internal server error; see the server's log")
        if match:
            name = unquote(match[1])
            metrics.request(name if name in models.models else "", code, "predict", "REST", time.monotonic() - started)
        elif path == SEARCH_PATH and request.method == "POST":
            metrics.request("search", code, "search", "REST", time.monotonic() - started)
        return answer

    return handle


async def _predict(models: ModelManager, match: re.Match[str], request: HttpRequest, limits: Limits) -> HttpResponse:
    if match[4].lower() != "predict":
        raise RequestError(grpc.StatusCode.UNIMPLEMENTED, f"{match[4]} is not supported; use :predict")
    # Gzip may hold a thousand times its size.
    size = limits.max_message if request.encoding in _GZIP else len(request.body)
    with models.lease(_model_spec(match)) as version:
        signature, inputs, costs, rows = await run_off_loop(size, _read, request, version, limits)
        assert not isinstance(version, RequestError)  # `_read` has raised it
        outputs = await version.predict(signature, inputs, costs)
    size = _BYTES_PER_NUMBER * sum(values.size for values in outputs.values())
    body = await run_off_loop(size, write_json_outputs, outputs, rows)
    headers = [(VERSION_HEADER, str(version.number))]
    headers += [(CONTRACT_HEADER, version.contract)] if version.contract else []
    return HttpResponse(200, body, headers=tuple(headers))


async def _search(searching: SearchApi | None, request: HttpRequest, limits: Limits) -> HttpResponse:
    if searching is None:
        raise RequestError(grpc.StatusCode.NOT_FOUND, "no index is served; start the server with --index INDEX")
    if request.method == "GET":
        return await searching.describe()
    if request.method != "POST":
        raise invalid_argument(f"{request.method} {SEARCH_PATH}: use POST, or GET for what is searched")
    size = limits.max_message if request.encoding in _GZIP else len(request.body)
    content = await run_off_loop(size, lambda: parse_request(_decompressed(request, limits), limits))
    return await searching.search(content)


def _read(
    request: HttpRequest, version: ModelVersion | RequestError, limits: Limits
) -> tuple[str, Arrays, list[int], bool]:
    """Signature, inputs, costs of the items, and whether they are rows; errors are found in TF Serving's order."""
    content = parse_request(_decompressed(request, limits), limits)
    if isinstance(version, RequestError):
        raise version
    name, signature = version.signature(content.get("signature_name", ""), grpc.StatusCode.INVALID_ARGUMENT)
    inputs = read_json_inputs(content, signature.inputs, limits)
    return name, inputs, check_items(inputs, limits), "instances" in content


def _decompressed(request: HttpRequest, limits: Limits) -> Body:
    if request.encoding not in _GZIP:
        return request.body
    decompressor = zlib.decompressobj(wbits=31)  # with gzip's header
    try:
        body = decompressor.decompress(request.body, limits.max_message + 1)
    except zlib.error as error:
        raise invalid_argument(f"the body is not gzip, as Content-Encoding says: {error}") from None
    if len(body) > limits.max_message:
        message = f"the decompressed body is larger than the maximum of {limits.max_message} bytes"
        raise RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
    if not decompressor.eof or decompressor.unused_data:
        raise invalid_argument("the gzip body ends early, or something follows it")
    return body


def _metadata_or_status(models: ModelManager, method: str, path: str, target: str) -> HttpResponse:
    match = _METADATA.fullmatch(path)
    if not match or method != "GET":
        raise invalid_argument(f"Malformed request: {method} {target[:200]}")
    if not match[4]:
        # Not _to_dict: TF Serving prints the JSON names of the fields here.
        response = status_response(models, _model_spec(match))
        return HttpResponse(
            200, json_format.MessageToJson(response, always_print_fields_with_no_presence=True).encode()
        )
    response = metadata_response(models, _model_spec(match))
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    content = {"model_spec": _to_dict(response.model_spec), "metadata": {"signature_def": _to_dict(signatures)}}
    return HttpResponse(200, json.dumps(content, indent=1).encode())


def _to_dict(message: Any) -> Any:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _model_spec(match: re.Match[str]) -> Any:
    spec = model_pb2.ModelSpec(name=unquote(match[1]))
    if match[2]:
        number = int(match[2]) if len(match[2]) < 20 else 2**63
        if number >= 2**63:
            raise invalid_argument(f"Failed to convert version: {match[2][:40]} to numeric.")
        spec.version.value = number
    if match[3]:
        spec.version_label = unquote(match[3])
    return spec


def _error(status: int, message: str) -> HttpResponse:
    return HttpResponse(status, json.dumps({"error": message}).encode())
