"""A SavedModel in TensorFlow's C API, in a process without any Python package: answers of its warm-up records.

    python -I -S benchmarks/native_process.py LIBRARY SAVED_MODEL OUT [OPS ...]

LIBRARY is libtensorflow_cc, OPS are libraries of further operations. This file needs the standard library alone, and
`-I -S` keeps all other packages from the process. It loads the SavedModel with TF_LoadSessionFromSavedModel, the C++
loader that TF Serving uses, sends each request of ``tf_serving_warmup_requests`` with TF_SessionRun, and writes the
answers to OUT, a JSON object a line: signature, and for each output its data type, shape and bytes (base64).
"""

from __future__ import annotations

import base64
import ctypes
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

STRING, BYTES_OF = 7, {1: 4, 3: 4, 9: 8}  # TF_DataType; bytes of an element of float32, int32 and int64
TSTRING = 24  # bytes of a TF_TString
Pointer, Text, Size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "TF_NewStatus": (Pointer, []),
    "TF_GetCode": (ctypes.c_int, [Pointer]),
    "TF_Message": (Text, [Pointer]),
    "TF_NewSessionOptions": (Pointer, []),
    "TF_NewGraph": (Pointer, []),
    "TF_NewBuffer": (Pointer, []),
    "TF_LoadLibrary": (Pointer, [Text, Pointer]),
    "TF_LoadSessionFromSavedModel": (
        Pointer,
        [Pointer, Pointer, Text, ctypes.POINTER(Text), ctypes.c_int, Pointer, Pointer, Pointer],
    ),
    "TF_GraphOperationByName": (Pointer, [Pointer, Text]),
    "TF_SessionRun": (
        None,  # session, options, inputs and outputs with their numbers, targets, metadata, status
        [Pointer, Pointer, *2 * (Pointer, Pointer, ctypes.c_int), Pointer, ctypes.c_int, Pointer, Pointer],
    ),
    "TF_AllocateTensor": (Pointer, [ctypes.c_int, Pointer, ctypes.c_int, Size]),
    "TF_DeleteTensor": (None, [Pointer]),
    "TF_TensorData": (Pointer, [Pointer]),
    "TF_TensorByteSize": (Size, [Pointer]),
    "TF_TensorType": (ctypes.c_int, [Pointer]),
    "TF_NumDims": (ctypes.c_int, [Pointer]),
    "TF_Dim": (ctypes.c_int64, [Pointer, ctypes.c_int]),
    "TF_StringInit": (None, [Pointer]),
    "TF_StringCopy": (None, [Pointer, ctypes.c_char_p, Size]),
}


class Buffer(ctypes.Structure):
    """TF_Buffer."""

    _fields_ = (("data", Pointer), ("length", Size), ("free", Pointer))


class Output(ctypes.Structure):
    """TF_Output: an output of an operation of the graph."""

    _fields_ = (("operation", Pointer), ("index", ctypes.c_int))


class Tensor(NamedTuple):
    """A tensor of a request: its TF_DataType, its shape, and its elements, as strings or as the bytes of all."""

    dtype: int
    shape: list[int]
    strings: list[bytes]
    content: bytes


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value, an integer or bytes, of each field of a protocol buffers message."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        kind = key & 7
        length = {0: 0, 1: 8, 5: 4}.get(kind)
        if kind == 0:
            yield key >> 3, varint()
            continue
        length = varint() if length is None else length
        yield key >> 3, message[at : at + length]
        at += length


def first(message: bytes, number: int, default: Any = b"") -> Any:
    """The value of a field that occurs once."""
    return next((value for found, value in fields(message) if found == number), default)


def entries(message: bytes, number: int) -> dict[str, bytes]:
    """A map field: key -> message."""
    return {first(entry, 1).decode(): first(entry, 2) for found, entry in fields(message) if found == number}


def requests(file: Path) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Signature and inputs of each PredictionLog of a TFRecord file."""
    content, at = file.read_bytes(), 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 8], "little")
        log = content[at + 12 : at + 12 + length]  # between two checksums
        at += 16 + length
        request = first(first(log, 6), 1)  # PredictionLog.predict_log.request
        signature = first(first(request, 1), 3).decode()
        yield signature, {name: _tensor(proto) for name, proto in entries(request, 2).items()}


def _tensor(proto: bytes) -> Tensor:
    sizes = [first(dimension, 1, 0) for number, dimension in fields(first(proto, 2)) if number == 2]
    strings = [value for number, value in fields(proto) if number == 8]
    return Tensor(first(proto, 1, 0), sizes, strings, first(proto, 4))


class Session:
    """A SavedModel loaded by TensorFlow's C API."""

    def __init__(self, library: str, folder: Path, ops: Sequence[str]) -> None:
        self.tf = ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(self.tf, name)
            function.restype, function.argtypes = result, arguments
        self.status = self.tf.TF_NewStatus()
        for path in ops:
            self.tf.TF_LoadLibrary(path.encode(), self.status)
            self._check(path)
        self.graph, meta = self.tf.TF_NewGraph(), self.tf.TF_NewBuffer()
        self.session = self.tf.TF_LoadSessionFromSavedModel(
            self.tf.TF_NewSessionOptions(), None, str(folder).encode(), (Text * 1)(b"serve"), 1, self.graph, meta,
            self.status,
        )  # fmt: skip
        self._check(str(folder))
        buffer = Buffer.from_address(meta)
        self.signatures = entries(ctypes.string_at(buffer.data, buffer.length), 5)

    def _check(self, what: str) -> None:
        if self.tf.TF_GetCode(self.status):
            raise SystemExit(f"{what}: {self.tf.TF_Message(self.status).decode()}")

    def run(self, signature: str, inputs: dict[str, Tensor]) -> dict[str, Any]:
        """The answer to one request: output -> data type, shape and bytes."""
        takes, gives = (entries(self.signatures[signature], number) for number in (1, 2))
        feeds = (Output * len(inputs))(*(self._place(takes[name]) for name in inputs))
        fetches = (Output * len(gives))(*(self._place(info) for info in gives.values()))
        given = (Pointer * len(inputs))(*(self._filled(tensor) for tensor in inputs.values()))
        found = (Pointer * len(gives))()
        self.tf.TF_SessionRun(
            self.session, None, feeds, given, len(feeds), fetches, found, len(fetches), None, 0, None, self.status
        )
        self._check(signature)
        answer = {name: self._read(tensor) for name, tensor in zip(gives, found)}
        for tensor in (*given, *found):
            self.tf.TF_DeleteTensor(tensor)
        return answer

    def _place(self, info: bytes) -> Output:
        name, _, index = first(info, 1).decode().partition(":")
        return Output(self.tf.TF_GraphOperationByName(self.graph, name.encode()), int(index or 0))

    def _filled(self, tensor: Tensor) -> int:
        shape = (ctypes.c_int64 * len(tensor.shape))(*tensor.shape)
        size = TSTRING * len(tensor.strings) if tensor.dtype == STRING else len(tensor.content)
        new: int = self.tf.TF_AllocateTensor(tensor.dtype, shape, len(tensor.shape), size)
        data: int = self.tf.TF_TensorData(new)
        if tensor.dtype != STRING:
            ctypes.memmove(data, tensor.content, size)
            return new
        for number, value in enumerate(tensor.strings):
            self.tf.TF_StringInit(data + TSTRING * number)
            self.tf.TF_StringCopy(data + TSTRING * number, value, len(value))
        return new

    def _read(self, tensor: int) -> dict[str, Any]:
        shape = [self.tf.TF_Dim(tensor, axis) for axis in range(self.tf.TF_NumDims(tensor))]
        content = ctypes.string_at(self.tf.TF_TensorData(tensor), self.tf.TF_TensorByteSize(tensor))
        dtype = self.tf.TF_TensorType(tensor)
        return {"dtype": dtype, "shape": shape, "content": base64.b64encode(content).decode()}


def main(library: str, folder: str, out: str, *ops: str) -> int:
    session = Session(library, Path(folder), ops)
    with Path(out).open("w", encoding="ascii") as answers:
        for signature, inputs in requests(Path(folder) / "assets.extra" / "tf_serving_warmup_requests"):
            answer = {"signature": signature, "outputs": session.run(signature, inputs)}
            answers.write(json.dumps(answer) + "\n")
    packages = {name.partition(".")[0] for name in sys.modules} & {"itembed_tf", "tensorflow", "keras", "numpy"}
    print(f"packages in the process: {', '.join(sorted(packages)) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
