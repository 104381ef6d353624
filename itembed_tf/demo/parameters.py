"""The parameters of a request's URL, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import cast
from urllib.parse import parse_qs, urlsplit

from itembed_tf.demo.query_images import KEY_DIGITS
from itembed_tf.errors import UserError
from itembed_tf.index import Query
from itembed_tf.index.records import QueryBy, Sort

MAX_HITS = 1_000  # of one request
MAX_TEXT = 4_000  # characters of one parameter
BY, SORT = ("both", "vector", "text"), ("relevance", "date")
KEY = re.compile(rf"[0-9a-f]{{{KEY_DIGITS}}}")


class WrongParameter(UserError):
    """A parameter that cannot be used; the message names it, and what it may be."""


class Parameters:
    """The parameters of a URL's query string."""

    def __init__(self, target: str) -> None:
        """Read those of a request's target, such as ``/api/search?q=a+dog&limit=20``.

        Raises:
            WrongParameter: there are too many, or one is too long.
        """
        try:
            self._values: Mapping[str, Sequence[str]] = parse_qs(urlsplit(target).query, max_num_fields=100)
        except ValueError as error:
            raise WrongParameter(f"the URL cannot be read: {error}") from None
        for name, values in self._values.items():
            if any(len(value) > MAX_TEXT for value in values):
                raise WrongParameter(f"{name[:40]} is longer than {MAX_TEXT:,} characters")

    def text(self, name: str) -> str:
        return self._values.get(name, [""])[-1].strip()

    def texts(self, name: str) -> list[str]:
        return [value.strip() for value in self._values.get(name, []) if value.strip()]

    def number(self, name: str, default: int, maximum: int) -> int:
        value = self.text(name) or str(default)
        if not (value.isascii() and value.isdecimal()) or int(value) > maximum:
            raise WrongParameter(f"{name} is {value[:40]!r}; it must be a number from 0 to {maximum:,}")
        return int(value)

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        value = self.text(name) or allowed[0]
        if value not in allowed:
            raise WrongParameter(f"{name} is {value[:40]!r}; it must be one of {', '.join(allowed)}")
        return value

    def key(self, name: str) -> str:
        """A key, or "" where there is none."""
        value = self.text(name)
        if value and not KEY.fullmatch(value):
            raise WrongParameter(f"{name} is {value[:40]!r}; it must be {KEY_DIGITS} hexadecimal digits")
        return value

    def where(self) -> str:
        """The filters folder, year, kind and split, and the expression ``where``, as one expression over the fields."""
        parts = []
        if folder := self.text("folder"):
            below = _quoted(folder.rstrip("/") + "/")
            parts.append(f"(folder = {_quoted(folder)} or substr(folder, 1, length({below})) = {below})")
        if year := self.number("year", 0, 9999):
            parts.append(f"year = {year}")
        if self.text("kind"):
            parts.append(f"kind = {_quoted(self.choice('kind', ('image', 'text')))}")
        if split := self.text("split"):
            parts.append(f"split = {_quoted(split)}")
        if expression := self.text("where"):
            parts.append(f"({expression})")
        return " and ".join(parts)

    def query(self, *, like: int | None = None, image: bytes | None = None) -> Query:
        """The search: text q, minus (several), filters, sort, by, limit, offset."""
        return Query(
            text=self.text("q"),
            image=image,
            like=like,
            minus=" ".join(self.texts("minus")),
            where=self.where(),
            by=cast(QueryBy, self.choice("by", BY)),
            sort=cast(Sort, self.choice("sort", SORT)),
            limit=self.number("limit", 60, MAX_HITS),
            offset=self.number("offset", 0, 10**9),
        )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
