"""Weight files of PyTorch -> NumPy arrays, without PyTorch and without running anything that a file says.

A ``.pth`` file is a pickle program. Here it is not given to ``pickle``: a dozen harmless opcodes are interpreted, and
the only things they can make are dicts, tuples, numbers, texts and descriptions of tensors.
"""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

STORAGES = {
    "torch DoubleStorage": "<f8",
    "torch FloatStorage": "<f4",
    "torch HalfStorage": "<f2",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "<i1",
    "torch ByteStorage": "<u1",
    "torch BoolStorage": "?",
}
ALLOWED = {*STORAGES, "torch._utils _rebuild_tensor_v2", "collections OrderedDict"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
MARK = object()


@dataclass(frozen=True)
class _Name:
    """A class or function that the file refers to, by name only: it is never looked up."""

    name: str


@dataclass(frozen=True)
class _Storage:
    dtype: str
    key: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch_weights(path: str | Path) -> dict[str, np.ndarray]:
    """A saved ``state_dict`` -> {name: array}; arrays are read-only views of one copy of the file's bytes.

    Reads both formats of ``torch.save``: the legacy one (magic number, protocol 1001) and the zip. Memory stays within
    twice the file's size whatever the file claims.

    Raises:
        ValueError: the file is damaged, truncated, holds anything but named tensors, or asks for any class or function
            that a tensor does not need; the message names it.
    """
    path = Path(path)
    data = path.read_bytes()
    try:
        tree, storages = _read_zip(data) if data[:4] == b"PK\x03\x04" else _read_legacy(data)
        if not isinstance(tree, dict) or not all(isinstance(value, _Tensor) for value in tree.values()):
            raise ValueError("it is not a state_dict, a flat dict of names and tensors; save model.state_dict()")
        return {name: _view(tensor, storages) for name, tensor in tree.items()}
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, zipfile.BadZipFile) as error:
        raise ValueError(f"cannot read the weights in {path}: {error}") from error


def _read_legacy(data: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    stream = io.BytesIO(data)
    if _interpret(stream) != LEGACY_MAGIC or _interpret(stream) != LEGACY_PROTOCOL:
        raise ValueError("it does not begin like a file of torch.save")
    if _interpret(stream).get("little_endian") is not True:
        raise ValueError("it was written on a big-endian machine")
    declared: dict[str, _Storage] = {}
    tree = _interpret(stream, declared)
    keys = _interpret(stream)
    if not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(declared):
        raise ValueError("the storages it lists are not those that its tensors use")
    storages = {}
    for key in keys:
        storage, start = declared[key], stream.tell() + 8
        count = int.from_bytes(stream.read(8), "little", signed=True)
        size = storage.count * np.dtype(storage.dtype).itemsize
        if count != storage.count:
            raise ValueError(f"storage {key} has {count} numbers where {storage.count} were announced")
        if start + size > len(data):
            raise ValueError(f"truncated: storage {key} should end at byte {start + size} of {len(data)}")
        storages[key] = np.frombuffer(data, storage.dtype, storage.count, start)
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
                raise ValueError(f"{name} is compressed or larger than the file: torch.save does not write such")
            return archive.read(info)

        pickles = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it is a zip archive, but not one of torch.save: there is no data.pkl in it")
        folder = pickles[0].removesuffix("data.pkl")
        if folder + "byteorder" in archive.namelist() and content(folder + "byteorder") != b"little":
            raise ValueError("it was written on a big-endian machine")
        declared: dict[str, _Storage] = {}
        tree = _interpret(io.BytesIO(content(pickles[0])), declared)
        return tree, {
            key: np.frombuffer(content(f"{folder}data/{key}"), storage.dtype, storage.count)
            for key, storage in declared.items()
        }


def _interpret(stream: io.BytesIO, declared: dict[str, _Storage] | None = None) -> Any:
    """Run one pickle up to its STOP; the stream then stands behind it. Storages met are added to `declared`."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        name = opcode.name
        if name in VALUES:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name == "MARK":
            stack.append(MARK)
        elif name == "GLOBAL":
            if argument not in ALLOWED:
                raise ValueError(f"it asks for {str(argument).replace(' ', '.')}, which no tensor needs: refused")
            stack.append(_Name(argument))
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            count = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}.get(name)
            stack.append(tuple(_since_mark(stack) if count is None else [stack.pop() for _ in range(count)][::-1]))
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name in ("SETITEM", "SETITEMS"):
            items = _since_mark(stack) if name == "SETITEMS" else [stack.pop(), stack.pop()][::-1]
            _fill(stack[-1], items)
        elif name in ("APPEND", "APPENDS"):
            items = _since_mark(stack) if name == "APPENDS" else [stack.pop()]
            stack[-1].extend(items)
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop(), declared))
        elif name == "REDUCE":
            arguments, made = stack.pop(), stack.pop()
            stack.append(_make(made, arguments))
        elif name == "BUILD":
            stack.pop()  # a state_dict's notes on module versions
        elif name not in ("PROTO", "STOP"):
            raise ValueError(f"it uses the pickle opcode {name}, which no state_dict needs: refused")
    return stack.pop()


def _since_mark(stack: list[Any]) -> list[Any]:
    items: list[Any] = []
    while (item := stack.pop()) is not MARK:
        items.append(item)
    return items[::-1]


def _fill(target: Any, items: list[Any]) -> None:
    keys = items[::2]
    if not isinstance(target, dict) or not all(isinstance(key, str) for key in keys):
        raise ValueError("it holds a dict whose keys are not names: not a state_dict")
    target.update(zip(keys, items[1::2], strict=True))


def _storage(identity: Any, declared: dict[str, _Storage] | None) -> _Storage:
    """("storage", type, key, device, count) -> storage; the legacy format adds a view, which must be None."""
    kind, dtype, key, _, count, *view = identity
    known = kind == "storage" and isinstance(dtype, _Name) and dtype.name in STORAGES and view in ([], [None])
    if declared is None or not known or not isinstance(key, str) or not _is_count(count):
        raise ValueError("it refers to something that is not a plain tensor storage")
    storage = _Storage(STORAGES[dtype.name], key, count)
    if declared.setdefault(key, storage) != storage:
        raise ValueError(f"storage {key} is announced twice, differently")
    return storage


def _make(made: Any, arguments: Any) -> Any:
    if made == _Name("collections OrderedDict") and arguments == ():
        return {}
    if made != _Name("torch._utils _rebuild_tensor_v2"):
        raise ValueError("it calls something that is not a tensor's constructor: refused")
    storage, offset, shape, strides = arguments[:4]
    numbers = [offset, *shape, *strides]
    if not isinstance(storage, _Storage) or len(shape) != len(strides) or not all(map(_is_count, numbers)):
        raise ValueError("it describes a tensor with a wrong storage, shape or strides")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _view(tensor: _Tensor, storages: dict[str, np.ndarray]) -> np.ndarray:
    flat, size = storages[tensor.storage.key], math.prod(tensor.shape)
    last = tensor.offset + sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.strides))
    if size > flat.size or (size and last >= flat.size):
        raise ValueError(f"a tensor of shape {list(tensor.shape)} reaches beyond its storage of {flat.size} numbers")
    strides = [stride * flat.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)
