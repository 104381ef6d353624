"""The server under test: the local server over toy exports, or a TF Serving named in ITEMBED_SERVING.

ITEMBED_SERVING=localhost:8500,http://localhost:8501 python -m pytest tests/server/conformance

That server must serve image_encoder and text_encoder of an export of ours. Features that its configuration lacks
(labels, health checks, metrics) are skipped there; the local server must have them.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import pytest

from benchmarks.served import sample_image


class Target(NamedTuple):
    """Addresses of the server, and whether it is the local server."""

    grpc: str
    rest: str
    local: bool

    def lacks(self, feature: str) -> None:
        """Skip the test for a server without the feature; fail for the local server."""
        assert not self.local, f"the local server lacks {feature}"
        pytest.skip(f"this server was started without {feature}")


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    if address := os.environ.get("ITEMBED_SERVING"):
        grpc, _, rest = address.partition(",")
        return Target(grpc, rest, local=False)
    server = request.getfixturevalue("toy_server")
    return Target(server.grpc, server.rest, local=True)


@pytest.fixture(scope="session")
def images() -> list[bytes]:
    """One image per format, and the first one again."""
    formats = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
    return [*(sample_image(i, file_format) for i, file_format in enumerate(formats)), sample_image(0)]
