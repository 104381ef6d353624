"""The replicas of a training: devices of one machine, or worker processes that TF_CONFIG names, by tf.distribute."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from itembed_tf.errors import UserError
from itembed_tf.expected_errors import error_line
from itembed_tf.progress import running_clock
from itembed_tf.training.cluster import read_cluster

Result = TypeVar("Result")

LOST = (  # what a collective operation raises when another worker is gone
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
)
AGAIN = "give all workers the same command again: the training continues from its last checkpoint"


class WorkerLost(UserError, RuntimeError):
    """Another worker has stopped or cannot be reached."""


@dataclass(frozen=True)
class Replicas:
    """The devices that share every batch.

    Attributes:
        strategy: of tf.distribute; None for one device.
        count: number of replicas.
        workers: number of processes, each with the same number of replicas.
        worker: number of this process; 0 is the chief, which evaluates and writes the run directory.
    """

    strategy: tf.distribute.Strategy | None = None
    count: int = 1
    workers: int = 1
    worker: int = 0

    @property
    def is_chief(self) -> bool:
        return self.worker == 0

    @property
    def local(self) -> range:
        """Numbers of the replicas of this process."""
        each = self.count // self.workers
        return range(self.worker * each, self.worker * each + each)

    def scope(self) -> AbstractContextManager[Any]:
        """In which the variables that a step changes are made, by all workers in the same order."""
        return self.strategy.scope() if self.strategy else nullcontext()

    def per_replica(self, parts: Sequence[Any]) -> Any:
        """The argument of a distributed step from the parts of the replicas of this process."""
        assert self.strategy is not None
        first = self.local.start
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: parts[int(context.replica_id_in_sync_group) - first]
        )

    def sum_of_workers(self, array: np.ndarray) -> np.ndarray:
        """The sum of the arrays of all workers, of one shape and dtype; all must call it."""
        if self.workers == 1:
            return array
        assert self.strategy is not None
        parts = [tf.constant(array), *(tf.zeros(array.shape, array.dtype) for _ in self.local[1:])]
        with self.losses_named():
            total: np.ndarray = self.strategy.reduce(tf.distribute.ReduceOp.SUM, self.per_replica(parts), None).numpy()
        return total

    def any_worker(self, condition: bool) -> bool:
        """Whether the condition holds in any worker; all must call it."""
        return bool(self.sum_of_workers(np.array([condition], np.int32))[0])

    def from_chief(self, result: Callable[[], Result]) -> Result:
        """What a function gives that the chief alone calls, in all workers; all must call this at the same time.

        With several workers it goes through JSON.

        Raises:
            WorkerLost: the function has failed on the chief, which raises the error itself.
        """
        if self.workers == 1:
            return result()
        if not self.is_chief:
            answer = json.loads(self._sent(b""))
            if "error" in answer:
                raise WorkerLost(f"worker 0 has stopped: {answer['error']}. Repair that, and {AGAIN}")
            found: Result = answer["result"]
            return found
        try:
            content = json.dumps({"result": result()})
        except BaseException as error:
            reason = error_line(error) if isinstance(error, Exception) else None
            with suppress(WorkerLost):
                self._sent(json.dumps({"error": reason or f"it was ended by {type(error).__name__}"}).encode())
            raise
        found = json.loads(self._sent(content.encode()))["result"]
        return found

    def _sent(self, content: bytes) -> bytes:
        """The bytes of the chief; the other workers give none."""
        size = int(self.sum_of_workers(np.array([len(content)], np.int64))[0])
        padded = np.zeros(size, np.int32)
        padded[: len(content)] = np.frombuffer(content, np.uint8)
        return self.sum_of_workers(padded).astype(np.uint8).tobytes()

    @contextmanager
    def losses_named(self) -> Iterator[None]:
        """Raise `WorkerLost` where a collective operation fails as another worker is gone."""
        try:
            yield
        except LOST as error:
            if self.workers == 1:
                raise
            raise WorkerLost(
                f"another of the {self.workers} workers has stopped or cannot be reached ({type(error).__name__}); its "
                f"own output says why. Then {AGAIN}"
            ) from error


ONE = Replicas()


def open_replicas() -> Replicas:
    """The replicas of this process's environment: the workers of TF_CONFIG, else all GPUs, else one device.

    It waits until all workers have started. It must be called before TensorFlow has been used.
    """
    cluster = read_cluster()
    if cluster:
        with running_clock(f"worker {cluster.number} of {cluster.size}: waiting until all have started"):
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
        return Replicas(strategy, strategy.num_replicas_in_sync, cluster.size, cluster.number)
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return ONE
    return Replicas(tf.distribute.MirroredStrategy([device.name for device in devices]), len(devices))
