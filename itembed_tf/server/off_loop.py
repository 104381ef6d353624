"""Work that would keep the event loop busy, in threads: while it runs, all other requests are served.

Two threads, not more: each that computes in Python delays the event loop by up to 5 ms whenever the loop is woken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")

SMALL = 64 * 1024  # bytes whose work takes less time than a change of threads is worth
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="parse")


async def run_off_loop(size: int, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call `function(*arguments)`, in a thread if it has more than `SMALL` bytes to work on."""
    if size <= SMALL:
        return function(*arguments)
    return await asyncio.get_running_loop().run_in_executor(_THREADS, function, *arguments)
