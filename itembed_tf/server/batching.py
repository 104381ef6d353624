"""Dynamic batching: queued requests of one model run together, in a thread of the model's own.

The thread takes batches from the queue itself. If the event loop handed them over, the thread would wait between two
batches until the loop is free; for a small model that takes as long as a batch.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from itembed_tf.server.errors import RequestError
from itembed_tf.server.limits import Limits

Arrays = dict[str, np.ndarray]


@dataclass(eq=False)
class RequestPart:
    """Items of one request that run in the same batch.

    Attributes:
        signature: to run.
        inputs: arrays by name, all with `items` rows.
        offset: index of the first item in the request.
        items: number of items, at most ``max_batch``.
        cost: sum of the items' costs (`request_validation.check_items`).
        size: bytes.
        result: future of the outputs by name.
        enqueued: time.monotonic() when it joined the queue.
    """

    signature: str
    inputs: Arrays
    offset: int
    items: int
    cost: int
    size: int
    result: asyncio.Future[Arrays]
    enqueued: float


class Batcher:
    """Queue of one model version, and the thread that runs its batches."""

    def __init__(
        self,
        run: Callable[[str, Arrays], Arrays],
        limits: Limits,
        *,
        name: str = "model",
        observe: Callable[[Sequence[RequestPart], float], None] | None = None,
    ) -> None:
        """Start the thread.

        Args:
            run: computes one batch, called as `run(signature, inputs)` in the thread.
            limits: max_batch, wait, max_queue, max_waiting and max_pixels apply here.
            name: of the thread.
            observe: called as `observe(batch, seconds)` in the event loop after each batch.
        """
        self._run, self._limits, self._observe = run, limits, observe
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()  # guards the four attributes below
        self._queue: deque[RequestPart] = deque()
        self.items = self._size = 0
        self._closing = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def predict(self, signature: str, inputs: Arrays, costs: Sequence[int]) -> Arrays:
        """Outputs for all items of a request, computed in one or more batches.

        Raises:
            RequestError: UNAVAILABLE if the queue is full; otherwise the model's error for these items.
        """
        parts = self._split(signature, inputs, costs)
        items, size = len(costs), sum(part.size for part in parts)
        with self._changed:
            if self._queue and (
                self.items + items > self._limits.max_queue or self._size + size > self._limits.max_waiting
            ):
                queued = f"{self.items} items of {self._size:,} bytes"
                raise RequestError(grpc.StatusCode.UNAVAILABLE, f"the queue is full ({queued}); retry later")
            self._queue.extend(parts)
            self.items, self._size = self.items + items, self._size + size
            self._changed.notify()
        try:
            if len(parts) == 1:  # the usual case; asyncio.gather costs as much as everything else here
                return await parts[0].result
            results = await asyncio.gather(*(part.result for part in parts))
        except BaseException:
            for part in parts:  # the caller has disconnected, or one part has failed: skip the rest
                part.result.cancel()
            raise
        return {name: np.concatenate([result[name] for result in results]) for name in results[0]}

    async def close(self) -> None:
        """Run what is queued, then stop the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)  # the last results reach the loop before this returns

    def _split(self, signature: str, inputs: Arrays, costs: Sequence[int]) -> list[RequestPart]:
        loop, now = asyncio.get_running_loop(), time.monotonic()
        parts, start, cost = [], 0, 0
        for i in range(len(costs) + 1):
            full = i - start == self._limits.max_batch or (
                i < len(costs) and self._exceeds_cost(cost + costs[i], i - start)
            )
            if i == len(costs) or full:
                rows = {name: values[start:i] for name, values in inputs.items()}
                size = sum(_size_in_bytes(values) for values in rows.values())
                parts.append(RequestPart(signature, rows, start, i - start, cost, size, loop.create_future(), now))
                start, cost = i, 0
            cost += costs[i] if i < len(costs) else 0
        return parts

    def _exceeds_cost(self, cost: int, items: int) -> bool:
        return items > 0 and cost > max(self._limits.max_pixels, self._limits.max_batch)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                end = self._queue[0].enqueued + self._limits.wait
                self._changed.wait_for(self._is_full, max(end - time.monotonic(), 0.0))
                batch = self._take_batch()
            if not batch:
                continue
            started = time.monotonic()
            results = run_batch(self._run, batch)
            self._loop.call_soon_threadsafe(self._deliver, batch, results, time.monotonic() - started)

    def _is_full(self) -> bool:
        return self.items >= self._limits.max_batch or self._closing

    def _deliver(self, batch: Sequence[RequestPart], results: Sequence[Arrays | Exception], seconds: float) -> None:
        """Set the futures; runs in the event loop, as asyncio requires."""
        if self._observe:
            self._observe(batch, seconds)
        for part, result in zip(batch, results):
            if part.result.done():
                continue
            if isinstance(result, Exception):
                part.result.set_exception(result)
            else:
                part.result.set_result(result)

    def _take_batch(self) -> list[RequestPart]:
        """Take the first part from the queue, and the following ones of the same signature that fit into the batch."""
        batch: list[RequestPart] = []
        remaining: deque[RequestPart] = deque()
        items = cost = 0
        full = False
        while self._queue:
            part = self._queue.popleft()
            if part.result.done():  # the caller has disconnected
                self._subtract(part)
                continue
            same = not batch or part.signature == batch[0].signature
            if same and not full:
                full = bool(batch) and (
                    items + part.items > self._limits.max_batch or self._exceeds_cost(cost + part.cost, items)
                )
            if full or not same:
                remaining.append(part)
                continue
            batch.append(part)
            items, cost = items + part.items, cost + part.cost
            self._subtract(part)
        self._queue = remaining
        return batch

    def _subtract(self, part: RequestPart) -> None:
        self.items -= part.items
        self._size -= part.size


def run_batch(run: Callable[[str, Arrays], Arrays], batch: Sequence[RequestPart]) -> list[Arrays | Exception]:
    """Result of every part. If the batch fails, each part runs alone, so that one caller's error affects no other."""
    if len(batch) == 1:
        return [_run_part(run, batch[0])]
    joined = {name: np.concatenate([part.inputs[name] for part in batch]) for name in batch[0].inputs}
    try:
        outputs = run(batch[0].signature, joined)
    except Exception:
        return [_run_part(run, part) for part in batch]
    ends = np.cumsum([part.items for part in batch])
    return [
        {name: values[end - part.items : end] for name, values in outputs.items()} for part, end in zip(batch, ends)
    ]


def _run_part(run: Callable[[str, Arrays], Arrays], part: RequestPart) -> Arrays | Exception:
    """Run one part. If it fails, run each of its items, so that the error lists the indices in the request."""
    try:
        return run(part.signature, part.inputs)
    except Exception as error:
        failures: dict[int, Exception] = {0: error} if part.items == 1 else {}
        for i in range(part.items if part.items > 1 else 0):
            try:
                run(part.signature, {name: values[i : i + 1] for name, values in part.inputs.items()})
            except Exception as failure:
                failures[i] = failure
        if not failures:
            return error
        name = next(iter(part.inputs))
        message = "; ".join(f"{name}[{part.offset + i}]{_after_index(failure)}" for i, failure in failures.items())
        return RequestError(_code(next(iter(failures.values()))), message)


def _after_index(error: Exception) -> str:
    message = error.message if isinstance(error, RequestError) else f"{type(error).__name__}: {error}"
    return f" {message}" if message.startswith("is ") else f": {message}"  # " is a damaged PNG image"


def _code(error: Exception) -> grpc.StatusCode:
    return error.code if isinstance(error, RequestError) else grpc.StatusCode.INTERNAL


def _size_in_bytes(values: Any) -> int:
    return sum(map(len, values.ravel().tolist())) if values.dtype == object else values.nbytes
