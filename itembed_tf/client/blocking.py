"""The blocking client: pictures and sentences -> embeddings, from a served pair of encoders."""

from __future__ import annotations

from collections.abc import Sequence
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
from itembed_tf.client.calls import Call, Metadata, ServingError, insist
from itembed_tf.client.tensors import as_array


class Client:
    """Blocking client; one may serve several threads.

    >>> with Client("localhost:8500") as client:
    ...     pictures = client.embed_images(["beach.jpg"])
    ...     cosines = pictures @ client.embed_texts(["a dog runs"]).embedding[0]

    Every method raises ServingError where the server refuses, and ValueError for what cannot be sent at all.
    """

    def __init__(self, address: str, *, timeout: float = 30.0, retries: int = 5) -> None:
        """A client of the server at `address`.

        Args:
            address: ``host:port`` for gRPC, ``http://host:port`` for REST.
            timeout: seconds for one request, its retries included.
            retries: further attempts where the server is away (UNAVAILABLE, 503) or busy (RESOURCE_EXHAUSTED, 429).
        """
        self.address, self.timeout, self.retries = address, timeout, retries
        if address.startswith(("http://", "https://")):
            from itembed_tf.client.rest_api import RestTransport

            self._transport: Any = RestTransport(address)
        else:
            from itembed_tf.client.grpc_api import GrpcTransport  # here: importing gRPC takes longer than all the rest

            self._transport = GrpcTransport(address.removeprefix("grpc://"))

    def embed_images(self, pictures: Sequence[bytes | str | Path], **version: Any) -> np.ndarray:
        """Pictures (a file's bytes, or its path) -> float32 [n, D]; `version` or `label` chooses another version."""
        return joined(self._in_batches(IMAGE, "image_bytes", read_image(pictures), **version))["embedding"]

    def embed_texts(self, sentences: Sequence[str | bytes], **version: Any) -> Texts:
        """Sentences, UTF-8 -> embeddings and how many of their words are known."""
        return texts_of(joined(self._in_batches(TEXT, "text", sentence_bytes(sentences), **version)))

    def embed_ids(self, ids: Any, **version: Any) -> Texts:
        """Word ids int32 [n, L], left-aligned, 0 = padding (`itembed_tf.text.vocabulary`) -> the same."""
        return texts_of(joined(self._in_batches(TEXT, "ids", np.asarray(ids, np.int32), signature="ids", **version)))

    def predict(
        self, model: str, inputs: dict[str, Any], *, signature: str = "serving_default", **version: Any
    ) -> dict[str, np.ndarray]:
        """One request to any model: arrays by name in, arrays by name out; strings come as bytes."""
        arrays = {name: as_array(values) for name, values in inputs.items()}
        return self._send(Call("predict", model, signature=signature, inputs=arrays, **version))

    def metadata(self, model: str, **version: Any) -> Metadata:
        """Signature -> "inputs" or "outputs" -> name -> {"dtype": ..., "shape": [...]}; -1 is any size."""
        return self._send(Call("metadata", model, **version))

    def status(self, model: str, **version: Any) -> dict[int, str]:
        """Version -> state; "AVAILABLE" is ready."""
        return self._send(Call("status", model, **version))

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _in_batches(self, model: str, name: str, items: Any, **rest: Any) -> list[dict[str, np.ndarray]]:
        answers = []
        for start, call in split(model, name, items, **rest):
            try:
                answers.append(self._send(call))
            except ServingError as error:
                raise with_place(error, call, start, len(items)) from error
        return answers

    def _send(self, call: Call) -> Any:
        return insist(lambda left: self._transport.send(call, left), timeout=self.timeout, retries=self.retries)
