"""Expected errors: which exceptions end a command with one line in place of a traceback, and what that line says.

Errors of our own (`UserError`) say what to do themselves. This module adds it to those of Python and its libraries.
"""

from __future__ import annotations

import errno
import re
import sys
import zipfile
from types import TracebackType

from itembed_tf.errors import UserError
from itembed_tf.extras import FEATURES

TRACEBACK = "ITEMBED_TRACEBACK"  # environment variable: raise errors with their traceback
EXPECTED = (UserError, OSError, ValueError, ImportError, MemoryError, EOFError, zipfile.BadZipFile)
NO_SPACE = "free some space on that disk, and give the same command again"
REMEDIES = {
    errno.ENOENT: "restore it, or correct the path",
    errno.ENOSPC: NO_SPACE,
    errno.EDQUOT: NO_SPACE,
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or name a folder on another file system",
    errno.EEXIST: "it is in the way: remove it, or name another folder",
    errno.ENOTDIR: "a file is in the place of a folder: name another folder",
    errno.EISDIR: "a folder is in the place of a file: remove it, or name another file",
    errno.EROFS: "the file system is read-only: name a folder that can be written",
    errno.EACCES: "change its permissions, or name another folder",
    errno.EPERM: "change its permissions, or name another folder",
    errno.EMFILE: "raise the limit of open files, for example: ulimit -n 4096",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.EIO: "the disk reports a failure: check it, and restore the file from a copy",
    errno.ESTALE: "the network volume has changed under this process: give the same command again",
}
# Of SQLite, in which an index is; other errors of it are bugs.
DATABASE_REMEDIES = {
    "database or disk is full": NO_SPACE,
    "attempt to write a readonly database": "the index cannot be written: change its permissions, or use a copy",
    "unable to open database file": "change the permissions of the folder, or name another one",
    "disk I/O error": REMEDIES[errno.EIO],
    "database is locked": "another process writes to the index for long: give the same command again",
    "database disk image is malformed": "the index is damaged: `itembed index INDEX --verify` says where; restore it "
    "from a backup, or rebuild it",
}
# Names of nodes, ops and steps of an input pipeline in TensorFlow's messages.
NAMES = r"\{\{.*?\}\}\s?|\s*\[\[.*?\]\]|\s*\[Op:.*$|Error in user-defined function .*? with iterator: \S+: "
LIBRARIES = {"tensorflow": "TensorFlow", "keras": "Keras", "numpy": "NumPy", "h5py": "h5py", "sklearn": "scikit-learn"}


def error_line(error: Exception) -> str | None:
    """What a command prints after ``error: ``; None for an unexpected error, a bug that a traceback helps to find."""
    message = str(error) or type(error).__name__
    if isinstance(error, UserError):
        return message
    if _is_of_tensorflow(error):
        return _tensorflow_line(str(error.message), type(error).__name__)  # type: ignore[attr-defined]
    if "in user code:" in message:  # raised while TensorFlow traced a function
        return _traced_line(message)
    if isinstance(error, OSError):
        remedy = REMEDIES.get(error.errno or 0)
        return f"{message}; {remedy}" if remedy else message
    if type(error).__module__ == "sqlite3":
        return next((f"{message}; {DATABASE_REMEDIES[text]}" for text in DATABASE_REMEDIES if text in message), None)
    if isinstance(error, ImportError):
        return f"{message}; {_installation(error.name or '')}"
    if isinstance(error, MemoryError):
        return f"not enough memory ({message}): close other programs, or use a smaller batch_size or image.size"
    if library := LIBRARIES.get(_raised_by(error.__traceback__)):
        return _library_line(library, message)
    return message if isinstance(error, EXPECTED) else None


def _is_of_tensorflow(error: Exception) -> bool:
    """Whether it is an error of an op. TensorFlow is not imported for this."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(error, tensorflow.errors.OpError)


def _tensorflow_line(message: str, kind: str) -> str:
    noise = ("Graph execution error", "Detected at node", "<stack traces", "File ", "Function call stack")
    lines = [line for line in message.splitlines() if line.strip() and not line[0].isspace()]
    lines = [line for line in lines if not line.startswith(noise)] or [kind]
    reason = re.sub(NAMES, "", lines[0]).strip() or kind
    if found := re.fullmatch(r"(.+); No such file or directory", reason):
        return f"the file {found.group(1)} is missing; restore it, and give the same command again"
    if "No space left on device" in message:
        return f"{reason}; {NO_SPACE}"
    if kind == "ResourceExhaustedError":
        return f"not enough memory for a step ({reason}): use a smaller batch_size or image.size"
    return _library_line("TensorFlow", reason)


def _traced_line(message: str) -> str:
    """The error inside a traced function: our own as it is, another one with its library."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    places = [line for line in lines if line.startswith("File ")]
    reason = re.sub(r"^[\w.]*(Error|Exception): ", "", lines[-1])
    ours = bool(places) and "itembed_tf" in places[-1]
    return reason if ours else _library_line("TensorFlow", reason)


def _library_line(library: str, message: str) -> str:
    reason = " ".join(message.split())
    reason = f"{reason[:300]} ..." if len(reason) > 300 else reason
    return (
        f"{library} stopped with: {reason}. Check the settings and files that this command reads; with {TRACEBACK}=1 "
        "in the environment it shows where this happened"
    )


def _raised_by(traceback: TracebackType | None) -> str:
    """The top-level package of the function that raised an error."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    name = traceback.tb_frame.f_globals.get("__name__", "") if traceback else ""
    return str(name).partition(".")[0]


def _installation(module: str) -> str:
    extras = (feature.extra for feature in FEATURES.values() if module.partition(".")[0] in feature.modules)
    extra = next(extras, None)
    package = f"itembed_tf[{extra}]" if extra else "itembed_tf"
    return f"the installation is incomplete; run: pip install '{package}'"
