"""Who may call the page's server, and what its answers allow a browser to do.

The server listens on this machine alone, but every web site that the user visits can make the browser send requests to
it. Three checks keep them out: the Host header names this server (a foreign domain that was made to resolve to
127.0.0.1, called DNS rebinding, does not), a request of another site is refused by its Origin or Sec-Fetch-Site header,
and answers cannot be embedded elsewhere.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
HEADERS = (
    # No inline script or style, nothing of another origin: a caption that contains markup cannot do anything.
    (
        "Content-Security-Policy",
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)


@dataclass(frozen=True)
class Access:
    """The address at which the server listens.

    Attributes:
        host: as it was given; a loopback address accepts requests to names of this machine's loopback alone.
    """

    host: str = "127.0.0.1"

    def refusal(self, headers: Mapping[str, str]) -> str:
        """Why a request with these headers is refused; "" if it is not."""
        host = headers.get("host", "")
        if not self._is_ours(_name(f"//{host}")):
            return f"the Host header is {host[:100]!r}, which is not the address of this server; open the printed URL"
        site = headers.get("sec-fetch-site", "same-origin")
        followed_link = headers.get("sec-fetch-mode") == "navigate"  # the other site does not see the answer
        if site not in ("same-origin", "none") and not followed_link:
            return "requests of other web sites are refused; open the printed URL"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "requests of other web sites are refused; open the printed URL"
        return ""

    def _is_ours(self, name: str) -> bool:
        if name in LOOPBACK:
            return True
        if self.host in LOOPBACK:
            return False
        return _is_address(name) or name in (self.host, socket.gethostname().lower())


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    """Whether a host is an IP address: a foreign domain never is, so none can be made to resolve to this server."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
