"""What the local server takes at most, and how it says no."""

from __future__ import annotations

from dataclasses import dataclass

import grpc


class Refused(Exception):
    """A request that is answered by an error; `code` is gRPC's, from which REST's follows."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def invalid(message: str) -> Refused:
    """INVALID_ARGUMENT: the same request will never do."""
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, message)


@dataclass(frozen=True)
class Limits:
    """Bounds of one server; the programs' options of the same names set them.

    Attributes:
        max_batch: items that run together.
        wait: seconds that the first item waits for company; with 0 only those go together that waited for a batch
            before them, which costs a lone caller nothing.
        max_queue: items that wait for one model.
        max_message: bytes of one request.
        max_waiting: bytes of all requests that wait for one model.
        max_text: bytes of one sentence.
        max_pixels: of one picture when decoded, by its header, and of all pictures that run together.
        max_calls: gRPC calls, and HTTP connections, open at a time.
        timeout: seconds until a REST request is given up; gRPC's callers set their own.
    """

    max_batch: int = 32
    wait: float = 0.0
    max_queue: int = 1024
    max_message: int = 32 * 2**20
    max_waiting: int = 256 * 2**20
    max_text: int = 64 * 2**10
    max_pixels: int = 32_000_000
    max_calls: int = 256
    timeout: float = 60.0
