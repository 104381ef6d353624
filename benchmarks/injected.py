"""The faults of `benchmarks.faults`: each hits one training of a stopped run. A further kind is a line of `FAULTS`."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from benchmarks.observed_encoding import killed_encoding
from benchmarks.tiny_runs import Ended, Place
from benchmarks.worker_processes import cluster_variable, free_ports

SECONDS = 12.0  # of a process of a tiny training, most of it imports
OFTEN = ("--set", "stages.0.checkpoint_minutes=0")
ENDED = (0, -signal.SIGKILL)
SIGTERM_CODES = (0, 75, -signal.SIGTERM)  # the last: before Python runs the program
LOST_SECONDS = 120  # within which the workers that are left must end
WORKER = """
import os, signal, sys
from itembed_tf import cli
from itembed_tf.training.step_scalars import StepScalars
left, add = int(sys.argv[1]), StepScalars.add
def add_or_die(scalars, values):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    add(scalars, values)
StepScalars.add = add_or_die
sys.exit(cli.main(sys.argv[2:]))
"""  # trains; the first argument is the step in which the worker dies, 0 for none
Injected = Callable[[Place, random.Random], AbstractContextManager[Ended]]


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        name: what happens.
        injected: a context: the training that the fault hits has ended, and the fault lasts until its end.
        codes: allowed exit codes of that training.
        says: texts of its output, where it fails.
        own_process: whether it needs a process of its own, which takes seconds.
        encodes: whether it hits a new training that computes its features, with an empty cache; else a stopped one.
    """

    name: str
    injected: Injected
    codes: tuple[int, ...] = (1,)
    says: tuple[str, ...] = ()
    own_process: bool = False
    encodes: bool = False


class Progress(NamedTuple):
    """Where the newest whole checkpoint of a run is; epoch -1: after the last stage, or nowhere."""

    epoch: int
    step: int


def progress(run: Path) -> Progress:
    for file in sorted(run.glob("checkpoints/*.npz"), reverse=True):
        try:
            with np.load(file) as saved:
                state = json.loads(str([saved[name] for name in saved.files] and saved["state"]))["stage"]
        except Exception:  # damaged
            continue
        return Progress(state["epoch"], state["step"]) if state else Progress(-1, 0)
    return Progress(-1, 0)


def _stopped_process(number: int) -> Injected:
    """Send a signal to a training in a process of its own, at a random moment."""

    @contextmanager
    def injected(place: Place, draw: random.Random) -> Iterator[Ended]:
        process = place.process("-m", "itembed_tf", "train", place.config, place.run, *OFTEN)
        try:
            output = process.communicate(timeout=draw.uniform(0.0, SECONDS))[0]
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            output = process.communicate()[0]
        yield process.returncode, output

    return injected


@contextmanager
def terminated(place: Place, draw: random.Random) -> Iterator[Ended]:
    """SIGTERM in the middle of a training, in this process."""

    def terminate(scalars: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return scalars

    with _at_step(draw, terminate):
        ended = place.train()
    yield ended


@contextmanager
def not_a_number(place: Place, draw: random.Random) -> Iterator[Ended]:
    """The loss of a step is NaN."""
    with _at_step(draw, lambda scalars: scalars | {"loss": scalars["loss"] * float("nan")}):
        ended = place.train()
    yield ended
    written = json.loads((place.run / "failed_batch.json").read_text(encoding="utf-8"))
    assert len(written["images"]) == len(written["captions"]) == 8
    (place.run / "failed_batch.json").unlink()


@contextmanager
def _at_step(draw: random.Random, change: Callable[[Any], Any]) -> Iterator[None]:
    """Change what a step returns: one of the four that are left of the stopped run."""
    from itembed_tf.training.step_scalars import StepScalars

    add, left = StepScalars.add, draw.randrange(4)

    def changed(scalars: StepScalars, values: Any) -> None:
        nonlocal left
        left -= 1
        add(scalars, change(values) if left == -1 else values)

    with mock.patch.object(StepScalars, "add", changed):
        yield


@contextmanager
def full_disk(place: Place, draw: random.Random) -> Iterator[Ended]:
    """No space at one of the writes of the training: a checkpoint, the log of an epoch, weights or metrics."""
    fsync, left = os.fsync, draw.randrange(8)

    def full(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with mock.patch.object(os, "fsync", full):
        ended = place.train(*OFTEN)
    yield ended


@contextmanager
def file_limit(place: Place, draw: random.Random) -> Iterator[Ended]:
    """A limit of file sizes (ulimit -f) below that of a checkpoint; nothing after the limit is written."""
    size = min(file.stat().st_size for file in place.run.glob("checkpoints/*.npz"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (draw.randrange(size // 4, size // 2), limits[1]))
    try:
        ended = place.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    yield ended


@contextmanager
def truncated(place: Place, draw: random.Random) -> Iterator[Ended]:
    """The newest checkpoint is cut, or one of its bytes is another."""
    newest = max(place.run.glob("checkpoints/*.npz"))
    content = bytearray(newest.read_bytes())
    at = draw.randrange(len(content) // 2)
    if draw.random() < 0.5:
        content = content[:at]
    else:
        content[at : at + 64] = bytes(64)
    newest.write_bytes(content)
    yield 0, ""


@contextmanager
def all_truncated(place: Place, draw: random.Random) -> Iterator[Ended]:
    """All checkpoints are cut; they are restored from a copy afterwards, as the error says."""
    kept = {file: file.read_bytes() for file in place.run.glob("checkpoints/*.npz")}
    for file, content in kept.items():
        file.write_bytes(content[: draw.randrange(len(content))])
    ended = place.train()
    for file, content in kept.items():
        file.write_bytes(content)
    yield ended


@contextmanager
def two_trainings(place: Place, draw: random.Random) -> Iterator[Ended]:
    """Another process trains into the directory."""
    holder = place.hold(place.run)
    ended = place.train()
    holder.kill()
    holder.wait()
    yield ended


@contextmanager
def read_only(place: Place, draw: random.Random) -> Iterator[Ended]:
    """The run directory cannot be written: every name that is opened there for writing is refused."""
    opened, code = os.open, draw.choice((errno.EROFS, errno.EACCES))

    def refused(path: Any, flags: int, *more: Any, **settings: Any) -> int:
        if str(path).startswith(str(place.run)) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(code, os.strerror(code), str(path))
        return opened(path, flags, *more, **settings)

    with mock.patch.object(os, "open", refused):
        ended = place.train()
    yield ended


@contextmanager
def dead_worker(place: Place, draw: random.Random) -> Iterator[Ended]:
    """Two workers continue the run, and one is killed in one of the four steps that are left."""
    ports, killed, step = free_ports(2), draw.randrange(2), draw.randrange(1, 5)
    workers = []
    for number in range(2):
        late = "stages.0.checkpoint_minutes=1000"  # the next process then begins at the checkpoint of one process
        words = ("-c", WORKER, step if number == killed else 0, "train", place.config, place.run, "--set", late)
        with mock.patch.dict(os.environ, cluster_variable(number, ports)):
            workers.append(place.process(*words))
    other = workers[1 - killed]
    workers[killed].wait()
    output = other.communicate(timeout=LOST_SECONDS)[0]
    yield other.returncode, output


FAULTS = (
    Fault("kill -9", _stopped_process(signal.SIGKILL), ENDED, own_process=True),
    Fault("SIGTERM to a process", _stopped_process(signal.SIGTERM), SIGTERM_CODES, own_process=True),
    Fault("SIGTERM in a step", terminated, (75,), ("a checkpoint was saved", "continue with")),
    Fault("a full disk", full_disk, (0, 1), ("free some space",)),
    Fault("a limit of file sizes", file_limit, (1,), ("ulimit -f",)),
    Fault("the newest checkpoint is damaged", truncated, (0,)),
    Fault("all checkpoints are truncated", all_truncated, (1,), ("is damaged", "restore it from a copy")),
    Fault("a loss of NaN", not_a_number, (1,), ("loss nan", "last good checkpoint", "failed_batch.json")),
    Fault("two trainings in one directory", two_trainings, (1,), ("is in use by process",), own_process=True),
    Fault("a read-only directory", read_only, (1,)),
    Fault("a kill in the feature cache", killed_encoding, (-signal.SIGKILL,), own_process=True, encodes=True),
    Fault("a dead worker", dead_worker, (1,), ("give all workers the same command again",), own_process=True),
)
