"""Full or sampled softmax: the memory that the classes of the instance loss need, and the memory that is free."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from itembed_tf.config import Config, Stage, member_configs
from itembed_tf.config.classifier import Model
from itembed_tf.models.class_share import rows_of_share

SHARE = 0.5  # of the free memory for the classes; the rest is for the towers, cached features and batches
LOGITS = 3  # arrays of the size of the logits: they, their softmax and their gradient
# Arrays of the size of all class weights, or of the drawn ones, that a step adds on a CPU: gradients of both branches,
# their sum, the update's terms. Measured, as they depend on TensorFlow's allocator (`benchmarks.plan_check`).
STEP_ARRAYS, DRAWN_ARRAYS = 9, 6
MOMENTS = {"sgd": 1, "adam": 2, "adamw": 2}
CGROUPS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


def choose_softmax(config: Config, classes: int, free: int | None = None, replicas: int = 1) -> tuple[Config, str]:
    """The config with the softmax that ``model.softmax = "auto"`` gives, and a line for the screen that says why.

    The line is empty, and the config unchanged, where it names a softmax or has no classifier. Full is exact, and is
    chosen where it needs at most half of the free memory, `free` bytes (None: `free_memory`). Where it needs more,
    sharded is as exact, if each of several `replicas` has the memory for its share, and the chief for a copy of all
    weights and moments, for checkpoints.

    Raises:
        ValueError: not even the class weights and their moments fit into the free memory.
    """
    if config.model.softmax != "auto" or config.model.classifier == "none":
        return config, ""
    encoders = [(each, stage) for each in member_configs(config) for stage in each.stages]  # trained one by one
    full = max(full_bytes(each, stage, classes) for each, stage in encoders)
    shared = max(full_bytes(each, stage, rows_of_share(classes, replicas)) for each, stage in encoders)
    held = max(held_bytes(each, stage, classes) for each, stage in encoders)
    on_gpu = free is None and _has_gpu()  # the copy is then in the memory of the machine
    free = free_memory() if free is None else free
    room = held <= machine_memory() if on_gpu else shared + held <= free
    needs = f"which need {gigabytes(full)} of {gigabytes(free)} free memory"
    if full > SHARE * free and replicas > 1 and shared <= SHARE * free and room:
        model = replace(config.model, softmax="sharded", sampled_classes=Model.sampled_classes)
        line = f"softmax: sharded, {classes:,} classes, {needs}: each of {replicas} replicas needs {gigabytes(shared)}"
    elif full <= SHARE * free or any(stage.jit for stage in config.stages):
        model = replace(config.model, softmax="full", sampled_classes=Model.sampled_classes)
        line = f"softmax: full, over {classes:,} classes, {needs}"
    else:
        if held > free:
            raise ValueError(
                f"{classes:,} classes need {gigabytes(held)} for their weights and moments, and {gigabytes(free)} are "
                'free: lower embedding_size, set classes.clusters, or train without classes: model.classifier = "none" '
                "and stages with infonce"
            )
        model = replace(config.model, softmax="sampled")
        line = f"softmax: sampled, {model.sampled_classes:,} classes a step: all are {classes:,}, {needs}"
    return replace(config, model=model), f'{line} (model.softmax = "auto")'


def held_bytes(config: Config, stage: Stage, classes: int) -> int:
    """Bytes for the class weights of a stage with either softmax: the weights, their moments, the best ones so far."""
    return (1 + moments(stage) + (stage.keep == "best")) * 4 * classes * config.embedding_size


def moments(stage: Stage) -> int:
    """Arrays of the size of the weights that the optimiser of a stage keeps."""
    return 0 if stage.optimizer == "sgd" and not stage.momentum else MOMENTS[stage.optimizer]


def full_bytes(config: Config, stage: Stage, classes: int) -> int:
    """Bytes for the classes in a step of the full softmax; dense gradients, moving average and logits included."""
    dense = (STEP_ARRAYS + bool(stage.average)) * 4 * classes * config.embedding_size
    logits = LOGITS * 4 * classes * stage.batch_size * (1 + config.data.captions)
    return held_bytes(config, stage, classes) + dense + logits


def _has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def free_memory() -> int:
    """Bytes of free memory: of the first GPU where there is one, else `machine_memory`."""
    from tensorflow.python.client import device_lib

    if _has_gpu():
        return min(device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU")
    return machine_memory()


def machine_memory() -> int:
    """Bytes of free memory of this machine, within the limit of its cgroup; TensorFlow is not imported.

    Where the system does not say what is free (macOS), all memory of the machine.
    """
    free = _available()
    for limit, used in CGROUPS:
        try:
            most, now = (int((Path("/sys/fs/cgroup") / file).read_text()) for file in (limit, used))
        except (OSError, ValueError):  # no such cgroup, or "max": no limit
            continue
        free = min(free, max(most - now, 0))
    return free


def _available() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
