"""Protocol Buffers messages of TF Serving's API, defined without TensorFlow.

tensorflow-serving-api imports TensorFlow for `TensorProto`. The tables below have the same field names and numbers
(tensorflow_serving/apis/*.proto and tensorflow/core/framework/*.proto), so the wire format is the same; Protocol
Buffers skips fields that are not listed here. The messages are in a separate descriptor pool, and do not conflict with
TensorFlow's in a program that imports both.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
    "bool": _FIELD.TYPE_BOOL,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "uint32": _FIELD.TYPE_UINT32,
    "uint64": _FIELD.TYPE_UINT64,
    "float": _FIELD.TYPE_FLOAT,
    "double": _FIELD.TYPE_DOUBLE,
}

# Enums are int32, their wire format; DTYPES and STATES have their names.
# message -> field -> (type, number, oneof); * is a repeated field, {} a map with string keys
_Tables = dict[str, dict[str, tuple]]
_TENSORFLOW: _Tables = {
    "TensorShapeProto": {"dim": ("*TensorShapeProto.Dim", 2), "unknown_rank": ("bool", 3)},
    "TensorShapeProto.Dim": {"size": ("int64", 1), "name": ("string", 2)},
    "TensorProto": {
        "dtype": ("int32", 1),
        "tensor_shape": ("TensorShapeProto", 2),
        "tensor_content": ("bytes", 4),
        "float_val": ("*float", 5),
        "double_val": ("*double", 6),
        "int_val": ("*int32", 7),
        "string_val": ("*bytes", 8),
        "int64_val": ("*int64", 10),
        "bool_val": ("*bool", 11),
        "uint32_val": ("*uint32", 16),
        "uint64_val": ("*uint64", 17),
    },
    "TensorInfo": {"name": ("string", 1, "encoding"), "dtype": ("int32", 2), "tensor_shape": ("TensorShapeProto", 3)},
    "SignatureDef": {
        "inputs": ("{}TensorInfo", 1),
        "outputs": ("{}TensorInfo", 2),
        "method_name": ("string", 3),
    },
}
_SERVING: _Tables = {
    "ModelSpec": {
        "name": ("string", 1),
        "version": ("google.protobuf.Int64Value", 2, "version_choice"),
        "version_label": ("string", 4, "version_choice"),
        "signature_name": ("string", 3),
    },
    "PredictRequest": {
        "model_spec": ("ModelSpec", 1),
        "inputs": ("{}tensorflow.TensorProto", 2),
        "output_filter": ("*string", 3),
    },
    "PredictResponse": {"outputs": ("{}tensorflow.TensorProto", 1), "model_spec": ("ModelSpec", 2)},
    "SignatureDefMap": {"signature_def": ("{}tensorflow.SignatureDef", 1)},
    "GetModelMetadataRequest": {"model_spec": ("ModelSpec", 1), "metadata_field": ("*string", 2)},
    "GetModelMetadataResponse": {"model_spec": ("ModelSpec", 1), "metadata": ("{}google.protobuf.Any", 2)},
    "GetModelStatusRequest": {"model_spec": ("ModelSpec", 1)},
    "StatusProto": {"error_code": ("int32", 1), "error_message": ("string", 2)},
    "ModelVersionStatus": {"version": ("int64", 1), "state": ("int32", 2), "status": ("StatusProto", 3)},
    "GetModelStatusResponse": {"model_version_status": ("*ModelVersionStatus", 1)},
}
_HEALTH: _Tables = {"HealthCheckRequest": {"service": ("string", 1)}, "HealthCheckResponse": {"status": ("int32", 1)}}

# tensorflow/core/framework/types.proto: number -> NumPy dtype; 7 is DT_STRING.
DTYPES = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "object", 9: "int64"}
DTYPES |= {10: "bool", 17: "uint16", 22: "uint32", 23: "uint64"}
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
SERVING = 1  # HealthCheckResponse.ServingStatus


def _file(package: str, tables: _Tables, dependencies: tuple[str, ...]) -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name=f"itembed_tf/{package}.proto", package=package, syntax="proto3", dependency=dependencies
    )
    messages: dict[str, Any] = {}
    for name, fields in tables.items():
        outer, _, inner = name.rpartition(".")
        messages[name] = messages[outer].nested_type.add(name=inner) if outer else file.message_type.add(name=name)
        for field, definition in fields.items():
            _add_field(messages[name], package, field, *definition)
    return file


def _add_field(message: Any, package: str, name: str, kind: str, number: int, oneof: str = "") -> None:
    plain = kind.removeprefix("{}").removeprefix("*")
    field = message.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
    if kind.startswith("{}"):  # map<string, X> is a repeated field of key-value messages
        entry = message.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        _add_field(entry, package, "key", "string", 1)
        _add_field(entry, package, "value", plain, 2)
        path = f".{package}.{message.name}.{entry.name}"
        field.label, field.type, field.type_name = _FIELD.LABEL_REPEATED, _FIELD.TYPE_MESSAGE, path
        return
    if kind.startswith("*"):
        field.label = _FIELD.LABEL_REPEATED
    if plain in _SCALARS:
        field.type = _SCALARS[plain]
    else:
        known = plain.startswith(("google.", "tensorflow."))
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{plain}" if known else f".{package}.{plain}"
    if oneof:
        if oneof not in [declared.name for declared in message.oneof_decl]:
            message.oneof_decl.add(name=oneof)
        field.oneof_index = [declared.name for declared in message.oneof_decl].index(oneof)


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    for module in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    known = (any_pb2.DESCRIPTOR.name, wrappers_pb2.DESCRIPTOR.name)
    files = [
        _file("tensorflow", _TENSORFLOW, ()),
        _file("tensorflow.serving", _SERVING, (*known, "itembed_tf/tensorflow.proto")),
        _file("grpc.health.v1", _HEALTH, ()),
    ]
    for file in files:
        pool.AddSerializedFile(file.SerializeToString())
    names = [f"{file.package}.{message.name}" for file in files for message in file.message_type]
    return {
        name.rpartition(".")[2]: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names
    }


_CLASSES = _classes()
TensorProto = _CLASSES["TensorProto"]
PredictRequest = _CLASSES["PredictRequest"]
PredictResponse = _CLASSES["PredictResponse"]
SignatureDefMap = _CLASSES["SignatureDefMap"]
GetModelMetadataRequest = _CLASSES["GetModelMetadataRequest"]
GetModelMetadataResponse = _CLASSES["GetModelMetadataResponse"]
GetModelStatusRequest = _CLASSES["GetModelStatusRequest"]
GetModelStatusResponse = _CLASSES["GetModelStatusResponse"]
HealthCheckRequest = _CLASSES["HealthCheckRequest"]
HealthCheckResponse = _CLASSES["HealthCheckResponse"]
