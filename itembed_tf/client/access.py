"""What a client sends along with every call, and whom it trusts: headers, a token, certificates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Access:
    """Settings of all connections.

    Attributes:
        headers: (name in lower case, value), sent with every call: HTTP headers, or gRPC metadata.
        ca_file: PEM file of the certificates to trust, in place of the system's; None for those.
    """

    headers: tuple[tuple[str, str], ...] = ()
    ca_file: str | None = None


def make_access(token: str | None, headers: Mapping[str, str] | None, ca_file: str | Path | None) -> Access:
    """Check the arguments of a client.

    Raises:
        ValueError: a header that cannot be sent, or a file that does not exist.
    """
    given = dict(headers or {}) | ({"authorization": f"Bearer {token}"} if token is not None else {})
    for name, value in given.items():
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or name.lower().endswith("-bin"):
            raise ValueError(f"{name!r} is not a name of a header: use letters, digits, - and _")
        if not isinstance(value, str) or not re.fullmatch(r"[\x20-\x7e]*", value):
            raise ValueError(f"the value of the header {name} must be printable ASCII on one line")
    if ca_file is not None and not Path(ca_file).is_file():
        raise ValueError(f"{ca_file} does not exist; ca_file must be a PEM file of certificates")
    return Access(
        tuple((name.lower(), value) for name, value in given.items()), None if ca_file is None else str(ca_file)
    )
