"""``POST /v1/embeddings``: sentences to embeddings, in the form of OpenAI's API."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import orjson

from itembed_tf.export_layout import DEFAULT_SIGNATURE, TEXT_ENCODER
from itembed_tf.server.batching import Arrays
from itembed_tf.server.errors import RequestError, invalid_argument
from itembed_tf.server.http_messages import HttpResponse
from itembed_tf.server.json_outputs import BYTES_PER_NUMBER, dump_json
from itembed_tf.server.limits import Limits
from itembed_tf.server.model_manager import ModelManager
from itembed_tf.server.model_specs import model_spec
from itembed_tf.server.off_loop import run_off_loop
from itembed_tf.server.replies import version_headers
from itembed_tf.server.request_validation import check_item_count, check_items
from itembed_tf.server.rest_json import read_string

EMBEDDINGS_PATH = "/v1/embeddings"
FORMATS = ("float", "base64")
_KEYS = ("input", "model", "encoding_format", "dimensions", "user")


@dataclass(frozen=True)
class EmbeddingsRequest:
    """A request that was read; `dimensions` is None where any will do."""

    model: str
    texts: Arrays
    costs: Sequence[int]
    encoding: str
    dimensions: int | None


def read_embeddings_request(content: Mapping[str, Any], limits: Limits) -> EmbeddingsRequest:
    """The request of a parsed body.

    Raises:
        RequestError: an unknown key, or a value of another type or above a limit.
    """
    for key in content:
        if key not in _KEYS:
            raise invalid_argument(f"unknown key {key[:100]!r}; the keys are {', '.join(_KEYS)}")
    model, encoding = content.get("model"), content.get("encoding_format", "float")
    if not isinstance(model, str):
        raise invalid_argument(f"model must be the name of a served model, such as {TEXT_ENCODER!r}")
    if encoding not in FORMATS:
        raise invalid_argument(f"encoding_format must be one of {', '.join(FORMATS)}")
    dimensions = content.get("dimensions")
    if dimensions is not None and type(dimensions) is not int:
        raise invalid_argument("dimensions must be an integer")
    texts = {"text": _read_texts(content.get("input"), limits)}
    return EmbeddingsRequest(model, texts, check_items(texts, limits), encoding, dimensions)


async def embed(models: ModelManager, asked: EmbeddingsRequest) -> HttpResponse:
    """The answer to a request.

    Each entry of "data" has "known_words" too, beside what OpenAI's API has: without any, the embedding has no meaning.

    Raises:
        RequestError: a model that is not served, encodes no texts, or has other dimensions.
    """
    with models.lease(model_spec(asked.model)) as version:
        if isinstance(version, RequestError):
            raise version
        _, signature = version.signature(DEFAULT_SIGNATURE, grpc.StatusCode.INVALID_ARGUMENT)
        if set(signature.inputs) != {"text"} or not {"embedding", "known_words"} <= set(signature.outputs):
            raise invalid_argument(f"the model {asked.model} encodes no texts; use {TEXT_ENCODER}")
        dimensions = signature.outputs["embedding"].tensor_shape.dim[-1].size
        if asked.dimensions not in (None, dimensions):
            raise invalid_argument(
                f"dimensions can only be {dimensions}; `itembed export --pca N` writes encoders of N dimensions"
            )
        outputs = await version.predict(DEFAULT_SIGNATURE, asked.texts, asked.costs)
    size = BYTES_PER_NUMBER * outputs["embedding"].size
    body = await run_off_loop(size, _write, outputs, asked.model, asked.encoding)
    return HttpResponse(200, body, headers=version_headers(version))


def embeddings_error(status: int, code: grpc.StatusCode, message: str) -> HttpResponse:
    """An error in the form of OpenAI's API."""
    missing = code is grpc.StatusCode.NOT_FOUND
    error = {
        "message": message,
        "type": "invalid_request_error" if status < 500 else "server_error",
        "param": "model" if missing else None,
        "code": "model_not_found" if missing else None,
    }
    return HttpResponse(status, orjson.dumps({"error": error}))


def _read_texts(value: Any, limits: Limits) -> np.ndarray:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise invalid_argument("input is an empty list: send at least one text")
    check_item_count(len(values), limits)
    texts = np.empty(len(values), object)
    for i, text in enumerate(values):
        try:
            if text is None or isinstance(text, dict):
                raise ValueError
            texts[i] = read_string(text, limits)
        except ValueError:
            place = f"input[{i}]" if isinstance(value, list) else "input"
            raise invalid_argument(
                f"{place} must be a string of UTF-8; token ids are not read here, send them to the signature ids"
            ) from None
    return texts


def _write(outputs: Arrays, name: str, encoding: str) -> bytes:
    embeddings = np.ascontiguousarray(outputs["embedding"], "<f4")
    words = outputs["known_words"].tolist()
    data = [
        {
            "object": "embedding",
            "index": i,
            "embedding": base64.b64encode(row).decode("ascii") if encoding == "base64" else row,
            "known_words": words[i],
        }
        for i, row in enumerate(embeddings)
    ]
    usage = {"prompt_tokens": sum(words), "total_tokens": sum(words)}
    content = {"object": "list", "data": data, "model": name, "usage": usage}
    return dump_json(content)
