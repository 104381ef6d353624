"""PyTorch weight files -> NumPy arrays, without PyTorch and without running code from the file."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from itembed_tf.safe_pickle import PickleRefused, safe_load

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


class _Storage(NamedTuple):
    dtype: str
    key: str
    size: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _StateDict(dict):
    """Stand-in for OrderedDict; its state, the notes of a state_dict on module versions, is ignored."""

    __slots__ = ()

    def __init__(self, *arguments: Any) -> None:
        if arguments:
            raise ValueError("an OrderedDict with arguments")
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass


class _RebuildTensor:
    """Stand-in for torch._utils._rebuild_tensor_v2: it describes the tensor."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> _Tensor:
        if not isinstance(storage, _Storage) or len(shape) != len(strides):
            raise ValueError("a tensor with a wrong storage, shape or strides")
        if not all(_is_count(number) for number in (offset, *shape, *strides)):
            raise ValueError("a tensor with a wrong storage, shape or strides")
        return _Tensor(storage, offset, tuple(shape), tuple(strides))


ALLOWED = {
    ("collections", "OrderedDict"): _StateDict,
    ("torch._utils", "_rebuild_tensor_v2"): _RebuildTensor(),
    **{("torch", name): dtype for name, dtype in DTYPES.items()},
}


def read_torch_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Read a saved ``state_dict``: {name: array}; arrays are read-only views of one copy of the file's bytes.

    Reads both formats of ``torch.save``: the legacy one (magic number, protocol 1001) and the zip archive. Memory stays
    proportional to the size of the file.

    Raises:
        ValueError: the file is damaged, truncated, contains anything but named tensors, or asks for a class or function
            that tensors do not need; the message names it.
    """
    path = Path(path)
    data = path.read_bytes()
    try:
        tree, storages = _read_zip(data) if data[:4] == b"PK\x03\x04" else _read_legacy(data)
        if not isinstance(tree, dict) or not all(
            isinstance(name, str) and isinstance(value, _Tensor) for name, value in tree.items()
        ):
            raise ValueError("it is not a state_dict, a flat dict of names and tensors; save model.state_dict()")
        return {name: _view(tensor, storages) for name, tensor in tree.items()}
    except PickleRefused as error:
        raise ValueError(f"cannot read the weights in {path}: refused, {error}. Nothing in it was run") from error
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, zipfile.BadZipFile) as error:
        raise ValueError(f"cannot read the weights in {path}: {error}") from error


def _read_legacy(data: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    stream = io.BytesIO(data)
    if safe_load(stream, {}) != LEGACY_MAGIC or safe_load(stream, {}) != LEGACY_PROTOCOL:
        raise ValueError("it does not begin like a file of torch.save")
    if safe_load(stream, {}).get("little_endian") is not True:
        raise ValueError("it was written on a big-endian machine")
    declared: dict[str, _Storage] = {}
    tree = safe_load(stream, ALLOWED, _storages(declared))
    keys = safe_load(stream, {})
    if not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(declared):
        raise ValueError("the storages it lists are not those that its tensors use")
    storages = {}
    for key in keys:
        storage, start = declared[key], stream.tell() + 8
        count = int.from_bytes(stream.read(8), "little", signed=True)
        size = storage.size * np.dtype(storage.dtype).itemsize
        if count != storage.size:
            raise ValueError(f"storage {key} has {count} numbers, and {storage.size} were announced")
        if start + size > len(data):
            raise ValueError(f"truncated: storage {key} should end at byte {start + size} of {len(data)}")
        storages[key] = np.frombuffer(data, storage.dtype, storage.size, start)
        stream.seek(start + size)
    return tree, storages


def _read_zip(data: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        left = len(data)

        def content(name: str) -> bytes:
            nonlocal left
            info = archive.getinfo(name)
            left -= info.file_size
            if info.compress_type != zipfile.ZIP_STORED or left < 0:
                raise ValueError(f"{name} is compressed or larger than the file, which torch.save does not do")
            return archive.read(info)

        pickles = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it is a zip archive, but not one of torch.save: it contains no data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        if folder + "byteorder" in archive.namelist() and content(folder + "byteorder") != b"little":
            raise ValueError("it was written on a big-endian machine")
        declared: dict[str, _Storage] = {}
        tree = safe_load(io.BytesIO(content(pickles[0])), ALLOWED, _storages(declared))
        return tree, {
            key: np.frombuffer(content(f"{folder}data/{key}"), storage.dtype, storage.size)
            for key, storage in declared.items()
        }


def _storages(declared: dict[str, _Storage]) -> Callable[[Any], _Storage]:
    """A function from the identity of a storage to its description, which it adds to `declared`.

    An identity is ("storage", type, key, device, count); the legacy format adds a view, which must be None.
    """

    def declare(identity: Any) -> _Storage:
        kind, dtype, key, _, count, *view = identity
        known = kind == "storage" and dtype in DTYPES.values() and view in ([], [None])
        if not known or not isinstance(key, str) or not _is_count(count):
            raise ValueError("a reference to something that is not a plain tensor storage")
        storage = _Storage(dtype, key, count)
        if declared.setdefault(key, storage) != storage:
            raise ValueError(f"storage {key} is announced twice, differently")
        return storage

    return declare


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _view(tensor: _Tensor, storages: dict[str, np.ndarray]) -> np.ndarray:
    flat, size = storages[tensor.storage.key], math.prod(tensor.shape)
    last = tensor.offset + sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.strides))
    if size > flat.size or (size and last >= flat.size):
        raise ValueError(f"a tensor of shape {list(tensor.shape)} reaches beyond its storage of {flat.size} numbers")
    strides = [stride * flat.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)
