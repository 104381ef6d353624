"""TF_CONFIG: the worker processes of a training, as TensorFlow, Kubeflow and others describe them. No TensorFlow."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from itembed_tf.config import Config, ConfigError
from itembed_tf.errors import UsageError

VARIABLE = "TF_CONFIG"
EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}, with the index of '
    "each worker (docs/workers.md)"
)


class Cluster(NamedTuple):
    """Several workers: how many, the number of this one (0: the chief), and all their addresses."""

    size: int
    number: int
    addresses: tuple[str, ...]


def read_cluster() -> Cluster | None:
    """The cluster of TF_CONFIG; None where it is not set or names one worker.

    Raises:
        UsageError: it cannot be used; the message says why, and what one looks like.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _refused(f"is not JSON ({error})") from error
    jobs = content.get("cluster", {}) if isinstance(content, dict) else None
    if not isinstance(jobs, dict) or not all(_is_job(hosts) for hosts in jobs.values()):
        raise _refused('needs "cluster", with a list of addresses "host:port" for each kind of worker')
    if other := sorted(set(jobs) - {"chief", "worker"}):
        raise _refused(f"has {' and '.join(other)} in its cluster; every process trains here: name chief and worker")
    if len(jobs.get("chief", [])) > 1:
        raise _refused("has more than one chief")
    addresses = (*jobs.get("chief", []), *jobs.get("worker", []))
    if len(set(addresses)) < len(addresses):
        raise _refused("has an address twice")
    if len(addresses) <= 1:
        return None
    return Cluster(len(addresses), _own_number(content.get("task"), jobs), addresses)


def check_shares(config: Config, count: int, *, workers: int = 1) -> None:
    """Check that every batch of a config can be shared equally by `count` replicas, of several processes or one.

    Raises:
        ConfigError: it cannot, or the config has a setting that does not work on several replicas.
    """
    if config.members and workers > 1:
        raise ConfigError(
            f"members = {len(config.members)}: the members of an ensemble are trained by one process, on all GPUs of "
            f"its machine, and {VARIABLE} names {workers}: unset it, or set members = 0"
        )
    if config.model.softmax == "sharded" and config.precision == "mixed_float16" and count > 1:
        raise ConfigError(
            'precision = "mixed_float16": with model.softmax = "sharded" replicas would skip different steps where '
            'gradients overflow: set precision = "mixed_bfloat16" or "float32", or model.softmax = "full"'
        )
    for number, stage in enumerate(config.stages):
        if stage.accumulate > 1 and count > 1:
            raise ConfigError(
                f"stages.{number}.accumulate = {stage.accumulate}: a batch is passed in parts on one device only, and "
                f"{count} replicas share it already: set accumulate = 1"
            )
        for key, value in (("batch_size", stage.batch_size), ("mining", stage.mining)):
            if value % count:
                raise ConfigError(
                    f"stages.{number}.{key} = {value}: {count} replicas (GPUs, or workers of {VARIABLE}) share every "
                    f"batch equally: set a multiple of {count}, such as {max(round(value / count), 1) * count}, or use "
                    "fewer (CUDA_VISIBLE_DEVICES)"
                )


def check_batches(config: Config, images: int, count: int) -> None:
    """Check that a batch of all training images, where they are fewer than batch_size, can be shared by replicas.

    Raises:
        ConfigError: it cannot.
    """
    for number, stage in enumerate(config.stages):
        batch = min(stage.batch_size, images)
        if batch % count:
            raise ConfigError(
                f"stages.{number}.batch_size = {stage.batch_size}: the batch is all {images} training images, which "
                f"{count} replicas cannot share equally: set batch_size = {images // count * count}"
            )


def _is_job(hosts: Any) -> bool:
    return isinstance(hosts, list) and all(isinstance(host, str) and ":" in host for host in hosts)


def _own_number(task: Any, jobs: dict[str, list[str]]) -> int:
    """The number of this worker among all of them, the chief first."""
    if not isinstance(task, dict) or not isinstance(task.get("index"), int) or isinstance(task["index"], bool):
        raise _refused('needs "task", with "type" and "index" of this worker')
    kind, index = task.get("type"), task["index"]
    if kind not in jobs:
        raise _refused(f'has the task type "{kind}", and the cluster has {" and ".join(jobs)}')
    if not 0 <= index < len(jobs[kind]):
        raise _refused(
            f'has the task index {index}, and the cluster has {len(jobs[kind])} of type "{kind}": 0 to '
            f"{len(jobs[kind]) - 1}"
        )
    return index + (len(jobs.get("chief", [])) if kind == "worker" else 0)


def _refused(problem: str) -> UsageError:
    return UsageError(f"the environment variable {VARIABLE} {problem}. One that can be used: {EXAMPLE}; or unset it")
