"""The server that the suite asks: a local one over a toy export, or any TF Serving named in ITEMBED_SERVING.

ITEMBED_SERVING=localhost:8500,http://localhost:8501 python -m pytest tests/conformance

That server has image_encoder and text_encoder of one of our exports; what it lacks by its own settings (labels,
health checks, metrics) is skipped there, and must not be lacking here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from benchmarks.served import local_server, picture, toy_export


class Target(NamedTuple):
    """Where the server listens, and whether it is the local one."""

    grpc: str
    rest: str
    local: bool

    def lacks(self, what: str) -> None:
        """Skip against a server that has not been told to do this; fail against ours."""
        assert not self.local, f"the local server lacks {what}"
        pytest.skip(f"this server was started without {what}")


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    if address := os.environ.get("ITEMBED_SERVING"):
        grpc, _, rest = address.partition(",")
        yield Target(grpc, rest, False)
        return
    exports = toy_export(tmp_path_factory.mktemp("exports"))
    with local_server(exports, "--label", "stable=1") as served:
        yield Target(served.grpc, served.rest, True)


@pytest.fixture(scope="session")
def pictures() -> list[bytes]:
    """One of each format, and a JPEG twice."""
    return [picture(0), picture(1, "PNG"), picture(2, "GIF"), picture(3, "BMP"), picture(4, "WEBP"), picture(0)]
