"""TF Serving's REST API: predict, metadata and status of a model, and the Prometheus metrics."""

from __future__ import annotations

import asyncio
import json
import re
import time
import traceback
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2

from itembed_tf.server.defaults import METRICS_PATH
from itembed_tf.server.errors import RequestError, invalid_argument
from itembed_tf.server.http_server import Handler
from itembed_tf.server.limits import Limits
from itembed_tf.server.metrics import Metrics
from itembed_tf.server.model_manager import ModelManager
from itembed_tf.server.replies import metadata_response, status_response
from itembed_tf.server.rest_json import parse_request, read_json_inputs, write_json_outputs

_MODEL = r"(?i:/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_PREDICT = re.compile(_MODEL + r":(predict|classify|regress))")
_METADATA = re.compile(_MODEL + r"(/metadata)?)")
_HTTP_STATUS = {"OK": 200, "CANCELLED": 499, "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400}
_HTTP_STATUS |= {"NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429, "UNIMPLEMENTED": 501, "UNAVAILABLE": 503}
_HTTP_STATUS |= {"DEADLINE_EXCEEDED": 504}
JSON = "application/json"


def make_handler(models: ModelManager, limits: Limits, metrics: Metrics) -> Handler:
    """The request handler for `http_server.HttpServer`."""

    async def handle(method: str, target: str, body: bytes) -> tuple[int, str, bytes]:
        path = target.partition("?")[0]
        if path == METRICS_PATH and method == "GET":
            return 200, "text/plain; version=0.0.4; charset=utf-8", metrics.page()
        if not path.lower().startswith("/v1/"):
            return 404, JSON, _error(f"{path[:200]} not found; paths of the API start with /v1/models/")
        started, code = time.monotonic(), "OK"
        match = _PREDICT.fullmatch(path) if method == "POST" else None
        try:
            if match:
                answer = await asyncio.wait_for(_predict(models, match, body), limits.timeout)
            else:
                answer = _metadata_or_status(models, method, path)
        except RequestError as error:
            code, answer = error.code.name, _error(error.message[:2000])
        except asyncio.TimeoutError:
            code, answer = "DEADLINE_EXCEEDED", _error(f"the request took longer than {limits.timeout} s")
        except Exception:
            traceback.print_exc()
            code, answer = "INTERNAL", _error("internal server error; see the server's log")
        if match:
            name = unquote(match[1])
            metrics.request(name if name in models.models else "", code, "predict", "REST", time.monotonic() - started)
        return _HTTP_STATUS.get(code, 500), JSON, answer

    return handle


async def _predict(models: ModelManager, match: re.Match[str], body: bytes) -> bytes:
    if match[4].lower() != "predict":
        raise RequestError(grpc.StatusCode.UNIMPLEMENTED, f"{match[4]} is not supported; use :predict")
    version = models.find(_model_spec(match))
    content = parse_request(body)
    name, signature = version.signature(content.get("signature_name", ""), grpc.StatusCode.INVALID_ARGUMENT)
    outputs = await version.predict(name, read_json_inputs(content, signature.inputs))
    return write_json_outputs(outputs, rows="instances" in content)


def _metadata_or_status(models: ModelManager, method: str, path: str) -> bytes:
    match = _METADATA.fullmatch(path)
    if not match or method != "GET":
        raise invalid_argument(f"Malformed request: {method} {path[:200]}")
    if not match[4]:
        # Not _to_dict: TF Serving prints the JSON names of the fields here.
        response = status_response(models, _model_spec(match))
        return json_format.MessageToJson(response, always_print_fields_with_no_presence=True).encode()
    response = metadata_response(models, _model_spec(match))
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    content = {"model_spec": _to_dict(response.model_spec), "metadata": {"signature_def": _to_dict(signatures)}}
    return json.dumps(content, indent=1).encode()


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


def _error(message: str) -> bytes:
    return json.dumps({"error": message}).encode()
