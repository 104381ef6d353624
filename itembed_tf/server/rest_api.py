"""REST APIs: TF Serving's, OpenAI's embeddings and the Open Inference Protocol, and the Prometheus metrics."""

from __future__ import annotations

import asyncio
import json
import re
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2

from itembed_tf.server.batching import Arrays
from itembed_tf.server.defaults import METRICS_PATH
from itembed_tf.server.embeddings_api import EMBEDDINGS_PATH, embed, embeddings_error, read_embeddings_request
from itembed_tf.server.errors import RequestError, invalid_argument
from itembed_tf.server.http_messages import HttpRequest, HttpResponse
from itembed_tf.server.http_server import Handler
from itembed_tf.server.json_outputs import BYTES_PER_NUMBER, write_json_outputs
from itembed_tf.server.limits import Limits
from itembed_tf.server.metrics import Metrics
from itembed_tf.server.model_manager import ModelManager
from itembed_tf.server.model_specs import model_spec
from itembed_tf.server.model_version import ModelVersion
from itembed_tf.server.off_loop import run_off_loop
from itembed_tf.server.open_inference import INFER_PATH, describe, infer, inference_spec
from itembed_tf.server.replies import metadata_response, status_response, version_headers
from itembed_tf.server.request_bodies import read_body
from itembed_tf.server.request_validation import check_items
from itembed_tf.server.rest_json import read_json_inputs
from itembed_tf.server.search_api import SEARCH_PATH, SearchApi

_MODEL = r"(?i:/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_PREDICT = re.compile(_MODEL + r":(predict|classify|regress))")
_METADATA = re.compile(_MODEL + r"(/metadata)?)")
_HTTP_STATUS = {"OK": 200, "CANCELLED": 499, "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400}
_HTTP_STATUS |= {"NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429, "UNIMPLEMENTED": 501, "UNAVAILABLE": 503}
_HTTP_STATUS |= {"DEADLINE_EXCEEDED": 504}
_SEARCH = "search"  # in the metrics, in place of a model
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class Counted:
    """How a request is counted in the metrics: API and model; without an API it is not."""

    api: str = ""
    model: str = ""


def make_handler(models: ModelManager, limits: Limits, metrics: Metrics, searching: SearchApi | None = None) -> Handler:
    """The request handler for `http_server.HttpServer`; `searching` answers `SEARCH_PATH`."""

    async def handle(request: HttpRequest) -> HttpResponse:
        path = request.target.partition("?")[0]
        if path == METRICS_PATH and request.method == "GET":
            return HttpResponse(200, metrics.page(), _METRICS_TYPE)
        started, code, message, counted = time.monotonic(), grpc.StatusCode.OK, "", Counted()
        try:
            answer = await asyncio.wait_for(_answer(models, searching, request, limits, counted), limits.timeout)
        except RequestError as error:
            code, message = error.code, error.message[:2000]
            error.__traceback__ = None  # its frames hold the request, until the garbage collector runs
        except asyncio.TimeoutError:
            code, message = grpc.StatusCode.DEADLINE_EXCEEDED, f"the request took longer than {limits.timeout} s"
        except Exception:
            traceback.print_exc()
            code, message = grpc.StatusCode.INTERNAL, "internal server error; see the server's log"
        if code is not grpc.StatusCode.OK:
            status = _HTTP_STATUS.get(code.name, 500)
            write = embeddings_error if path == EMBEDDINGS_PATH else _error
            answer = write(status, code, message)
        if counted.api:
            name = counted.model if counted.model in (*models.models, _SEARCH) else ""
            metrics.request(name, code.name, counted.api, "REST", time.monotonic() - started)
        return answer

    return handle


async def _answer(
    models: ModelManager, searching: SearchApi | None, request: HttpRequest, limits: Limits, counted: Counted
) -> HttpResponse:
    path, _, query = request.target.partition("?")
    posted = request.method == "POST"
    if posted and not query and (match := _PREDICT.fullmatch(path)):
        counted.api, counted.model = "predict", unquote(match[1])
        return await _predict(models, match, request, limits)
    if path == SEARCH_PATH:
        counted.api, counted.model = _SEARCH if posted else "", _SEARCH
        return await _search(searching, request, limits)
    if path == EMBEDDINGS_PATH:
        if not posted:
            raise invalid_argument(f"{request.method} {EMBEDDINGS_PATH}: use POST")
        counted.api = "embeddings"
        asked = await read_body(request, limits, lambda content: read_embeddings_request(content, limits))
        counted.model = asked.model
        return await embed(models, asked)
    if path.startswith("/v2/") or path == "/v2":
        match = INFER_PATH.fullmatch(path)
        if request.method == "GET" and not match:
            return describe(models, path)
        if not (posted and match):
            raise invalid_argument(f"Malformed request: {request.method} {request.target[:200]}")
        counted.api, counted.model = "infer", unquote(match[1])
        return await infer(models, inference_spec(match), request, limits)
    if not path.lower().startswith("/v1/"):
        message = f"{path[:200]} not found; paths of the API start with /v1/models/ or /v2/"
        raise RequestError(grpc.StatusCode.NOT_FOUND, message)
    return _metadata_or_status(models, request.method, path, request.target)


async def _predict(models: ModelManager, match: re.Match[str], request: HttpRequest, limits: Limits) -> HttpResponse:
    if match[4].lower() != "predict":
        raise RequestError(grpc.StatusCode.UNIMPLEMENTED, f"{match[4]} is not supported; use :predict")
    with models.lease(_spec(match)) as version:
        signature, inputs, costs, rows = await read_body(request, limits, lambda body: _read(body, version, limits))
        assert not isinstance(version, RequestError)  # `_read` has raised it
        outputs = await version.predict(signature, inputs, costs)
    size = BYTES_PER_NUMBER * sum(values.size for values in outputs.values())
    body = await run_off_loop(size, write_json_outputs, outputs, rows)
    return HttpResponse(200, body, headers=version_headers(version))


async def _search(searching: SearchApi | None, request: HttpRequest, limits: Limits) -> HttpResponse:
    if searching is None:
        raise RequestError(grpc.StatusCode.NOT_FOUND, "no index is served; start the server with --index INDEX")
    if request.method == "GET":
        return await searching.describe()
    if request.method != "POST":
        raise invalid_argument(f"{request.method} {SEARCH_PATH}: use POST, or GET for what is searched")
    return await searching.search(await read_body(request, limits, dict))


def _read(
    content: Mapping[str, Any], version: ModelVersion | RequestError, limits: Limits
) -> tuple[str, Arrays, list[int], bool]:
    """Signature, inputs, costs of the items, and whether they are rows; errors are found in TF Serving's order."""
    if isinstance(version, RequestError):
        raise version
    name, signature = version.signature(content.get("signature_name", ""), grpc.StatusCode.INVALID_ARGUMENT)
    inputs = read_json_inputs(content, signature.inputs, limits)
    return name, inputs, check_items(inputs, limits), "instances" in content


def _metadata_or_status(models: ModelManager, method: str, path: str, target: str) -> HttpResponse:
    match = _METADATA.fullmatch(path)
    if not match or method != "GET":
        raise invalid_argument(f"Malformed request: {method} {target[:200]}")
    if not match[4]:
        # Not _to_dict: TF Serving prints the JSON names of the fields here.
        response = status_response(models, _spec(match))
        return HttpResponse(
            200, json_format.MessageToJson(response, always_print_fields_with_no_presence=True).encode()
        )
    response = metadata_response(models, _spec(match))
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    content = {"model_spec": _to_dict(response.model_spec), "metadata": {"signature_def": _to_dict(signatures)}}
    return HttpResponse(200, json.dumps(content, indent=1).encode())


def _to_dict(message: Any) -> Any:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _spec(match: re.Match[str]) -> Any:
    """ModelSpec of the model, and the version or label if any, in a path."""
    number = int(match[2]) if match[2] and len(match[2]) < 20 else 2**63 if match[2] else None
    if number is not None and number >= 2**63:
        raise invalid_argument(f"Failed to convert version: {match[2][:40]} to numeric.")
    return model_spec(unquote(match[1]), number, unquote(match[3] or ""))


def _error(status: int, code: grpc.StatusCode, message: str) -> HttpResponse:
    del code
    return HttpResponse(status, json.dumps({"error": message}).encode())
