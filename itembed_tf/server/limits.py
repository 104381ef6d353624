"""Limits of one server: batch size, queue length, request size and timeouts."""

from __future__ import annotations

from dataclasses import dataclass

from itembed_tf.config import Config


@dataclass(frozen=True)
class Limits:
    """Limits of one server; each is set by the option of the same name.

    Attributes:
        max_batch: maximum number of items in a batch.
        wait: batching timeout, the seconds that the first item of a batch waits for others. With 0, a batch holds
            what was queued while the previous batch ran, so that a single caller never waits.
        max_queue: maximum number of queued items per model.
        max_message: maximum size of one request in bytes.
        max_waiting: maximum size of all queued requests per model in bytes.
        max_text: maximum size of one text in bytes.
        max_pixels: maximum number of pixels of one decoded image, read from its header, and of all images in a batch.
            The scans of a JPEG beyond the usual ten count as pixels.
        max_calls: maximum number of concurrent gRPC calls, and of open HTTP connections.
        timeout: seconds until a REST request is cancelled; a gRPC caller sets its own deadline.
    """

    max_batch: int = 32
    wait: float = 0.0
    max_queue: int = 1024
    max_message: int = 32 * 2**20
    max_waiting: int = 256 * 2**20
    max_text: int = 64 * 2**10
    max_pixels: int = Config.max_pixels
    max_calls: int = 256
    timeout: float = 60.0
