"""Images that were dropped on the page, kept in memory while the server runs, so that a URL can name one by its key."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

KEY_DIGITS = 16  # of the SHA-256 of an image or a sentence: names it in a URL


class QueryImages:
    """The last images by key, up to `max_bytes` in all; safe to use from several threads."""

    def __init__(self, max_bytes: int = 256 * 2**20) -> None:
        self._images: OrderedDict[str, bytes] = OrderedDict()
        self._max_bytes, self._bytes = max_bytes, 0
        self._lock = threading.Lock()

    def add(self, image: bytes) -> str:
        """Keep an image; returns its key."""
        key = hashlib.sha256(image).hexdigest()[:KEY_DIGITS]
        with self._lock:
            if key not in self._images:
                self._images[key] = image
                self._bytes += len(image)
            while self._bytes > self._max_bytes and len(self._images) > 1:
                self._bytes -= len(self._images.popitem(last=False)[1])
        return key

    def get(self, key: str) -> bytes | None:
        """The image, or None if it is not kept any more; the oldest ones not asked for go first."""
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
            return self._images.get(key)
