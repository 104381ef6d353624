"""Several server processes (workers) behind one gRPC and one REST port: started, replaced, and stopped together.

The kernel gives each new connection to one of the workers, which all listen on the same ports (SO_REUSEPORT).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from itembed_tf.errors import UserError
from itembed_tf.files import temporary_folder
from itembed_tf.server.local_server import GRACE_SECONDS, ServerOptions, announce, port_error
from itembed_tf.server.ports import reserved_port
from itembed_tf.server.worker_socket import READY

MAX_DEATHS, DEATHS_SECONDS = 5, 60.0  # so many unexpected ends of workers in so many seconds end the server
_KILL_SECONDS = 5.0  # after the grace period
_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # where prometheus_client counts for several processes


class WorkerFailed(Exception):
    """A worker ended with an exit code before it was ready; it has printed its error."""


class Worker(NamedTuple):
    """A worker that is ready; it shuts down when `socket` is closed."""

    number: int
    process: asyncio.subprocess.Process
    socket: socket.socket


async def supervise(options: ServerOptions, command: Callable[[int, int], Sequence[str]]) -> None:
    """Run `options.workers` workers until SIGINT or SIGTERM.

    Args:
        options: host, ports and number of workers; the workers read the others from their own command line.
        command: of a worker, for a gRPC and a REST port.

    Raises:
        UserError: a port is in use, a worker was killed while it started, or workers end again and again.
        WorkerFailed: a worker could not start.
    """
    with ExitStack() as stack:
        ports = []
        for api, port in (("grpc", options.grpc_port), ("rest", options.rest_port)):
            try:
                ports.append(stack.enter_context(reserved_port(options.host, port)))
            except OSError as error:
                raise port_error(api, options.host, port, error) from None
        environment = os.environ | {_METRICS_FOLDER: str(stack.enter_context(temporary_folder()))}
        group = WorkerGroup(command(*ports), environment)
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        serving = asyncio.create_task(_serve(group, options, ports))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                await serving  # raises its error
        finally:
            for task in (serving, stopped):
                task.cancel()
            await asyncio.gather(serving, stopped, return_exceptions=True)
            await group.close()


async def _serve(group: WorkerGroup, options: ServerOptions, ports: Sequence[int]) -> None:
    first = await group.start(1)  # before the others, so that an error that all would have is printed once
    others = await asyncio.gather(*(group.start(number) for number in range(2, options.workers + 1)))
    announce(options.host, *ports)
    await asyncio.gather(*(group.keep_running(worker) for worker in (first, *others)))


class WorkerGroup:
    """The processes of all workers."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        """Start nothing yet; `command` and `environment` are those of every worker."""
        self._command, self._environment = command, environment
        self._processes: set[asyncio.subprocess.Process] = set()
        self._deaths: deque[float] = deque(maxlen=MAX_DEATHS)

    async def start(self, number: int) -> Worker:
        """Start a worker and wait until it is ready.

        Raises:
            WorkerFailed, UserError: it ended before that, by itself or by a signal.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        # In a session of its own: Ctrl-C reaches the supervisor alone, which stops all workers.
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=theirs.fileno(), env=self._environment, start_new_session=True
        )
        theirs.close()
        self._processes.add(process)
        if await asyncio.get_running_loop().sock_recv(ours, len(READY)) != READY:
            ours.close()
            code = await process.wait()
            self._processes.discard(process)
            if code < 0:
                name = signal.Signals(-code).name
                raise UserError(f"worker {number} was ended by {name} while it started: is there enough memory?")
            raise WorkerFailed(f"worker {number} could not start")
        print(f"worker {number}: process {process.pid}, {resident_mib(process.pid):,.0f} MiB of memory", flush=True)
        return Worker(number, process, ours)

    async def keep_running(self, worker: Worker) -> None:
        """Replace a worker whenever it ends.

        Raises:
            UserError: it could not be replaced, or `MAX_DEATHS` workers have ended in `DEATHS_SECONDS`.
        """
        while True:
            code = await worker.process.wait()
            worker.socket.close()
            self._processes.discard(worker.process)
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            ended = f"worker {worker.number} (process {worker.process.pid}) {how}"
            self._deaths.append(time.monotonic())
            if len(self._deaths) == MAX_DEATHS and self._deaths[-1] - self._deaths[0] < DEATHS_SECONDS:
                raise UserError(f"{ended}, the {MAX_DEATHS}th within {DEATHS_SECONDS:.0f} s")
            print(f"{ended}; another one is started", file=sys.stderr, flush=True)
            worker = await self.start(worker.number)

    async def close(self) -> None:
        """Stop all workers: SIGTERM, and SIGKILL for one that has not ended some seconds after its grace period."""
        for number, seconds in ((signal.SIGTERM, GRACE_SECONDS + _KILL_SECONDS), (signal.SIGKILL, None)):
            running = [process for process in self._processes if process.returncode is None]
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(number)
            if running:
                await asyncio.wait([asyncio.create_task(process.wait()) for process in running], timeout=seconds)


def resident_mib(process: int) -> float:
    """Resident memory of a process, with what it shares with others; 0 for one that has ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
