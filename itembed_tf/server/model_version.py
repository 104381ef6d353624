"""One version of a model: a loaded SavedModel, its signatures and its batching queue."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from itembed_tf.export_layout import CONTRACT_FILE, DEFAULT_SIGNATURE, EXTRA_ASSETS, WARMUP_FILE
from itembed_tf.server.batching import Arrays, Batcher, RequestPart
from itembed_tf.server.errors import RequestError
from itembed_tf.server.frozen_graph import freeze_signature
from itembed_tf.server.limits import Limits
from itembed_tf.server.request_validation import image_damage, prepare_images
from itembed_tf.server.tensors import read_inputs
from itembed_tf.server.version_folders import GRAPH_FILE

_MAX_WARMUP_RECORDS = 1000  # as in TF Serving
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class ModelVersion:
    """A version that is ready to serve.

    Attributes:
        name, number: of the model and of the version.
        signatures: SignatureDef by name, as saved.
        contract: contract hash of the export; "" for a SavedModel that is not an export of ours.
        leases: number of requests that use the version; it is not closed before they have ended.
    """

    def __init__(self, name: str, number: int, folder: Path, limits: Limits) -> None:
        """Load and warm up. Blocks for seconds and may run in any thread; call `start` in the event loop afterwards.

        Raises:
            Exception: TensorFlow's error for a folder that is not a complete SavedModel.
        """
        self.name, self.number, self._limits = name, number, limits
        self.leases = 0
        contract = _read_contract(folder)
        self.contract = str(contract.get("contract", ""))
        if "tensorflow_text" in contract.get("needs", []):  # registers its ops. A file must not choose what is imported
            importlib.import_module("tensorflow_text")
        content = saved_model_pb2.SavedModel.FromString((folder / GRAPH_FILE).read_bytes())
        self.signatures = dict(content.meta_graphs[0].signature_def)
        self._batchable = {name for name, signature in self.signatures.items() if _is_batchable(signature)}
        self._loaded = tf.saved_model.load(str(folder))
        self._functions = {name: freeze_signature(signature) for name, signature in self._loaded.signatures.items()}
        self._warm_up(folder)

    def start(self, observe: Callable[[Sequence[RequestPart], float], None]) -> None:
        """Start the batching queue; `observe(batch, seconds)` is called after each batch."""
        self.batcher = Batcher(self.run, self._limits, name=f"{self.name}-{self.number}", observe=observe)

    def signature(self, name: str, code: grpc.StatusCode) -> tuple[str, Any]:
        """Full name and SignatureDef of a signature; "" is the default signature.

        Args:
            name: as the request gives it.
            code: status code of an unknown signature, which differs between gRPC and REST.

        Raises:
            RequestError: an unknown signature, or one whose tensors have no batch dimension.
        """
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures or name not in self._loaded.signatures:
            available = ", ".join(sorted(self._loaded.signatures))
            if code is grpc.StatusCode.INVALID_ARGUMENT:
                message = f'Serving signature name: "{name}" not found in signature def; available: {available}'
            else:
                message = f'Serving signature key "{name}" not found; available: {available}'
            raise RequestError(code, message)
        if name not in self._batchable:
            message = f"signature {name!r} has inputs or outputs without a batch dimension, which this server needs"
            raise RequestError(grpc.StatusCode.UNIMPLEMENTED, message)
        return name, self.signatures[name]

    async def predict(self, signature: str, inputs: Arrays, costs: Sequence[int]) -> Arrays:
        """Outputs by name, for inputs by name and the costs of their items (`request_validation.check_items`)."""
        return await self.batcher.predict(signature, inputs, costs)

    def run(self, signature: str, inputs: Arrays) -> Arrays:
        """Run one batch in the calling thread."""
        inputs = prepare_images(inputs)
        tensors = {
            name: tf.constant(values.tolist(), tf.string, values.shape)
            if values.dtype == object
            else tf.constant(values)
            for name, values in inputs.items()
        }
        try:
            return {name: value.numpy() for name, value in self._functions[signature](**tensors).items()}
        except tf.errors.OpError as error:
            code = _CODES.get(error.error_code, grpc.StatusCode.INTERNAL)
            damage = image_damage(inputs) if isinstance(error, tf.errors.InvalidArgumentError) else ""
            raise RequestError(code, damage or short_message(error.message)) from None

    async def close(self) -> None:
        """Finish the requests that use the version, then release the model."""
        while self.leases:
            await asyncio.sleep(0.01)
        await self.batcher.close()
        self._loaded, self._functions = None, {}

    def _warm_up(self, folder: Path) -> None:
        path = folder / EXTRA_ASSETS / WARMUP_FILE
        if not path.exists():
            return
        limits = replace(self._limits, max_queue=2**31, max_message=2**31)  # of requests, not of the export's own file
        for record in tf.data.TFRecordDataset(str(path)).take(_MAX_WARMUP_RECORDS):
            log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            request = log.predict_log.request
            name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            if name in self._loaded.signatures and len(request.inputs):
                self.run(name, read_inputs(request.inputs, self.signatures[name].inputs, limits))


def _is_batchable(signature: Any) -> bool:
    shapes = [info.tensor_shape.dim for info in (*signature.inputs.values(), *signature.outputs.values())]
    return all(shape and shape[0].size == -1 for shape in shapes)


def short_message(message: str) -> str:
    """TensorFlow's error message without graph locations: node names and stack traces."""
    message = re.sub(r"\s*(\[\[|\[Op:).*", "", message.replace("Graph execution error:", ""), flags=re.DOTALL)
    lines = [line.strip() for line in message.splitlines()]
    lines = [line for line in lines if line and not re.match(r"Detected at node|File |<stack", line)]
    return " ".join(lines).removeprefix("assertion failed: ")[:500] or "the model failed on this batch"


def _read_contract(folder: Path) -> dict[str, Any]:
    path = folder / EXTRA_ASSETS / CONTRACT_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
