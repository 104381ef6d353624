"""Errors that the server returns to a caller."""

from __future__ import annotations

import grpc


class RequestError(Exception):
    """A request is answered with an error.

    Attributes:
        code: gRPC status code; the HTTP status of the REST API follows from it.
        message: sent to the caller.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def invalid_argument(message: str) -> RequestError:
    """A RequestError with the code INVALID_ARGUMENT: the request is wrong and must not be retried as it is."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)
