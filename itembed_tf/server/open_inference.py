"""KServe's Open Inference Protocol over REST: health, metadata and inference under ``/v2``."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any
from urllib.parse import unquote

import grpc
import numpy as np
import orjson
import tensorflow as tf

from itembed_tf import __version__
from itembed_tf.export_layout import DEFAULT_SIGNATURE
from itembed_tf.server.batching import Arrays
from itembed_tf.server.errors import RequestError, invalid_argument
from itembed_tf.server.http_messages import HttpRequest, HttpResponse
from itembed_tf.server.json_outputs import BYTES_PER_NUMBER, dump_json
from itembed_tf.server.limits import Limits
from itembed_tf.server.model_manager import ModelManager
from itembed_tf.server.model_specs import model_spec
from itembed_tf.server.model_version import ModelVersion
from itembed_tf.server.off_loop import run_off_loop
from itembed_tf.server.replies import version_headers
from itembed_tf.server.request_bodies import read_body
from itembed_tf.server.request_validation import check_items
from itembed_tf.server.rest_json import read_flat
from itembed_tf.server.tensors import check_shape

INFER_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
BASE64 = "base64"  # the parameter content_type of a tensor whose strings are in base64, as MLServer names it
_MODEL_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(/ready)?")
_HEALTH = {"/v2/health/live": "live", "/v2/health/ready": "ready"}
_PLATFORMS = {"TensorFlow": "tensorflow_savedmodel"}  # by engine; the others are LiteRT
_DATATYPES = {tf.float16: "FP16", tf.float32: "FP32", tf.float64: "FP64", tf.bool: "BOOL", tf.string: "BYTES"}
_DATATYPES |= {tf.as_dtype(f"{u}int{n}"): f"{u}INT{n}".upper() for u in ("", "u") for n in (8, 16, 32, 64)}


def describe(models: ModelManager, path: str) -> HttpResponse:
    """The answer to a GET: health of the server, its metadata, or metadata and readiness of a model.

    Raises:
        RequestError: no such path, model or version.
    """
    if path.rstrip("/") == "/v2":
        return _json({"name": "itembed", "version": __version__, "extensions": []})
    if path in _HEALTH:
        ready = path.endswith("live") or is_ready(models)
        return _json({_HEALTH[path]: ready}, 200 if ready else 503)
    match = _MODEL_PATH.fullmatch(path)
    if not match:
        raise RequestError(grpc.StatusCode.NOT_FOUND, f"{path[:200]} not found; docs/serving.md lists the paths")
    version = models.find(inference_spec(match))
    if match[3]:
        return _json({"name": version.name, "ready": True})
    _, signature = version.signature(DEFAULT_SIGNATURE, grpc.StatusCode.INVALID_ARGUMENT)
    content = {
        "name": version.name,
        "versions": [str(number) for number in sorted(models.models[version.name].versions)],
        "platform": _PLATFORMS.get(version.engine, "litert_tflite"),
        "inputs": _describe_tensors(signature.inputs),
        "outputs": _describe_tensors(signature.outputs),
    }
    return _json(content, headers=version_headers(version))


def is_ready(models: ModelManager) -> bool:
    """Whether every model in the folder answers."""
    return bool(models.models) and all(model.newest is not None for model in models.models.values())


def inference_spec(match: re.Match[str]) -> Any:
    """ModelSpec of the model and the version, if any, in a path."""
    number = match[2]
    if number is not None and not (number.isascii() and number.isdigit() and len(number) < 19):
        raise RequestError(grpc.StatusCode.NOT_FOUND, f"no version {number[:40]!r}; versions are positive numbers")
    return model_spec(unquote(match[1]), int(number) if number else None)


@dataclass(frozen=True)
class InferenceRequest:
    """An inference request that was read: what runs, on what, and which outputs are returned."""

    id: str | None
    signature: str
    inputs: Arrays
    costs: Sequence[int]
    outputs: Sequence[str]


async def infer(models: ModelManager, spec: Any, request: HttpRequest, limits: Limits) -> HttpResponse:
    """The answer to an inference request.

    The names of the inputs choose the signature: ``text`` or ``ids`` for a text encoder. Strings are BYTES; an input
    with the parameter ``"content_type": "base64"`` has them in base64, as images need it.

    Raises:
        RequestError: a wrong request, or a model that is not served.
    """
    with models.lease(spec) as version:
        if isinstance(version, RequestError):
            raise version
        asked = await read_body(request, limits, partial(_read_request, version=version, limits=limits))
        outputs = await version.predict(asked.signature, asked.inputs, asked.costs)
    size = BYTES_PER_NUMBER * sum(outputs[name].size for name in asked.outputs)
    body = await run_off_loop(size, _write, version, asked, outputs)
    return HttpResponse(200, body, headers=version_headers(version))


def _read_request(content: Mapping[str, Any], version: ModelVersion, limits: Limits) -> InferenceRequest:
    request_id = content.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise invalid_argument("id must be a string")
    sent = _named(content.get("inputs"), "inputs")
    name = _signature_of(version, sent)
    _, signature = version.signature(name, grpc.StatusCode.INVALID_ARGUMENT)
    wanted = _wanted(content.get("outputs"), signature)
    inputs = {name: _read_input(name, sent[name], info, limits) for name, info in signature.inputs.items()}
    return InferenceRequest(request_id, name, inputs, check_items(inputs, limits), wanted)


def _signature_of(version: ModelVersion, sent: Mapping[str, Any]) -> str:
    names = [name for name in version.signatures if set(version.signatures[name].inputs) == set(sent)]
    names = [name for name in names if name in version.runnable]
    if not names:
        allowed = " or ".join(", ".join(sorted(version.signatures[name].inputs)) for name in sorted(version.runnable))
        raise invalid_argument(f"the inputs are {', '.join(sorted(sent))[:200]}; {version.name} takes {allowed}")
    return DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in names else names[0]


def _named(value: Any, what: str) -> dict[str, Mapping[str, Any]]:
    """Tensors of a request by name."""
    if not isinstance(value, list) or not value or not all(isinstance(tensor, dict) for tensor in value):
        raise invalid_argument(f"{what} must be a list of objects, at least one")
    named: dict[str, Mapping[str, Any]] = {}
    for i, tensor in enumerate(value):
        name = tensor.get("name")
        if not isinstance(name, str) or name in named:
            raise invalid_argument(f"{what}[{i}].name must be a string that no other has")
        named[name] = tensor
    return named


def _wanted(value: Any, signature: Any) -> Sequence[str]:
    """Names of the outputs that are returned: those of the request, otherwise all."""
    available = sorted(signature.outputs)
    if value is None or value == []:
        return available
    names = list(_named(value, "outputs"))
    for name in names:
        if name not in available:
            raise invalid_argument(f"there is no output {name[:100]!r}; the outputs are {', '.join(available)}")
    return names


def _read_input(name: str, tensor: Mapping[str, Any], info: Any, limits: Limits) -> np.ndarray:
    expected, shape = _DATATYPES.get(tf.as_dtype(info.dtype), "none"), tensor.get("shape")
    if tensor.get("datatype") != expected:
        raise invalid_argument(f"{name} has the datatype {str(tensor.get('datatype'))[:20]}; {expected} is expected")
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise invalid_argument(f"{name}: shape must be a list of integers")
    check_shape(name, shape, info, limits)
    values = _flat(tensor.get("data"), len(shape))
    if len(values) != math.prod(shape):
        raise invalid_argument(f"{name} has {len(values)} values in data for the shape {shape}")
    if any(isinstance(value, dict) for value in values):
        raise invalid_argument(f"{name}: data must hold numbers, strings or booleans")
    parameters = tensor.get("parameters")
    if isinstance(parameters, dict) and parameters.get("content_type") == BASE64:
        values = [{"b64": value} for value in values]
    return read_flat(name, values, shape, info, limits)


def _flat(data: Any, dimensions: int) -> list[Any]:
    """Values of a tensor, in row-major order, that are flat or nested in lists by its dimensions."""
    values = data if isinstance(data, list) else [data]
    for _ in range(dimensions - 1):
        if values and all(isinstance(value, list) for value in values):
            values = list(chain.from_iterable(values))
    return values


def _describe_tensors(infos: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "datatype": _DATATYPES.get(tf.as_dtype(info.dtype), "none"),
            "shape": [dim.size for dim in info.tensor_shape.dim],
        }
        for name, info in sorted(infos.items())
    ]


def _write(version: ModelVersion, asked: InferenceRequest, outputs: Arrays) -> bytes:
    content: dict[str, Any] = {"model_name": version.name, "model_version": str(version.number)}
    if asked.id is not None:
        content["id"] = asked.id
    content["outputs"] = [_write_tensor(name, outputs[name]) for name in asked.outputs]
    return dump_json(content)


def _write_tensor(name: str, values: np.ndarray) -> dict[str, Any]:
    flat, tensor = np.ascontiguousarray(values.reshape(-1)), {"name": name, "shape": list(values.shape)}
    if values.dtype != object:
        return tensor | {"datatype": _DATATYPES[tf.as_dtype(values.dtype)], "data": flat}
    try:
        return tensor | {"datatype": "BYTES", "data": [value.decode("utf-8") for value in flat.tolist()]}
    except UnicodeDecodeError:
        data = [base64.b64encode(value).decode("ascii") for value in flat.tolist()]
        return tensor | {"datatype": "BYTES", "parameters": {"content_type": BASE64}, "data": data}


def _json(content: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> HttpResponse:
    return HttpResponse(status, orjson.dumps(content), headers=headers)
