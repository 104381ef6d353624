"""TF Serving's REST API: :predict, /metadata and status of a model, and Prometheus's page."""

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

from itembed_tf.server.grpc_api import metadata_response, status_response
from itembed_tf.server.http_server import Handler
from itembed_tf.server.json_form import parse, read_json, write_json
from itembed_tf.server.limits import Limits, Refused, invalid
from itembed_tf.server.metrics import PATH, Metrics
from itembed_tf.server.models import Models

_MODEL = r"(?i:/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?"
_PREDICT = re.compile(_MODEL + r":(predict|classify|regress))")
_ABOUT = re.compile(_MODEL + r"(/metadata)?)")
_STATUS = {"OK": 200, "CANCELLED": 499, "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400}
_STATUS |= {"NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429, "UNIMPLEMENTED": 501, "UNAVAILABLE": 503}
_STATUS |= {"DEADLINE_EXCEEDED": 504}
JSON = "application/json"


def make_handler(models: Models, limits: Limits, metrics: Metrics) -> Handler:
    """The function that `itembed_tf.server.http_server` calls for each request."""

    async def handle(method: str, target: str, body: bytes) -> tuple[int, str, bytes]:
        path = target.partition("?")[0]
        if path == PATH and method == "GET":
            return 200, "text/plain; version=0.0.4; charset=utf-8", metrics.page()
        if not path.lower().startswith("/v1/"):
            return 404, JSON, _error(f"{path[:200]} is not here; the API begins with /v1/models/")
        started, code = time.monotonic(), "OK"
        match = _PREDICT.fullmatch(path) if method == "POST" else None
        try:
            if match:
                answer = await asyncio.wait_for(_predict(models, match, body), limits.timeout)
            else:
                answer = _about(models, method, path)
        except Refused as error:
            code, answer = error.code.name, _error(error.message[:2000])
        except asyncio.TimeoutError:
            code, answer = "DEADLINE_EXCEEDED", _error(f"no answer within {limits.timeout} s")
        except Exception:
            traceback.print_exc()
            code, answer = "INTERNAL", _error("an error of the server's own; its log says more")
        if match:
            name = unquote(match[1])
            metrics.request(name if name in models.models else "", code, "predict", "REST", time.monotonic() - started)
        return _STATUS.get(code, 500), JSON, answer

    return handle


async def _predict(models: Models, match: re.Match[str], body: bytes) -> bytes:
    if match[4].lower() != "predict":
        raise Refused(grpc.StatusCode.UNIMPLEMENTED, f"{match[4]}: this server answers :predict alone")
    version = models.find(_spec(match))
    content = parse(body)
    name, signature = version.signature(content.get("signature_name", ""), grpc.StatusCode.INVALID_ARGUMENT)
    outputs = await version.predict(name, read_json(content, signature.inputs))
    return write_json(outputs, rows="instances" in content)


def _about(models: Models, method: str, path: str) -> bytes:
    match = _ABOUT.fullmatch(path)
    if not match or method != "GET":
        raise invalid(f"Malformed request: {method} {path[:200]}")
    if not match[4]:
        # No option of TF Serving's to keep the names: these fields are declared with their names for JSON.
        found = json_format.MessageToJson(
            status_response(models, _spec(match)), always_print_fields_with_no_presence=True
        )
        return found.encode()
    response = metadata_response(models, _spec(match))
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    said = {"model_spec": _names(response.model_spec), "metadata": {"signature_def": _names(signatures)}}
    return json.dumps(said, indent=1).encode()


def _names(message: Any) -> Any:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _spec(match: re.Match[str]) -> Any:
    spec = model_pb2.ModelSpec(name=unquote(match[1]))
    if match[2]:
        number = int(match[2]) if len(match[2]) < 20 else 2**63
        if number >= 2**63:
            raise invalid(f"Failed to convert version: {match[2][:40]} to numeric.")
        spec.version.value = number
    if match[3]:
        spec.version_label = unquote(match[3])
    return spec


def _error(message: str) -> bytes:
    return json.dumps({"error": message}).encode()
