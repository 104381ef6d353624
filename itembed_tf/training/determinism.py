"""Deterministic operations: the setting, for the whole process, and what happens where TensorFlow lacks one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import tensorflow as tf

# TensorFlow has no public function that ends or asks for determinism.
from tensorflow.python.framework.config import disable_op_determinism, is_op_determinism_enabled

from itembed_tf.config import Config
from itembed_tf.errors import UserError
from itembed_tf.expected_errors import NAMES
from itembed_tf.training.errors import RunError


def set_determinism(config: Config) -> Config:
    """Make TensorFlow's operations deterministic, or not, for the whole process.

    Returns:
        The config without ``determinism = "auto"``, which is "on", and on a machine with a GPU "off": there it costs
        time, and some operations have no deterministic kernel.
    """
    choice = config.determinism
    if choice == "auto" and tf.config.list_physical_devices("GPU"):
        choice = "off"
        print('determinism: off, as this machine has a GPU (determinism = "auto")', flush=True)
    elif choice == "auto":
        choice = "on"
    if choice == "on":
        tf.config.experimental.enable_op_determinism()
    else:
        disable_op_determinism()  # of an earlier training of this process
    return replace(config, determinism=choice)


@contextmanager
def missing_kernels_named() -> Iterator[None]:
    """Name the setting where an operation cannot be computed deterministically.

    Raises:
        RunError: in place of TensorFlow's error.
    """
    try:
        yield
    except (tf.errors.OpError, RuntimeError) as error:
        lines = [line for line in str(error).splitlines() if re.match(r"\S.*determin", line, re.IGNORECASE)]  # no paths
        if isinstance(error, UserError) or not lines or not is_op_determinism_enabled():
            raise
        reason = re.sub(NAMES, "", lines[0]).strip()
        raise RunError(
            f"an operation of this training cannot be deterministic on this device ({reason}): give the same command "
            "with --set determinism=off; a run that has begun continues from its last checkpoint"
        ) from error
