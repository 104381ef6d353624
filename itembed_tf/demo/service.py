"""The page's server: from start to Ctrl-C."""

from __future__ import annotations

import asyncio
import gc
import signal
import webbrowser
from collections.abc import Callable, Sequence

from threadpoolctl import threadpool_limits

from itembed_tf.demo.access import Access
from itembed_tf.demo.application import make_handler
from itembed_tf.demo.page_api import PageApi
from itembed_tf.errors import UserError
from itembed_tf.server.http_server import HttpServer
from itembed_tf.server.limits import Limits

GRACE_SECONDS = 1.0  # for running requests, when the server stops


async def serve_page(api: PageApi, *, host: str, ports: Sequence[int], opened: Callable[[str], None]) -> None:
    """Serve the page until SIGINT or SIGTERM.

    Args:
        host: address to listen on.
        ports: the first of them that is free; 0 is any free one.
        opened: called with the page's URL as soon as the server listens.

    Raises:
        UserError: none of the ports can be used.
    """
    search_on_one_core()
    server = HttpServer(make_handler(api, Access(host)), Limits())
    port = await _listen(server, host, ports)
    gc.freeze()  # full collections of what the imports left would delay single answers
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    opened(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
    await stop.wait()
    await server.close(GRACE_SECONDS)


def search_on_one_core() -> None:
    """Let NumPy's linear algebra use one core in this process, from now on.

    The products of one search are small: a second thread gains little, and waits where the browser needs that core.
    """
    threadpool_limits(1, user_api="blas")


async def _listen(server: HttpServer, host: str, ports: Sequence[int]) -> int:
    for port in ports:
        try:
            return await server.start(host, port)
        except OSError as error:
            reason = f"cannot listen on {host}:{port} ({error.strerror or error})"
    raise UserError(f"{reason}; choose another port with --port, or leave it out for any free one")


def open_browser(url: str) -> None:
    """Open the URL in the user's browser, if there is one; the URL is printed in any case."""
    webbrowser.open(url)
