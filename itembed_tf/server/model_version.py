"""One version of a model: its signatures, the engine that runs it, and its batching queue."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from itembed_tf.export_layout import CONTRACT_FILE, DEFAULT_SIGNATURE, EXTRA_ASSETS, TEXT_ENCODER, WARMUP_FILE
from itembed_tf.server.batching import Arrays, Batcher, RequestPart
from itembed_tf.server.engine_choice import EngineChoice
from itembed_tf.server.engines import Engine, TensorFlowEngine
from itembed_tf.server.errors import RequestError
from itembed_tf.server.limits import Limits
from itembed_tf.server.litert_engine import NoLiteRT, compare_engines, load_litert
from itembed_tf.server.tensors import read_inputs
from itembed_tf.server.version_folders import GRAPH_FILE

_MAX_WARMUP_RECORDS = 1000  # as in TF Serving


class ModelVersion:
    """A version that is ready to serve.

    Attributes:
        name, number: of the model and of the version.
        signatures: SignatureDef by name, as saved.
        contract: contract hash of the export; "" for a SavedModel that is not an export of ours.
        engine: the name of what runs the batches.
        engine_reason: why that engine, for the log; "" where there was no choice.
        runnable: names of the signatures that the engine can run.
        leases: number of requests that use the version; it is not closed before they have ended.
    """

    def __init__(self, name: str, number: int, folder: Path, limits: Limits, choice: EngineChoice) -> None:
        """Load and warm up. Blocks for seconds and may run in any thread; call `start` in the event loop afterwards.

        Raises:
            NoLiteRT: `choice` demands LiteRT, and the text encoder cannot be served by it.
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
        engine, self.engine_reason = self._load_engine(folder, contract, choice)
        self.engine, self.runnable = engine.name, engine.signatures
        self._engine: Engine | None = engine

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
        if name not in self.signatures or name not in self.runnable:
            available = ", ".join(sorted(self.runnable))
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
        assert self._engine is not None, "the version is closed"
        return self._engine.run(signature, inputs)

    async def close(self) -> None:
        """Finish the requests that use the version, then release the model."""
        while self.leases:
            await asyncio.sleep(0.01)
        await self.batcher.close()
        self._engine = None

    def _load_engine(self, folder: Path, contract: Mapping[str, Any], choice: EngineChoice) -> tuple[Engine, str]:
        """The engine, warmed up, and why it was chosen.

        The SavedModel is loaded in any case: its answers to the export's warm-up records are what LiteRT must give.
        """
        tensorflow, reason = TensorFlowEngine(folder), ""
        if self.name == TEXT_ENCODER and choice.engine != "tensorflow":
            try:
                litert, path = load_litert(folder, contract, choice.precision)
                requests = self._warmup_requests(folder, tensorflow.signatures)
                difference = compare_engines(litert, tensorflow, choice.precision, requests)
            except NoLiteRT as error:
                if choice.engine == "litert":
                    raise
                reason = str(error)
            else:
                del tensorflow
                gc.collect()  # a loaded SavedModel contains reference cycles
                return litert, f"{path.name} differs from TensorFlow by at most {difference:.1g}"
        for signature, inputs in self._warmup_requests(folder, tensorflow.signatures):
            tensorflow.run(signature, inputs)
        return tensorflow, reason

    def _warmup_requests(self, folder: Path, runnable: frozenset[str]) -> Iterator[tuple[str, Arrays]]:
        """Signature and inputs of each warm-up record of the export."""
        path = folder / EXTRA_ASSETS / WARMUP_FILE
        if not path.exists():
            return
        limits = replace(self._limits, max_queue=2**31, max_message=2**31)  # of requests, not of the export's own file
        for record in tf.data.TFRecordDataset(str(path)).take(_MAX_WARMUP_RECORDS):
            log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            request = log.predict_log.request
            name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            if name in runnable and len(request.inputs):
                yield name, read_inputs(request.inputs, self.signatures[name].inputs, limits)


def _is_batchable(signature: Any) -> bool:
    shapes = [info.tensor_shape.dim for info in (*signature.inputs.values(), *signature.outputs.values())]
    return all(shape and shape[0].size == -1 for shape in shapes)


def _read_contract(folder: Path) -> dict[str, Any]:
    path = folder / EXTRA_ASSETS / CONTRACT_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
