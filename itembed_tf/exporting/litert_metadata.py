"""Metadata and associated files inside a .tflite file, in the format that TensorFlow Lite's metadata readers expect.

The description is a ModelMetadata flatbuffer (schema M001 of tflite-support and MediaPipe) in the buffer named
TFLITE_METADATA; the files follow the model as an uncompressed ZIP archive, which any ZIP reader opens.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

BUFFER = b"TFLITE_METADATA"
ALIGNMENT = 16  # bytes, of every buffer: LiteRT's kernels read weights in place
# Field numbers of the tables in metadata_schema.fbs, and file types.
NAME, DESCRIPTION, VERSION_OF_MODEL, SUBGRAPHS, MODEL_FILES, MIN_PARSER = 0, 1, 2, 3, 6, 7
INPUTS, OUTPUTS = 2, 3
FILE_TYPE, DESCRIPTIONS, VOCABULARY = 2, 1, 5


def with_metadata(
    content: bytes,
    *,
    name: str,
    description: str,
    version: str,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    files: Mapping[str, str],
) -> bytes:
    """Add metadata and files to a model; equal arguments give equal bytes.

    Args:
        content: a TFLite model without metadata.
        name, description, version: of the model.
        inputs, outputs: name -> description of each tensor, in the model's order.
        files: name -> content, UTF-8. A name that starts with "vocabulary" gets the type of a vocabulary.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    metadata, buffer = schema.MetadataT(), schema.BufferT()
    metadata.name, metadata.buffer = BUFFER, len(model.buffers)
    described = _model_metadata(name, description, version, inputs, outputs, list(files))
    buffer.data = np.frombuffer(described, np.uint8)
    model.metadata = [*(model.metadata or []), metadata]
    model.buffers.append(buffer)
    packed = _packed(model, len(content))
    return packed + _archive(files, offset=len(packed))


def with_length(content: bytes, length: int) -> bytes:
    """A model of one input [1, any length], whose input has the length 1 in the file, with `length` in its place."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    (graph,) = model.subgraphs
    graph.tensors[graph.inputs[0]].shape = np.array([1, length], np.int32)
    return _packed(model, len(content))


def _packed(model: schema.ModelT, size: int) -> bytes:
    builder = _Builder(size + 4096)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


class _Builder(flatbuffers.Builder):
    """A flatbuffer builder that aligns byte vectors as the schema requires, and stores equal zero points once.

    The generated Python code ignores the alignment (`force_align` in the schema), so this sets `head` as
    `Builder.CreateByteVector` does; the tests check the alignment of every buffer. Converted files repeat a vector of
    int64 zeros for every tensor quantised per channel: 4 % of a small model.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.written: dict[bytes, int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        if x.dtype == np.uint8:
            self.StartVector(1, x.size, ALIGNMENT)
            self.head = self.Head() - x.size
            self.Bytes[self.Head() : self.Head() + x.size] = x.tobytes()
            return self.EndVector()
        if x.dtype != np.int64:
            return super().CreateNumpyVector(x)
        if (key := x.tobytes()) not in self.written:
            self.written[key] = super().CreateNumpyVector(x)
        return self.written[key]


def _archive(files: Mapping[str, str], offset: int) -> bytes:
    """A ZIP archive whose offsets count from the start of the file that it is appended to."""
    out = io.BytesIO(b"\0" * offset)
    with zipfile.ZipFile(out, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))  # a fixed date: the same bytes every time
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content.encode("utf-8"))
    return out.getvalue()[offset:]


def _model_metadata(
    name: str, description: str, version: str, inputs: Mapping[str, str], outputs: Mapping[str, str], files: list[str]
) -> bytes:
    builder = flatbuffers.Builder(1024)
    tensors = {
        field: _vector(builder, [_table(builder, {NAME: n, DESCRIPTION: d}) for n, d in described.items()])
        for field, described in ((INPUTS, inputs), (OUTPUTS, outputs))
    }
    subgraph = _table(builder, {}, tensors)
    kinds = {file: VOCABULARY if file.startswith("vocabulary") else DESCRIPTIONS for file in files}
    listed = _vector(builder, [_table(builder, {NAME: file}, kind=kind) for file, kind in kinds.items()])
    texts = {NAME: name, DESCRIPTION: description, VERSION_OF_MODEL: version, MIN_PARSER: "1.0.1"}
    root = _table(builder, texts, {SUBGRAPHS: _vector(builder, [subgraph]), MODEL_FILES: listed})
    builder.Finish(root, file_identifier=b"M001")
    return bytes(builder.Output())


def _table(
    builder: Any, texts: Mapping[int, str], offsets: Mapping[int, int] | None = None, kind: int | None = None
) -> int:
    """One table: strings, offsets of objects already written, and the type of a file."""
    fields = {**{field: builder.CreateString(text) for field, text in texts.items()}, **(offsets or {})}
    builder.StartObject(8)
    for field, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    if kind is not None:
        builder.PrependInt8Slot(FILE_TYPE, kind, 0)
    return builder.EndObject()


def _vector(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()
