"""The benchmarks of the local server run, and report a missed bar."""

from __future__ import annotations

import asyncio
import random

import grpc
import grpc.aio
import pytest

from benchmarks import hostile, hot_swap, serve_load, served_search
from benchmarks.grpc_load import load_grpc
from benchmarks.hostile_requests import HEAVY, KINDS, draw_kinds


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("program", "options"), [(serve_load, []), (hot_swap, []), (hot_swap, ["--workers", "2"]), (hostile, [])]
)
def test_quick(program, options, capsys, toy_exports, monkeypatch):
    def copy_export(out, seed=0):
        return toy_exports.copy(out, seed + 1)

    monkeypatch.setattr(program, "toy_export", copy_export)
    assert program.main(["--quick", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(program.__name__.split(".")[1] + ": ") and lines[-1].endswith(" ok")


@pytest.mark.benchmark
def test_the_served_search_finds_what_the_library_finds(capsys):
    assert served_search.main(["--quick"]) == 0
    assert "0 of 200 queries differ" in capsys.readouterr().out.splitlines()[-1]


def test_every_bar_of_serve_load(monkeypatch, tmp_path, capsys):
    row = {"tensorflow rate": [100.0], "litert rate": [260.0], "litert tail": [2.0], "failed": [0.0]}
    for change, status in (
        ({}, 0),
        ({"litert rate": [240.0]}, 1),
        ({"litert tail": [3.5]}, 1),
        ({"failed": [1.0]}, 1),
    ):
        monkeypatch.setattr(serve_load, "measure", lambda *_, change=change: row | change)
        assert serve_load.main([str(tmp_path)]) == status
        assert capsys.readouterr().out.rstrip().endswith(["ok", "short"][status])


def test_the_load_counts_answers_and_failures():
    async def load() -> tuple[tuple[list[float], int], tuple[list[float], int]]:
        async def answer(request: bytes, context: object) -> bytes:
            return request * 1000

        handlers = {"Right": grpc.unary_unary_rpc_method_handler(answer)}
        server = grpc.aio.server()
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test", handlers)])
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        both = [await load_grpc(address, f"/test/{name}", [b"a", b"bb"], 3, 0.3) for name in ("Right", "Wrong")]
        await server.stop(0)
        return both[0], both[1]

    (answered, failed), (wrongly_answered, all_failed) = asyncio.run(load())
    assert len(answered) >= 3 and not failed and 0 < max(answered) < 10
    assert not wrongly_answered and all_failed >= 3


def test_every_kind_of_attack_is_sent():
    sent = draw_kinds(random.Random(0), 2000)
    assert len(sent) == 2000 and set(sent) == set(KINDS) and set(HEAVY) < set(KINDS)
