"""Requests that wait -> batches that run, one at a time in a thread of their own; each gets its own answer or error.

The thread takes its batches itself: were they handed to it by the event loop, it would wait between two of them for
whatever the loop has in hand, and with small models that is as long as a batch.
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

from itembed_tf.server.limits import Limits, Refused

Arrays = dict[str, np.ndarray]


@dataclass(eq=False)
class Piece:
    """Items of one request that run together: at most a batch."""

    signature: str
    inputs: Arrays
    first: int  # place of its first item in the request
    items: int
    cost: int
    size: int
    answer: asyncio.Future[Arrays]
    since: float


class Batcher:
    """The queue of one model version, and the thread that runs what waits in it."""

    def __init__(
        self,
        run: Callable[[str, Arrays], Arrays],
        limits: Limits,
        *,
        name: str = "model",
        observe: Callable[[Sequence[Piece], float], None] | None = None,
    ) -> None:
        """`run(signature, inputs)` computes a batch, in the thread; `observe(batch, seconds)` is told of each."""
        self._run, self._limits, self._observe = run, limits, observe
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()  # holds what follows
        self._queue: deque[Piece] = deque()
        self.items = self._size = 0
        self._closing = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def predict(self, signature: str, inputs: Arrays, costs: Sequence[int]) -> Arrays:
        """The outputs for all items of a request, in as many batches as it takes.

        Raises:
            Refused: UNAVAILABLE where too much waits already; else what the model says of these items.
        """
        pieces = self._cut(signature, inputs, costs)
        items, size = len(costs), sum(piece.size for piece in pieces)
        with self._changed:
            if self._queue and (
                self.items + items > self._limits.max_queue or self._size + size > self._limits.max_waiting
            ):
                waits = f"{self.items} items of {self._size:,} bytes wait already"
                raise Refused(grpc.StatusCode.UNAVAILABLE, f"the queue is full: {waits}; try again in a moment")
            self._queue.extend(pieces)
            self.items, self._size = self.items + items, self._size + size
            self._changed.notify()
        try:
            if len(pieces) == 1:  # as most requests; gather's own future and callbacks would cost as much as all this
                return await pieces[0].answer
            answers = await asyncio.gather(*(piece.answer for piece in pieces))
        except BaseException:
            for piece in pieces:  # the caller has gone, or one part has failed: the rest need not run
                piece.answer.cancel()
            raise
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    async def close(self) -> None:
        """Answer what waits, then end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)  # the last answers are on their way to the loop before this ends

    def _cut(self, signature: str, inputs: Arrays, costs: Sequence[int]) -> list[Piece]:
        loop, now = asyncio.get_running_loop(), time.monotonic()
        pieces, start, cost = [], 0, 0
        for i in range(len(costs) + 1):
            full = i - start == self._limits.max_batch or (
                i < len(costs) and self._too_dear(cost + costs[i], i - start)
            )
            if i == len(costs) or full:
                part = {name: values[start:i] for name, values in inputs.items()}
                size = sum(_bytes(values) for values in part.values())
                pieces.append(Piece(signature, part, start, i - start, cost, size, loop.create_future(), now))
                start, cost = i, 0
            cost += costs[i] if i < len(costs) else 0
        return pieces

    def _too_dear(self, cost: int, items: int) -> bool:
        return items > 0 and cost > max(self._limits.max_pixels, self._limits.max_batch)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                end = self._queue[0].since + self._limits.wait
                self._changed.wait_for(self._is_full, max(end - time.monotonic(), 0.0))
                batch = self._take()
            if not batch:
                continue
            started = time.monotonic()
            answers = run_each(self._run, batch)
            self._loop.call_soon_threadsafe(self._deliver, batch, answers, time.monotonic() - started)

    def _is_full(self) -> bool:
        return self.items >= self._limits.max_batch or self._closing

    def _deliver(self, batch: Sequence[Piece], answers: Sequence[Arrays | Exception], seconds: float) -> None:
        """In the event loop, whose futures no other thread may set."""
        if self._observe:
            self._observe(batch, seconds)
        for piece, answer in zip(batch, answers):
            if piece.answer.done():
                continue
            if isinstance(answer, Exception):
                piece.answer.set_exception(answer)
            else:
                piece.answer.set_result(answer)

    def _take(self) -> list[Piece]:
        """The first piece, and those behind it of the same signature, as many as fit."""
        batch: list[Piece] = []
        kept: deque[Piece] = deque()
        items = cost = 0
        full = False
        while self._queue:
            piece = self._queue.popleft()
            if piece.answer.done():  # its caller has gone
                self._leave(piece)
                continue
            same = not batch or piece.signature == batch[0].signature
            if same and not full:
                full = bool(batch) and (
                    items + piece.items > self._limits.max_batch or self._too_dear(cost + piece.cost, items)
                )
            if full or not same:
                kept.append(piece)
                continue
            batch.append(piece)
            items, cost = items + piece.items, cost + piece.cost
            self._leave(piece)
        self._queue = kept
        return batch

    def _leave(self, piece: Piece) -> None:
        self.items -= piece.items
        self._size -= piece.size


def run_each(run: Callable[[str, Arrays], Arrays], batch: Sequence[Piece]) -> list[Arrays | Exception]:
    """The answer of every piece. Where the batch fails, each runs alone, so that one caller's fault is no other's."""
    if len(batch) == 1:
        return [_run_piece(run, batch[0])]
    joined = {name: np.concatenate([piece.inputs[name] for piece in batch]) for name in batch[0].inputs}
    try:
        outputs = run(batch[0].signature, joined)
    except Exception:
        return [_run_piece(run, piece) for piece in batch]
    ends = np.cumsum([piece.items for piece in batch])
    return [
        {name: values[end - piece.items : end] for name, values in outputs.items()} for piece, end in zip(batch, ends)
    ]


def _run_piece(run: Callable[[str, Arrays], Arrays], piece: Piece) -> Arrays | Exception:
    """One piece; where it fails, item by item, so that the error can name the places in the request."""
    try:
        return run(piece.signature, piece.inputs)
    except Exception as error:
        faults: dict[int, Exception] = {0: error} if piece.items == 1 else {}
        for i in range(piece.items if piece.items > 1 else 0):
            try:
                run(piece.signature, {name: values[i : i + 1] for name, values in piece.inputs.items()})
            except Exception as one:
                faults[i] = one
        if not faults:
            return error
        name = next(iter(piece.inputs))
        said = "; ".join(f"{name}[{piece.first + i}]: {_words(fault)}" for i, fault in faults.items())
        return Refused(_code(next(iter(faults.values()))), said)


def _words(error: Exception) -> str:
    return error.message if isinstance(error, Refused) else f"{type(error).__name__}: {error}"


def _code(error: Exception) -> grpc.StatusCode:
    return error.code if isinstance(error, Refused) else grpc.StatusCode.INTERNAL


def _bytes(values: Any) -> int:
    return sum(map(len, values.ravel().tolist())) if values.dtype == object else values.nbytes
