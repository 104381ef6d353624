"""Arrays from an ``.npz`` file that may come from a stranger: bounded sizes, no pickle."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What a damaged file raises, while its arrays or its header are read.
DAMAGE = (KeyError, TypeError, AttributeError, ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error)


def read_arrays(content: bytes, *, max_bytes: int, max_header: int) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` file by name. Their sizes are checked first: a small archive can hold huge ones.

    Args:
        content: of the file.
        max_bytes: of all arrays.
        max_header: bytes of the array ``header``.

    Raises:
        one of `DAMAGE`: larger arrays, or a damaged file.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    if sum(sizes.values()) > max_bytes or sizes.get("header.npy", 0) > max_header:
        raise ValueError(f"arrays of {sum(sizes.values()):,} bytes; the maximum is {max_bytes:,}")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def header_of(content: bytes, *, max_header: int = 1 << 26) -> dict[str, Any]:
    """The JSON object in the array ``header`` of an ``.npz`` file; empty for a damaged file, or one without."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.getinfo("header.npy").file_size > max_header:
                return {}
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
    except DAMAGE:
        return {}
    return header if isinstance(header, dict) else {}
