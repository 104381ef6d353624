"""``/v1/search``: search in an index whose vectors come from the encoders that are served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from itembed_tf.errors import UserError, did_you_mean
from itembed_tf.export_layout import DEFAULT_SIGNATURE, IMAGE_ENCODER
from itembed_tf.index import Generation, Query, QueryVector, open_searcher
from itembed_tf.index.answers import answer_json
from itembed_tf.server.errors import RequestError, invalid_argument
from itembed_tf.server.http_messages import HttpResponse
from itembed_tf.server.limits import Limits
from itembed_tf.server.model_manager import ModelManager
from itembed_tf.server.model_specs import model_spec
from itembed_tf.server.replies import CONTRACT_HEADER
from itembed_tf.server.request_validation import IMAGE_INPUT, check_items
from itembed_tf.server.rest_json import read_string

SEARCH_PATH = "/v1/search"
THREADS = 2  # searches at a time: NumPy uses all cores for one
_TEXTS = ("text", "minus", "where", "by", "sort")
_NUMBERS = ("like", "limit", "offset")
_NAMES = (*_TEXTS, *_NUMBERS, "image", "corrected")


class SearchApi:
    """Answers requests for ``/v1/search``. An image is encoded by the served encoder, in its batches."""

    def __init__(self, index: Path, models: ModelManager, limits: Limits) -> None:
        """Open the index.

        Raises:
            UserError: not an index, or one of other encoders than those that are served.
        """
        self.searcher = open_searcher(index)
        self._models, self._limits = models, limits
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="search")
        self._waiting = 0
        try:
            self._version(self._generation())
        except RequestError as error:
            self.close()
            raise UserError(error.message) from None

    async def search(self, content: Mapping[str, Any]) -> HttpResponse:
        """The answer to a request whose body was parsed; docs/search.md has its keys.

        Raises:
            RequestError: a wrong request, an index of other encoders than those that are served, or too many requests.
        """
        query = read_query(content, self._limits)
        generation = self._generation()
        spec = self._version(generation)
        vector = None
        if query.image is not None:
            inputs = {IMAGE_INPUT: np.array([query.image], object)}
            with self._models.lease(spec) as version:
                if isinstance(version, RequestError):
                    raise version
                outputs = await version.predict(DEFAULT_SIGNATURE, inputs, check_items(inputs, self._limits))
            vector = QueryVector(outputs["embedding"][0], "image")
        if self._waiting >= self._limits.max_queue:
            raise RequestError(grpc.StatusCode.UNAVAILABLE, f"{self._waiting} searches are waiting; retry later")
        self._waiting += 1
        try:
            body = await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, query, vector)
        except UserError as error:
            raise invalid_argument(str(error)) from None
        finally:
            self._waiting -= 1
        return HttpResponse(200, body, headers=((CONTRACT_HEADER, generation.contract),))

    async def describe(self) -> HttpResponse:
        """What is searched: contract hash, generation, number of items, and the fields of filters."""
        generation = self._generation()
        content: dict[str, Any] = {"contract": generation.contract, "generation": generation.number}
        run = asyncio.get_running_loop().run_in_executor
        content["items"] = await run(self._threads, self.searcher.count)
        content["fields"] = await run(self._threads, self.searcher.fields)
        return HttpResponse(200, json.dumps(content, ensure_ascii=False).encode())

    def close(self) -> None:
        """Close the index; searches that are running may still end."""
        self._threads.shutdown(wait=False)
        self.searcher.close()

    def _answer(self, query: Query, vector: QueryVector | None) -> bytes:
        answer = self.searcher.search(query, vector)
        return json.dumps(answer_json(answer), ensure_ascii=False).encode("utf-8", "replace")

    def _generation(self) -> Generation:
        generation = self.searcher.generation
        if generation is None:
            raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, f"the index {self.searcher.folder} is empty")
        return generation

    def _version(self, generation: Generation) -> Any:
        """ModelSpec of the served image encoder whose vectors the index has."""
        model = self._models.models.get(IMAGE_ENCODER)
        versions = model.versions if model else {}
        for number, version in sorted(versions.items(), reverse=True):
            if version.contract == generation.image_contract:
                return model_spec(IMAGE_ENCODER, number)
        served = ", ".join(sorted({version.contract[:16] for version in versions.values()})) or "none"
        raise RequestError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"the index {self.searcher.folder.name} has vectors of the contract {generation.image_contract[:16]}, and "
            f"the served encoders have {served}; serve the export with which the index was built, or change the index "
            "to this one with `itembed index --upgrade`",
        )


def read_query(content: Mapping[str, Any], limits: Limits) -> Query:
    """The query of a parsed request.

    Raises:
        RequestError: an unknown key, or a value of another type or above a limit.
    """
    values: dict[str, Any] = {}
    for name, value in content.items():
        if name not in _NAMES:
            known = f"the keys are {', '.join(_NAMES)}"
            raise invalid_argument(f"unknown key {name[:100]!r}{did_you_mean(name[:100], _NAMES)}; {known}")
        if name in _TEXTS:
            values[name] = _text(name, value, limits)
        elif name == "image":
            values[name] = _image(value, limits)
        elif type(value) is not (bool if name == "corrected" else int):
            kind = "true or false" if name == "corrected" else "an integer"
            raise invalid_argument(f"{name} must be {kind}")
        else:
            values[name] = value
    if abs(values.get("like", 0)) >= 2**63 or values.get("offset", 0) >= 2**31:
        raise invalid_argument("like or offset is too large")
    return Query(**values)


def _text(name: str, value: Any, limits: Limits) -> str:
    try:
        if isinstance(value, dict):
            raise ValueError
        content = read_string(value, limits)
        if len(content) > limits.max_text:
            raise invalid_argument(f"{name} has {len(content):,} bytes; the maximum is {limits.max_text:,}")
        return content.decode("utf-8")
    except ValueError:
        raise invalid_argument(f"{name} must be a string of UTF-8") from None


def _image(value: Any, limits: Limits) -> bytes:
    try:
        if not isinstance(value, dict):
            raise ValueError
        return read_string(value, limits)
    except ValueError:
        raise invalid_argument('image must be {"b64": "..."}, an image file in base64') from None
