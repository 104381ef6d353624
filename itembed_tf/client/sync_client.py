"""Blocking client of served encoders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from itembed_tf.client.batches import (
    Texts,
    concatenate,
    image_contents,
    split_into_calls,
    text_contents,
    to_texts,
    with_item_range,
)
from itembed_tf.client.calls import Call, ServingError, Signature, call_with_retries
from itembed_tf.client.tensors import as_array
from itembed_tf.client.transports import open_transport
from itembed_tf.export_layout import DEFAULT_SIGNATURE, IDS_SIGNATURE, IMAGE_ENCODER, TEXT_ENCODER


class Client:
    """Blocking client; may be shared by threads.

    >>> with Client("localhost:8500") as client:
    ...     images = client.embed_images(["beach.jpg"])
    ...     cosines = images @ client.embed_texts(["a dog runs"]).embedding[0]

    All methods raise ServingError for an error of the server, and ValueError for input that cannot be sent.
    """

    def __init__(self, address: str, *, timeout: float = 30.0, retries: int = 5) -> None:
        """Create a client of the server at `address`; it connects on the first call.

        Args:
            address: ``host:port`` for gRPC, ``http://host:port`` for REST.
            timeout: seconds for one request with all its retries.
            retries: maximum number of retries if the server is unreachable (UNAVAILABLE, 503) or busy
                (RESOURCE_EXHAUSTED, 429).
        """
        self.address, self.timeout, self.retries = address, timeout, retries
        self._transport = open_transport(address)

    def embed_images(self, images: Sequence[bytes | str | Path], **version: Any) -> np.ndarray:
        """Embeddings of images, float32 [n, D] of unit length.

        Args:
            images: encoded bytes (JPEG, PNG, GIF, BMP, WebP) or paths.
            version: ``version=2`` or ``label="stable"``; the newest version by default.
        """
        return concatenate(self._send_all(IMAGE_ENCODER, "image_bytes", image_contents(images), **version))["embedding"]

    def embed_texts(self, texts: Sequence[str | bytes], **version: Any) -> Texts:
        """Embeddings of texts (UTF-8), and the number of known words of each."""
        return to_texts(concatenate(self._send_all(TEXT_ENCODER, "text", text_contents(texts), **version)))

    def embed_ids(self, ids: Any, **version: Any) -> Texts:
        """`embed_texts` for word ids, int32 [n, L], left-aligned and padded with 0 (`itembed_tf.text.vocabulary`)."""
        items = np.asarray(ids, np.int32)
        return to_texts(concatenate(self._send_all(TEXT_ENCODER, "ids", items, signature=IDS_SIGNATURE, **version)))

    def predict(
        self, model: str, inputs: dict[str, Any], *, signature: str = DEFAULT_SIGNATURE, **version: Any
    ) -> dict[str, np.ndarray]:
        """One predict request to any model: arrays by name in, arrays by name out; strings are returned as bytes."""
        arrays = {name: as_array(values) for name, values in inputs.items()}
        return self._send(Call("predict", model, signature=signature, inputs=arrays, **version))

    def metadata(self, model: str, **version: Any) -> dict[str, Signature]:
        """Signatures of a model by name."""
        return self._send(Call("metadata", model, **version))

    def status(self, model: str, **version: Any) -> dict[int, str]:
        """State by version number; a version that can be called is "AVAILABLE"."""
        return self._send(Call("status", model, **version))

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _send_all(self, model: str, name: str, items: Any, **settings: Any) -> list[dict[str, np.ndarray]]:
        responses = []
        for start, call in split_into_calls(model, name, items, **settings):
            try:
                responses.append(self._send(call))
            except ServingError as error:
                raise with_item_range(error, call, start, len(items)) from error
        return responses

    def _send(self, call: Call) -> Any:
        return call_with_retries(
            lambda seconds: self._transport.send(call, seconds), timeout=self.timeout, retries=self.retries
        )
