"""Which requests are answered: those of this page alone."""

from __future__ import annotations

import pytest

from itembed_tf.demo.access import Access

LOCAL, OPEN = Access("127.0.0.1"), Access("0.0.0.0")


@pytest.mark.parametrize("host", ["127.0.0.1:8600", "localhost:8600", "[::1]:8600", "LOCALHOST"])
def test_names_of_this_machine_are_accepted(host: str) -> None:
    assert LOCAL.refusal({"host": host}) == ""


@pytest.mark.parametrize("host", ["evil.example:8600", "192.168.1.5:8600", "127.0.0.1.evil.example", "", "[::1"])
def test_other_hosts_are_refused(host: str) -> None:
    """A foreign domain that resolves to 127.0.0.1 (DNS rebinding) has its own name in the Host header."""
    assert "Host header" in LOCAL.refusal({"host": host})


def test_a_server_for_other_machines_accepts_addresses_but_no_foreign_domain() -> None:
    assert OPEN.refusal({"host": "192.168.1.5:8600"}) == "" and OPEN.refusal({"host": "[fe80::1]:8600"}) == ""
    assert "Host header" in OPEN.refusal({"host": "evil.example:8600"})


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"origin": "http://127.0.0.1:8600"}, False),
        ({"origin": "http://evil.example"}, True),
        ({"origin": "null"}, True),
        ({"origin": "http://127.0.0.1:9999"}, True),
        ({"sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, False),
    ],
)
def test_requests_that_another_site_makes_the_browser_send_are_refused(headers: dict[str, str], refused: bool) -> None:
    assert bool(LOCAL.refusal({"host": "127.0.0.1:8600", **headers})) == refused
