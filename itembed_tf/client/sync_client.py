"""Blocking client of served encoders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from itembed_tf.client.calls import Call, Prediction, ServingError, Signature, call_with_retries, check_settings
from itembed_tf.client.tensors import as_array
from itembed_tf.client.transports import open_transport
from itembed_tf.export_layout import DEFAULT_SIGNATURE, IDS_SIGNATURE, IMAGE_ENCODER, TEXT_ENCODER


class Client:
    """Blocking client; may be shared by threads.

    >>> with Client("localhost:8500") as client:
    ...     images = client.embed_images(["beach.jpg"])
    ...     cosines = images @ client.embed_texts(["a dog runs"]).embedding[0]

    All methods raise ServingError for an error of the server, and ValueError for input that cannot be sent. The answer
    to one call comes from one version, however many requests it takes.
    """

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
        """Create a client of the server at `address`; it connects on the first call.

        Args:
            address: ``host:port`` for gRPC, ``http://host:port`` for REST; encrypted ``grpcs://`` and ``https://``.
            timeout: seconds for one request with all its retries.
            retries: maximum number of retries if the server is unreachable (UNAVAILABLE, 503) or busy
                (RESOURCE_EXHAUSTED, 429).
            token: sent with every call as ``authorization: Bearer TOKEN``.
            headers: sent with every call, as HTTP headers or gRPC metadata.
            ca_file: PEM file of the certificates to trust; by default the system's, and gRPC's own list for gRPC.
        """
        check_settings(timeout, retries)
        self.address, self.timeout, self.retries = address, timeout, retries
        self._transport = open_transport(address, make_access(token, headers, ca_file))

    def embed_images(self, images: Iterable[Image], **version: Any) -> np.ndarray:
        """Embeddings of images, float32 [n, D] of unit length.

        Args:
            images: encoded bytes or paths; which formats: docs/image_formats.md.
            version: ``version=2`` or ``label="stable"``; the newest version by default.
        """
        return self.image_embeddings(images, **version).embedding

    def image_embeddings(self, images: Iterable[Image], **version: Any) -> Images:
        """`embed_images` with the version and the contract of the encoder."""
        return to_images(self._send_all(IMAGE_ENCODER, "image_bytes", image_contents(images), **version))

    def embed_texts(self, texts: Iterable[str | bytes], **version: Any) -> Texts:
        """Embeddings of texts (UTF-8), and the number of known words of each."""
        return to_texts(self._send_all(TEXT_ENCODER, "text", text_contents(texts), **version))

    def embed_ids(self, ids: Any, **version: Any) -> Texts:
        """`embed_texts` for word ids, int32 [n, L], left-aligned and padded with 0 (`itembed_tf.text.vocabulary`)."""
        return to_texts(self._send_all(TEXT_ENCODER, "ids", id_array(ids), signature=IDS_SIGNATURE, **version))

    def predict(
        self, model: str, inputs: dict[str, Any], *, signature: str = DEFAULT_SIGNATURE, **version: Any
    ) -> dict[str, np.ndarray]:
        """One predict request to any model: arrays by name in, arrays by name out; strings are returned as bytes."""
        arrays = {name: as_array(values) for name, values in inputs.items()}
        return self._send(Call("predict", model, signature=signature, inputs=arrays, **version)).outputs

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

    def _send_all(self, model: str, name: str, items: Any, **settings: Any) -> Prediction:
        calls = list(split_into_calls(model, name, items, **settings))
        pin = len(calls) > 1 and settings.get("version") is None
        for changes in range(VERSION_CHANGES + 1):
            number = self._send(Call("version", model, label=settings.get("label"))) if pin else None
            try:
                return concatenate([self._send_part(start, pinned(call, number), len(items)) for start, call in calls])
            except ServingError as error:
                if not pin or error.code != "NOT_FOUND" or changes == VERSION_CHANGES:
                    raise  # otherwise the version was unloaded meanwhile
        raise AssertionError("the last change raises")

    def _send_part(self, start: int, call: Call, total: int) -> Prediction:
        try:
            return self._send(call)
        except ServingError as error:
            raise with_item_range(error, call, start, total) from error

    def _send(self, call: Call) -> Any:
        return call_with_retries(
            lambda seconds: self._transport.send(call, seconds), timeout=self.timeout, retries=self.retries
        )
