"""Batching: which requests run together, which result each gets, and errors."""

from __future__ import annotations

import asyncio
import threading
import time

import grpc
import numpy as np
import pytest

from itembed_tf.server.batching import Batcher
from itembed_tf.server.errors import RequestError, invalid_argument
from itembed_tf.server.limits import Limits


class Model:
    """Doubles numbers and rejects negative ones; the first batch blocks until `release`, so that others queue up."""

    def __init__(self):
        self.batches, self.release = [], threading.Event()

    async def started(self):
        """Wait until the first batch is running."""
        while not self.batches:
            await asyncio.sleep(0.001)

    def run(self, signature, inputs):
        first = not self.batches
        self.batches.append((signature, inputs["x"].tolist()))
        if first:
            assert self.release.wait(60)
        if (inputs["x"] < 0).any():
            raise invalid_argument("a negative number")
        if (inputs["x"] == 13).any():
            raise RuntimeError("thirteen")
        return {"y": inputs["x"] * 2}


def run_queued(requests, limits=None, **settings):
    """Results (lists or errors) of requests [(signature, numbers, costs)] that queue up behind one of [0]."""
    model = Model()

    async def run():
        batcher = Batcher(model.run, limits or Limits(), **settings)
        tasks = [asyncio.create_task(batcher.predict("s", {"x": np.array([0.0])}, [1]))]
        await model.started()
        for signature, numbers, *costs in requests:
            cost = costs[0] if costs else [1] * len(numbers)
            tasks.append(asyncio.create_task(batcher.predict(signature, {"x": np.array(numbers, float)}, cost)))
        await asyncio.sleep(0)  # every task puts its request into the queue
        model.release.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert batcher.items == 0
        await batcher.close()
        return [r if isinstance(r, BaseException) else r["y"].tolist() for r in results][1:]

    return asyncio.run(run()), model.batches[1:]


def test_queued_requests_run_in_one_batch_and_each_gets_its_result():
    observed = []
    requests = [("s", [1]), ("s", [2, 3]), ("s", [4])]
    results, batches = run_queued(requests, observe=lambda batch, _: observed.append([part.items for part in batch]))
    assert results == [[2], [4, 6], [8]] and batches == [("s", [1, 2, 3, 4])]
    assert observed == [[1], [1, 2, 1]]


def test_max_batch():
    results, batches = run_queued([("s", [1, 2, 3, 4, 5]), ("s", [6]), ("s", [7, 8, 9])], Limits(max_batch=3))
    assert results == [[2, 4, 6, 8, 10], [12], [14, 16, 18]]
    assert [numbers for _, numbers in batches] == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_max_pixels_of_a_batch():
    limits = Limits(max_pixels=100)
    _, batches = run_queued([("s", [1, 2, 3], [60, 60, 30]), ("s", [4], [90])], limits)
    assert [numbers for _, numbers in batches] == [[1], [2, 3], [4]]


def test_a_batch_has_one_signature():
    results, batches = run_queued([("a", [1]), ("b", [2]), ("a", [3])])
    assert results == [[2], [4], [6]] and batches == [("a", [1, 3]), ("b", [2])]


def test_an_invalid_item_fails_only_its_request_and_is_listed():
    results, _ = run_queued([("s", [1]), ("s", [2, -3, 4, -5]), ("s", [13]), ("s", [6])])
    assert results[0] == [2] and results[3] == [12]
    assert results[1].code == grpc.StatusCode.INVALID_ARGUMENT
    assert str(results[1]) == "x[1]: a negative number; x[3]: a negative number"
    assert results[2].code == grpc.StatusCode.INTERNAL and "x[0]: RuntimeError: thirteen" in str(results[2])


def test_an_error_has_the_index_in_the_request_not_in_the_batch():
    results, _ = run_queued([("s", [1, 2, 3, 4, -5])], Limits(max_batch=2))
    assert str(results[0]) == "x[4]: a negative number"


@pytest.mark.parametrize("limits", [Limits(max_queue=3), Limits(max_waiting=30)])
def test_a_full_queue_rejects_new_requests_and_serves_the_queued_ones(limits):
    results, batches = run_queued([("s", [1, 2, 3]), ("s", [4]), ("s", [5])], limits)
    assert results[0] == [2, 4, 6] and batches == [("s", [1, 2, 3])]
    for error in results[1:]:
        assert isinstance(error, RequestError) and error.code == grpc.StatusCode.UNAVAILABLE
        assert "queue is full" in str(error)


def test_a_cancelled_request_is_not_run():
    model = Model()

    async def run():
        batcher = Batcher(model.run, Limits())
        tasks = []
        for i in range(3):
            tasks.append(asyncio.create_task(batcher.predict("s", {"x": np.array([float(i)])}, [1])))
            await model.started()
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
        model.release.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        await batcher.close()
        return batcher.items

    assert asyncio.run(run()) == 0
    assert [numbers for _, numbers in model.batches] == [[0], [2]]


def test_the_next_batch_does_not_wait_for_the_event_loop():
    model, while_busy = Model(), []

    async def run():
        batcher = Batcher(model.run, Limits())
        tasks = [asyncio.create_task(batcher.predict(name, {"x": np.array([1.0])}, [1])) for name in "abc"]
        await model.started()
        model.release.set()
        end = time.monotonic() + 60  # the event loop is busy
        while len(model.batches) < 3 and time.monotonic() < end:
            time.sleep(0.01)
        while_busy.extend(name for name, _ in model.batches)
        await asyncio.gather(*tasks)
        await batcher.close()

    asyncio.run(run())
    assert while_busy == ["a", "b", "c"]


def test_close_runs_the_queue():
    model = Model()

    async def run():
        batcher = Batcher(model.run, Limits())
        tasks = [asyncio.create_task(batcher.predict("s", {"x": np.array([float(i)])}, [1])) for i in range(3)]
        await model.started()
        model.release.set()
        await batcher.close()
        return [(await task)["y"].tolist() for task in tasks]

    assert asyncio.run(run()) == [[0], [2], [4]]


def test_batching_timeout():
    model = Model()
    model.release.set()

    async def run():
        batcher = Batcher(model.run, Limits(wait=60.0, max_batch=2))
        first = asyncio.create_task(batcher.predict("s", {"x": np.array([1.0])}, [1]))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(batcher.predict("s", {"x": np.array([2.0])}, [1]))
        await asyncio.gather(first, second)
        await batcher.close()

    asyncio.run(run())
    assert [numbers for _, numbers in model.batches] == [[1, 2]]
