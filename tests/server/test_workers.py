"""Several server processes behind one port: who answers, what the metrics add up, and what ends them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.served import local_server
from itembed_tf import serve
from itembed_tf.client import Client, ServingError
from itembed_tf.errors import UsageError, UserError
from itembed_tf.server import ports, supervisor
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="--workers needs Linux")
CONNECTIONS = 24  # that all of them go to one of two workers has a probability of 1e-7


def workers_of(process: int) -> list[int]:
    """Processes that another one has started."""
    return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def embed_once(address: str) -> bool:
    """One request; whether it was answered. By REST, each has its own connection; gRPC shares one in a process."""
    with Client(address, retries=0, timeout=2.0) as client:
        try:
            return len(client.embed_texts(["a dog"]).embedding) == 1
        except ServingError:
            return False


def answered(address: str) -> int:
    """How many of `CONNECTIONS` requests are answered."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return sum(pool.map(embed_once, [address] * CONNECTIONS))


def metric(server, name: str) -> float:
    with urllib.request.urlopen(f"{server.rest}/monitoring/prometheus/metrics") as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


@pytest.fixture(scope="module")
def server(toy_exports, tmp_path_factory):
    exports = toy_exports.copy(tmp_path_factory.mktemp("exports"))
    with local_server(exports, "--workers", "2", "--threads", "1") as served:
        yield served


def test_both_workers_answer_and_their_metrics_are_added(server):
    before = metric(server, ":tensorflow:serving:request_count{")
    assert answered(server.grpc) == answered(server.rest) == CONNECTIONS
    assert metric(server, ":tensorflow:serving:request_count{") - before == 2 * CONNECTIONS
    first, second = workers_of(server.process.pid)
    pages = [int(Path(f"/proc/{number}/statm").read_text().split()[1]) for number in (first, second)]
    both = sum(pages) * os.sysconf("SC_PAGE_SIZE")
    assert metric(server, "process_resident_memory_bytes") == pytest.approx(both, rel=0.1)
    os.kill(first, signal.SIGSTOP)  # the kernel goes on to give it connections
    try:
        assert 0 < answered(server.rest) < CONNECTIONS
    finally:
        os.kill(first, signal.SIGCONT)


def test_a_worker_that_is_killed_is_replaced(server):
    first, second = workers_of(server.process.pid)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: first not in workers_of(server.process.pid))
    assert answered(server.rest) == CONNECTIONS  # by the other one, while the new one loads
    counted = metric(server, ":tensorflow:serving:request_count{")
    assert counted >= CONNECTIONS  # what the killed one has counted is kept
    wait_until(lambda: len(workers_of(server.process.pid)) == 2)
    assert second in workers_of(server.process.pid)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_ports_cannot_be_taken_by_another_server(server, toy_exports, tmp_path, workers):
    port = server.grpc.rpartition(":")[2]
    command = [sys.executable, "-m", "itembed_tf", "serve", str(toy_exports.copy(tmp_path)), "--workers", workers]
    done = subprocess.run(
        [*command, "--grpc-port", port, "--rest-port", "0"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr and "choose another with --grpc-port" in done.stderr


def test_sigterm_ends_all(server):
    """The last test of this server."""
    children = workers_of(server.process.pid)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    assert not any(Path(f"/proc/{number}").exists() for number in children)


def test_workers_end_when_the_supervisor_is_killed(toy_exports, tmp_path):
    with local_server(toy_exports.copy(tmp_path), "--workers", "2", "--threads", "1") as server:
        children = workers_of(server.process.pid)
        server.process.kill()
        wait_until(lambda: not any(running(number) for number in children))


def running(process: int) -> bool:
    """Whether a process exists that is no zombie."""
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_an_error_of_all_workers_is_printed_once(tmp_path):
    broken = tmp_path / "text_encoder" / "1"
    broken.mkdir(parents=True)
    (broken / "saved_model.pb").write_bytes(b"not a model")
    ports = ("--grpc-port", "0", "--rest-port", "0")
    command = [sys.executable, "-m", "itembed_tf", "serve", str(tmp_path), "--workers", "3", *ports]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1 and "worker 1 could not start" in done.stderr


@pytest.mark.parametrize("shares", [False, True])
def test_a_port_of_another_program_is_refused_even_if_it_would_share_it(shares):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"), ports.reserved_port("127.0.0.1", other.getsockname()[1]):
            pass


def test_a_reserved_port_is_kept_from_a_second_reservation():
    first = ports.reserved_port("127.0.0.1", 0)
    with first as port, pytest.raises(OSError, match="in use"), ports.reserved_port("127.0.0.1", port):
        pass
    with ports.reserved_port("127.0.0.1", port) as again:
        assert again == port


def test_other_systems_are_refused(monkeypatch, tmp_path, capsys):
    (tmp_path / "text_encoder" / "1").mkdir(parents=True)
    (tmp_path / "text_encoder" / "1" / "saved_model.pb").touch()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UsageError, match="needs Linux"):
        ports.check_shared_ports()
    assert serve.main([str(tmp_path), "--workers", "2"]) == 2
    assert "--workers above 1 needs Linux" in capsys.readouterr().err


def test_a_worker_may_end_while_its_memory_is_read() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert supervisor.resident_mib(ended.pid) == 0 and supervisor.resident_mib(os.getpid()) > 1


def test_workers_that_end_again_and_again_end_the_server(capsys):
    async def run() -> None:
        ready_then_end = [sys.executable, "-c", f"import os; os.write(0, {supervisor.READY})"]
        group = supervisor.WorkerGroup(ready_then_end, dict(os.environ))
        await group.keep_running(await group.start(1))

    with pytest.raises(UserError, match=r"worker 1 .* ended with exit code 0, the 5th within 60 s"):
        asyncio.run(run())
    assert capsys.readouterr().err.count("another one is started") == supervisor.MAX_DEATHS - 1


def test_a_worker_that_is_killed_while_it_starts_is_named():
    async def run() -> None:
        group = supervisor.WorkerGroup([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], dict(os.environ))
        await group.start(2)

    with pytest.raises(UserError, match="worker 2 was ended by SIGKILL while it started"):
        asyncio.run(run())
