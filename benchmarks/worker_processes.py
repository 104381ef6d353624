"""Worker processes of a distributed training on this machine, each with the TF_CONFIG of its number.

They are forked from this process, which must have imported TensorFlow but not used it: importing it takes each process
many seconds of processor time.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS = 900  # after which a training is stopped as one that hangs


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing listens to."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]


def cluster_variable(number: int, ports: list[int]) -> dict[str, str]:
    """TF_CONFIG of a worker; nothing where there is one."""
    if len(ports) == 1:
        return {}
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": number}})}


def run_workers(count: int, work: Callable[..., int], *arguments: Any, logs: Path) -> list[int | None]:
    """Call ``work(number, *arguments)`` in `count` worker processes; returns their exit codes.

    Each computes an operation with one thread. What it prints goes to a file in `logs`; None stands for a process that
    had not ended after `SECONDS`.
    """
    import keras  # noqa: F401
    import tensorflow  # noqa: F401

    logs.mkdir(parents=True, exist_ok=True)
    ports, fork = free_ports(count), multiprocessing.get_context("fork")
    processes = [
        fork.Process(target=_worker, args=(number, ports, logs / f"{number}.log", work, arguments), daemon=True)
        for number in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(SECONDS)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
        process.join()
    return codes


def _worker(number: int, ports: list[int], log: Path, work: Callable[..., int], arguments: tuple[Any, ...]) -> None:
    os.environ.pop("TF_CONFIG", None)
    os.environ.update(cluster_variable(number, ports), TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")
    with open(log, "w", encoding="utf-8", buffering=1) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            code = work(number, *arguments)
    os._exit(code)
