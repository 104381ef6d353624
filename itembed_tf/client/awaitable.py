"""The client to be awaited: gRPC's own asynchronous channel; REST in threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from itembed_tf.client.batches import (
    IMAGE,
    TEXT,
    Texts,
    joined,
    read_image,
    sentence_bytes,
    split,
    texts_of,
    with_place,
)
from itembed_tf.client.calls import Answer, Call, Metadata, ServingError, insist, waits
from itembed_tf.client.tensors import as_array

AT_ONCE = 4  # requests under way for one long input


class AsyncClient:
    """`Client` to be awaited; make it inside a running event loop. Long inputs go in several requests at once."""

    def __init__(self, address: str, *, timeout: float = 30.0, retries: int = 5) -> None:
        """Arguments as those of `Client`."""
        self.timeout, self.retries = timeout, retries
        self._threads = address.startswith(("http://", "https://"))
        if self._threads:
            from itembed_tf.client.rest_api import RestTransport

            self._transport: Any = RestTransport(address)
        else:
            from itembed_tf.client.grpc_api import AsyncGrpcTransport

            self._transport = AsyncGrpcTransport(address.removeprefix("grpc://"))

    async def embed_images(self, pictures: Sequence[bytes | str | Path], **version: Any) -> np.ndarray:
        """As `Client.embed_images`."""
        items = await asyncio.to_thread(read_image, pictures)
        return joined(await self._in_batches(IMAGE, "image_bytes", items, **version))["embedding"]

    async def embed_texts(self, sentences: Sequence[str | bytes], **version: Any) -> Texts:
        """As `Client.embed_texts`."""
        return texts_of(joined(await self._in_batches(TEXT, "text", sentence_bytes(sentences), **version)))

    async def embed_ids(self, ids: Any, **version: Any) -> Texts:
        """As `Client.embed_ids`."""
        items = np.asarray(ids, np.int32)
        return texts_of(joined(await self._in_batches(TEXT, "ids", items, signature="ids", **version)))

    async def predict(
        self, model: str, inputs: dict[str, Any], *, signature: str = "serving_default", **version: Any
    ) -> dict[str, np.ndarray]:
        """As `Client.predict`."""
        arrays = {name: as_array(values) for name, values in inputs.items()}
        return await self._send(Call("predict", model, signature=signature, inputs=arrays, **version))

    async def metadata(self, model: str, **version: Any) -> Metadata:
        """As `Client.metadata`."""
        return await self._send(Call("metadata", model, **version))

    async def status(self, model: str, **version: Any) -> dict[int, str]:
        """As `Client.status`."""
        return await self._send(Call("status", model, **version))

    async def close(self) -> None:
        closed = self._transport.close()
        if closed is not None:
            await closed

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    async def _in_batches(self, model: str, name: str, items: Any, **rest: Any) -> list[dict[str, np.ndarray]]:
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(start: int, call: Call) -> dict[str, np.ndarray]:
            async with turn:
                try:
                    return await self._send(call)
                except ServingError as error:
                    raise with_place(error, call, start, len(items)) from error

        parts = list(split(model, name, items, **rest))
        if len(parts) == 1:  # no task of its own: most calls are short
            return [await one(*parts[0])]
        return list(await asyncio.gather(*(one(*part) for part in parts)))

    async def _send(self, call: Call) -> Any:
        limits: dict[str, Any] = {"timeout": self.timeout, "retries": self.retries}
        if self._threads:  # the standard library has no asynchronous HTTP client
            return await asyncio.to_thread(lambda: insist(lambda left: self._transport.send(call, left), **limits))
        return await _insist(lambda left: self._transport.send(call, left), **limits)


async def _insist(attempt: Callable[[float], Awaitable[Answer]], *, timeout: float, retries: int) -> Answer:
    """`itembed_tf.client.calls.insist` without blocking the event loop."""
    end = time.monotonic() + timeout
    for wait in waits(retries):
        try:
            return await attempt(max(end - time.monotonic(), 0.001))
        except ServingError as error:
            if wait is None or not error.retried or time.monotonic() + wait >= end:
                raise
        await asyncio.sleep(wait)
    raise AssertionError("the last wait is None")
