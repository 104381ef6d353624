"""The page's server: from start to Ctrl-C."""

from __future__ import annotations

import asyncio
import gc
import signal
import webbrowser
from collections.abc import Callable

from itembed_tf.demo.access import Access
from itembed_tf.demo.application import make_handler
from itembed_tf.demo.page_api import PageApi
from itembed_tf.errors import UserError
from itembed_tf.server.http_server import HttpServer
from itembed_tf.server.limits import Limits

GRACE_SECONDS = 1.0  # for running requests, when the server stops


async def serve_page(api: PageApi, *, host: str, port: int, opened: Callable[[str], None]) -> None:
    """Serve the page until SIGINT or SIGTERM.

    Args:
        host: address to listen on.
        port: 0 for any free port.
        opened: called with the page's URL as soon as the server listens.

    Raises:
        UserError: the port cannot be used.
    """
    server = HttpServer(make_handler(api, Access(host)), Limits())
    try:
        port = await server.start(host, port)
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}:{port} ({error.strerror or error}); choose another port with --port, or leave it "
            "out for any free one"
        ) from None
    gc.freeze()  # full collections of what the imports left would delay single answers
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    opened(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
    await stop.wait()
    await server.close(GRACE_SECONDS)


def open_browser(url: str) -> None:
    """Open the URL in the user's browser, if there is one; the URL is printed in any case."""
    webbrowser.open(url)
