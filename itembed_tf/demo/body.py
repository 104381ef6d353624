"""The body of a request that changes something: a JSON object, checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from itembed_tf.demo.parameters import KEY, WrongParameter
from itembed_tf.demo.query_images import KEY_DIGITS
from itembed_tf.server.http_messages import JSON


class Body:
    """The values of a JSON object by name."""

    def __init__(self, content: bytes, headers: Mapping[str, str]) -> None:
        """Read the body of a request.

        Raises:
            WrongParameter: it is no JSON object, or is not sent as one: a form of another web site can send a body of
                other types without asking first.
        """
        if headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
            raise WrongParameter(f"the Content-Type of the request must be {JSON}")
        try:
            values = json.loads(content)
        except ValueError as error:
            raise WrongParameter(f"the body is no JSON: {error}") from None
        if not isinstance(values, dict):
            raise WrongParameter("the body is no JSON object")
        self._values: Mapping[str, Any] = values

    def text(self, name: str, most: int) -> str:
        value = self._values.get(name)
        if not isinstance(value, str) or not value.strip() or len(value) > most:
            raise WrongParameter(f"{name} must be a text of 1 to {most:,} characters")
        return value.strip()

    def number(self, name: str) -> int:
        value = self._values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**63:
            raise WrongParameter(f"{name} must be a number from 1")
        return value

    def keys(self, name: str, most: int) -> list[str]:
        """Different keys, 1 to `most`."""
        values = self._values.get(name)
        keys = list(dict.fromkeys(map(str, values))) if isinstance(values, list) else []
        if not 1 <= len(keys) <= most or not all(KEY.fullmatch(key) for key in keys):
            raise WrongParameter(f"{name} must be 1 to {most} keys of {KEY_DIGITS} hexadecimal digits")
        return keys
