"""The start of TensorFlow in a command: quiet, and without packages that Keras imports and no command needs.

To see TensorFlow's log, set TF_CPP_MIN_LOG_LEVEL=0 in the environment.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from itembed_tf.files import check_temporary_folder
from itembed_tf.progress import running_clock

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# Keras imports these where they are installed, for plots, for use inside scikit-learn, and to train on data frames:
# more than a third of the CPU time of importing TensorFlow and Keras.
OPTIONAL = ("matplotlib", "sklearn", "pandas", "cv2")


def quiet_tensorflow() -> None:
    """Switch off the log of TensorFlow's C++ code, before its import; a level that the user has set stays.

    Only the log changes: TF_ENABLE_ONEDNN_OPTS, which changes numerical results, stays as it is.
    """
    os.environ.setdefault(LEVEL, "3")


def load_tensorflow() -> None:
    """Import TensorFlow and Keras without the lines that they print while they load, and switch off their warnings.

    While its libraries load, TensorFlow prints that it finds no GPU, whatever the level of its log is. The packages
    of `OPTIONAL` stay out: `keras.visualization` and `keras.wrappers` then do not work in this process, which belongs
    to a command.

    Raises:
        UserError: there is no folder for temporary files, which the import needs.
    """
    check_temporary_folder()
    if "tensorflow" in sys.modules:
        return
    quiet = os.environ.setdefault(LEVEL, "3") == "3"
    with running_clock("loading TensorFlow"), silent_stderr() if quiet else nullcontext(), not_installed(OPTIONAL):
        import keras  # noqa: F401 - takes a second more
        import tensorflow  # noqa: F401
    if quiet:
        for name in ("tensorflow", "absl"):
            logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def not_installed(packages: Sequence[str]) -> Iterator[None]:
    """Packages that are not yet imported cannot be imported during the block, as if they were not installed."""
    absent = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: the documented way to block an import
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


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
