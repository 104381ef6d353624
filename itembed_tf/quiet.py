"""TensorFlow without its own log on the screen. To see the log, set TF_CPP_MIN_LOG_LEVEL=0 in the environment."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from itembed_tf.files import check_temporary_folder
from itembed_tf.progress import running_clock

LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def quiet_tensorflow() -> None:
    """Switch off the log of TensorFlow's C++ code, before its import; a level that the user has set stays.

    Only the log changes: TF_ENABLE_ONEDNN_OPTS, which changes numerical results, stays as it is.
    """
    os.environ.setdefault(LEVEL, "3")


def load_tensorflow() -> None:
    """Import TensorFlow and Keras without the lines that they print while they load, and switch off their warnings.

    While its libraries load, TensorFlow prints that it finds no GPU, whatever the level of its log is.

    Raises:
        UserError: there is no folder for temporary files, which the import needs.
    """
    check_temporary_folder()
    if "tensorflow" in sys.modules or os.environ.get(LEVEL, "3") != "3":
        return
    os.environ[LEVEL] = "3"
    with running_clock("loading TensorFlow"), silent_stderr():
        import keras  # noqa: F401 - takes a second more
        import tensorflow  # noqa: F401
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Discard what native libraries print to standard error (file descriptor 2) during the block.

    Python's `sys.stderr` goes on to print. For calls of libraries that have no setting for their log.
    """
    try:
        saved = os.dup(2)
    except OSError:  # the process has no standard error
        yield
        return
    before = sys.stderr
    before.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        if before is sys.__stderr__:
            sys.stderr = os.fdopen(saved, "w", buffering=1, errors="replace", closefd=False)
        os.dup2(null, 2)
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
