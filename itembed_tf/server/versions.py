"""One loaded SavedModel: its signatures, and the batcher that runs them."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from itembed_tf.server.batching import Arrays, Batcher, Piece
from itembed_tf.server.frozen_graph import frozen
from itembed_tf.server.limits import Limits, Refused
from itembed_tf.server.tensors import read_inputs
from itembed_tf.server.validation import check_items

DEFAULT_SIGNATURE = "serving_default"
WARMUP = "assets.extra/tf_serving_warmup_requests"
_WARMUPS = 1000  # records that are replayed at most, as in TF Serving
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Version:
    """A version that is ready to answer.

    Attributes:
        name, number: of the model, of the version.
        signatures: SignatureDef by name, as saved.
    """

    def __init__(self, name: str, number: int, folder: Path, limits: Limits) -> None:
        """Load and warm up; blocks for seconds, and runs in any thread. `start` must follow in the event loop's.

        Raises:
            Exception: whatever TensorFlow says of a folder that is not a whole SavedModel.
        """
        self.name, self.number, self._limits = name, number, limits
        _import_needed(folder)
        content = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        self.signatures = dict(content.meta_graphs[0].signature_def)
        self._batchable = {name for name, signature in self.signatures.items() if _is_batchable(signature)}
        self._loaded = tf.saved_model.load(str(folder))
        self._functions = {name: frozen(signature) for name, signature in self._loaded.signatures.items()}
        self._warm_up(folder)

    def start(self, observe: Callable[[Sequence[Piece], float], None]) -> None:
        """Begin to take requests."""
        self.batcher = Batcher(self.run, self._limits, name=f"{self.name}-{self.number}", observe=observe)

    def signature(self, name: str, code: grpc.StatusCode) -> tuple[str, Any]:
        """Its full name and its SignatureDef; refused with `code`, which differs between gRPC and REST.

        Raises:
            Refused: no such signature, or one that does not answer item by item.
        """
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures or name not in self._loaded.signatures:
            there = ", ".join(sorted(self._loaded.signatures))
            if code is grpc.StatusCode.INVALID_ARGUMENT:
                raise Refused(code, f'Serving signature name: "{name}" not found in signature def; there are: {there}')
            raise Refused(code, f'Serving signature key "{name}" not found; there are: {there}')
        if name not in self._batchable:
            raise Refused(
                grpc.StatusCode.UNIMPLEMENTED,
                f"signature {name!r} has inputs or outputs without a free first dimension; "
                "this server batches requests and runs no others",
            )
        return name, self.signatures[name]

    async def predict(self, signature: str, inputs: Arrays) -> Arrays:
        """Outputs by name for inputs that `read_inputs` or `itembed_tf.server.json_form` has read."""
        return await self.batcher.predict(signature, inputs, check_items(inputs, self._limits))

    def run(self, signature: str, inputs: Arrays) -> Arrays:
        """One batch, now, in this thread."""
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
            raise Refused(code, plain_words(error.message)) from None

    async def close(self) -> None:
        """Answer what waits, then let go of the model."""
        await self.batcher.close()
        self._loaded, self._functions = None, {}

    def _warm_up(self, folder: Path) -> None:
        if not (folder / WARMUP).exists():
            return
        for record in tf.data.TFRecordDataset(str(folder / WARMUP)).take(_WARMUPS):
            log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            request = log.predict_log.request
            name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            if name in self._loaded.signatures and len(request.inputs):
                self.run(name, read_inputs(request.inputs, self.signatures[name].inputs, self._limits))


def _is_batchable(signature: Any) -> bool:
    shapes = [info.tensor_shape.dim for info in (*signature.inputs.values(), *signature.outputs.values())]
    return all(shape and shape[0].size == -1 for shape in shapes)


def plain_words(message: str) -> str:
    """TensorFlow's message without the place in the graph: files and nodes that mean nothing to a caller."""
    message = re.sub(r"\s*(\[\[|\[Op:).*", "", message.replace("Graph execution error:", ""), flags=re.DOTALL)
    lines = [line.strip() for line in message.splitlines()]
    lines = [line for line in lines if line and not re.match(r"Detected at node|File |<stack", line)]
    return " ".join(lines).removeprefix("assertion failed: ")[:500] or "the model refused the batch"


def _import_needed(folder: Path) -> None:
    """Libraries whose ops the export names under ``needs``: importing them registers the ops."""
    contract = folder / "assets.extra" / "encoders.json"
    needs: Mapping[str, Any] = json.loads(contract.read_text(encoding="utf-8")) if contract.exists() else {}
    if "tensorflow_text" in needs.get("needs", []):  # the only one; a file does not choose what is imported
        importlib.import_module("tensorflow_text")
