"""The local server's queue: what runs together, who gets which answer, and what is refused."""

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
    """Doubles numbers; refuses negative ones; the first run waits until it is let go, so that others queue up."""

    def __init__(self):
        self.batches, self.go = [], threading.Event()

    def run(self, signature, inputs):
        first = not self.batches
        self.batches.append((signature, inputs["x"].tolist()))
        if first:
            assert self.go.wait(10)
        if (inputs["x"] < 0).any():
            raise invalid_argument("a negative number")
        if (inputs["x"] == 13).any():
            raise RuntimeError("thirteen")
        return {"y": inputs["x"] * 2}


def play(asked, limits=None, **rest):
    """Answers (arrays or errors) of requests [(signature, numbers, costs)] that all wait behind one of [0]."""
    model = Model()

    async def all_of_them():
        batcher = Batcher(model.run, limits or Limits(), **rest)
        waiting = [asyncio.create_task(batcher.predict("s", {"x": np.array([0.0])}, [1]))]
        await asyncio.sleep(0.05)
        for signature, numbers, *costs in asked:
            cost = costs[0] if costs else [1] * len(numbers)
            waiting.append(asyncio.create_task(batcher.predict(signature, {"x": np.array(numbers, float)}, cost)))
        await asyncio.sleep(0.05)
        model.go.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert batcher.items == 0
        await batcher.close()
        return [a if isinstance(a, BaseException) else a["y"].tolist() for a in answers][1:]

    return asyncio.run(all_of_them()), model.batches[1:]


def test_what_waits_goes_together_and_each_gets_its_own():
    seen = []
    answers, batches = play(
        [("s", [1]), ("s", [2, 3]), ("s", [4])], observe=lambda batch, seconds: seen.append([p.items for p in batch])
    )
    assert answers == [[2], [4, 6], [8]] and batches == [("s", [1, 2, 3, 4])]
    assert seen == [[1], [1, 2, 1]]


def test_no_batch_is_larger_than_allowed():
    answers, batches = play([("s", [1, 2, 3, 4, 5]), ("s", [6]), ("s", [7, 8, 9])], Limits(max_batch=3))
    assert answers == [[2, 4, 6, 8, 10], [12], [14, 16, 18]]
    assert [numbers for _, numbers in batches] == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_pixels_of_a_batch_are_bounded():
    limits = Limits(max_pixels=100)
    _, batches = play([("s", [1, 2, 3], [60, 60, 30]), ("s", [4], [90])], limits)
    assert [numbers for _, numbers in batches] == [[1], [2, 3], [4]]


def test_signatures_do_not_mix():
    answers, batches = play([("a", [1]), ("b", [2]), ("a", [3])])
    assert answers == [[2], [4], [6]] and batches == [("a", [1, 3]), ("b", [2])]


def test_one_callers_fault_is_no_others_and_is_named():
    answers, _ = play([("s", [1]), ("s", [2, -3, 4, -5]), ("s", [13]), ("s", [6])])
    assert answers[0] == [2] and answers[3] == [12]
    assert answers[1].code == grpc.StatusCode.INVALID_ARGUMENT
    assert str(answers[1]) == "x[1]: a negative number; x[3]: a negative number"
    assert answers[2].code == grpc.StatusCode.INTERNAL and "x[0]: RuntimeError: thirteen" in str(answers[2])


def test_the_place_is_that_in_the_request_not_in_the_batch():
    answers, _ = play([("s", [1, 2, 3, 4, -5])], Limits(max_batch=2))
    assert str(answers[0]) == "x[4]: a negative number"


@pytest.mark.parametrize("limits", [Limits(max_queue=3), Limits(max_waiting=30)])
def test_a_full_queue_refuses_and_serves_those_before(limits):
    answers, batches = play([("s", [1, 2, 3]), ("s", [4]), ("s", [5])], limits)
    assert answers[0] == [2, 4, 6] and batches == [("s", [1, 2, 3])]
    for refused in answers[1:]:
        assert isinstance(refused, RequestError) and refused.code == grpc.StatusCode.UNAVAILABLE
        assert "queue is full" in str(refused)


def test_a_caller_who_has_gone_costs_no_run():
    model = Model()

    async def leave():
        batcher = Batcher(model.run, Limits())
        tasks = []
        for i in range(3):
            tasks.append(asyncio.create_task(batcher.predict("s", {"x": np.array([float(i)])}, [1])))
            await asyncio.sleep(0.05)
        tasks[1].cancel()
        await asyncio.sleep(0)
        model.go.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        await batcher.close()
        return batcher.items

    assert asyncio.run(leave()) == 0
    assert [numbers for _, numbers in model.batches] == [[0], [2]]


def test_the_next_batch_does_not_wait_for_the_event_loop():
    model, during = Model(), []

    async def busy():
        batcher = Batcher(model.run, Limits())
        tasks = [asyncio.create_task(batcher.predict(name, {"x": np.array([1.0])}, [1])) for name in "abc"]
        await asyncio.sleep(0.05)
        model.go.set()
        end = time.monotonic() + 10  # the loop has other things in hand
        while len(model.batches) < 3 and time.monotonic() < end:
            time.sleep(0.01)
        during.extend(name for name, _ in model.batches)
        await asyncio.gather(*tasks)
        await batcher.close()

    asyncio.run(busy())
    assert during == ["a", "b", "c"]


def test_closing_answers_what_waits():
    model = Model()

    async def close():
        batcher = Batcher(model.run, Limits())
        tasks = [asyncio.create_task(batcher.predict("s", {"x": np.array([float(i)])}, [1])) for i in range(3)]
        await asyncio.sleep(0.05)
        model.go.set()
        await batcher.close()
        return [(await task)["y"].tolist() for task in tasks]

    assert asyncio.run(close()) == [[0], [2], [4]]


def test_a_wait_brings_company_to_the_first():
    model = Model()
    model.go.set()

    async def wait():
        batcher = Batcher(model.run, Limits(wait=0.3))
        first = asyncio.create_task(batcher.predict("s", {"x": np.array([1.0])}, [1]))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(batcher.predict("s", {"x": np.array([2.0])}, [1]))
        await asyncio.gather(first, second)
        await batcher.close()

    asyncio.run(wait())
    assert [numbers for _, numbers in model.batches] == [[1, 2]]
