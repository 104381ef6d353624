"""Client of served encoders for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from itembed_tf.client.access import make_access
from itembed_tf.client.batches import (
    VERSION_CHANGES,
    Image,
    Images,
    Texts,
    concatenate,
    id_array,
    image_contents,
    pinned,
    split_into_calls,
    text_contents,
    to_images,
    to_texts,
    with_item_range,
)
from itembed_tf.client.calls import (
    Call,
    Prediction,
    Response,
    ServingError,
    Signature,
    check_settings,
    retry_delays,
)
from itembed_tf.client.tensors import as_array
from itembed_tf.client.transports import open_async_transport
from itembed_tf.export_layout import DEFAULT_SIGNATURE, IDS_SIGNATURE, IMAGE_ENCODER, TEXT_ENCODER

CONCURRENT_REQUESTS = 4  # of one long input


class AsyncClient:
    """`Client` with coroutines; create it in a running event loop. A long input is sent as concurrent requests."""

    def __init__(
        self,
        address: str,
        *,
        timeout: float = 30.0,
        retries: int = 5,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        ca_file: str | Path | None = None,
    ) -> None:
        """See `Client`."""
        check_settings(timeout, retries)
        self.address, self.timeout, self.retries = address, timeout, retries
        self._transport = open_async_transport(address, make_access(token, headers, ca_file))

    async def embed_images(self, images: Iterable[Image], **version: Any) -> np.ndarray:
        """See `Client.embed_images`."""
        return (await self.image_embeddings(images, **version)).embedding

    async def image_embeddings(self, images: Iterable[Image], **version: Any) -> Images:
        """See `Client.image_embeddings`."""
        items = await asyncio.to_thread(image_contents, images)
        return to_images(await self._send_all(IMAGE_ENCODER, "image_bytes", items, **version))

    async def embed_texts(self, texts: Iterable[str | bytes], **version: Any) -> Texts:
        """See `Client.embed_texts`."""
        return to_texts(await self._send_all(TEXT_ENCODER, "text", text_contents(texts), **version))

    async def embed_ids(self, ids: Any, **version: Any) -> Texts:
        """See `Client.embed_ids`."""
        return to_texts(await self._send_all(TEXT_ENCODER, "ids", id_array(ids), signature=IDS_SIGNATURE, **version))

    async def predict(
        self, model: str, inputs: dict[str, Any], *, signature: str = DEFAULT_SIGNATURE, **version: Any
    ) -> dict[str, np.ndarray]:
        """See `Client.predict`."""
        arrays = {name: as_array(values) for name, values in inputs.items()}
        return (await self._send(Call("predict", model, signature=signature, inputs=arrays, **version))).outputs

    async def metadata(self, model: str, **version: Any) -> dict[str, Signature]:
        """See `Client.metadata`."""
        return await self._send(Call("metadata", model, **version))

    async def status(self, model: str, **version: Any) -> dict[int, str]:
        """See `Client.status`."""
        return await self._send(Call("status", model, **version))

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    async def _send_all(self, model: str, name: str, items: Any, **settings: Any) -> Prediction:
        calls = list(split_into_calls(model, name, items, **settings))
        if len(calls) == 1:  # the usual case, without the cost of a task
            return await self._send_part(*calls[0], len(items))
        pin = settings.get("version") is None
        for changes in range(VERSION_CHANGES + 1):
            number = await self._send(Call("version", model, label=settings.get("label"))) if pin else None
            try:
                return await self._send_parts([(start, pinned(call, number)) for start, call in calls], len(items))
            except ServingError as error:
                if not pin or error.code != "NOT_FOUND" or changes == VERSION_CHANGES:
                    raise  # otherwise the version was unloaded meanwhile
        raise AssertionError("the last change raises")

    async def _send_parts(self, calls: list[tuple[int, Call]], total: int) -> Prediction:
        slots = asyncio.Semaphore(CONCURRENT_REQUESTS)

        async def send(start: int, call: Call) -> Prediction:
            async with slots:
                return await self._send_part(start, call, total)

        tasks = [asyncio.create_task(send(*call)) for call in calls]
        try:
            return concatenate(list(await asyncio.gather(*tasks)))
        finally:
            for task in tasks:  # after an error of one
                task.cancel()

    async def _send_part(self, start: int, call: Call, total: int) -> Prediction:
        try:
            return await self._send(call)
        except ServingError as error:
            raise with_item_range(error, call, start, total) from error

    async def _send(self, call: Call) -> Any:
        return await _call_with_retries(
            lambda seconds: self._transport.send(call, seconds), timeout=self.timeout, retries=self.retries
        )


async def _call_with_retries(
    attempt: Callable[[float], Awaitable[Response]], *, timeout: float, retries: int
) -> Response:
    """`itembed_tf.client.calls.call_with_retries` for coroutines."""
    end = time.monotonic() + timeout
    for delay in retry_delays(retries):
        try:
            return await attempt(max(end - time.monotonic(), 0.001))
        except ServingError as error:
            if delay is None or not error.retried or time.monotonic() + delay >= end:
                raise
        await asyncio.sleep(delay)
    raise AssertionError("the last delay is None")
