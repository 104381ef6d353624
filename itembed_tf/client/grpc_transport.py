"""gRPC transport: TF Serving's Predict, GetModelMetadata and GetModelStatus, blocking and for asyncio."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio

from itembed_tf.client import messages
from itembed_tf.client.calls import Call, ServingError, Signature, TensorInfo
from itembed_tf.client.messages import DTYPES, STATES
from itembed_tf.client.tensors import from_proto, to_proto

_PREDICTION = "/tensorflow.serving.PredictionService/"
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_METHODS = {
    "predict": (_PREDICTION + "Predict", messages.PredictResponse),
    "metadata": (_PREDICTION + "GetModelMetadata", messages.GetModelMetadataResponse),
    "status": ("/tensorflow.serving.ModelService/GetModelStatus", messages.GetModelStatusResponse),
}


class GrpcTransport:
    """An unencrypted channel to `address` (host:port)."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._stubs = _stubs(self.channel)

    def send(self, call: Call, timeout: float) -> Any:
        """Response to one attempt; raises ServingError."""
        try:
            return decode_response(call, self._stubs[call.kind](encode_request(call), timeout=timeout))
        except grpc.RpcError as error:
            raise _serving_error(error) from error

    def close(self) -> None:
        """Close the channel."""
        self.channel.close()


class AsyncGrpcTransport:
    """`GrpcTransport` for asyncio; must be created and used in one running event loop."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._stubs = _stubs(self.channel)

    async def send(self, call: Call, timeout: float) -> Any:
        """Response to one attempt; raises ServingError."""
        try:
            return decode_response(call, await self._stubs[call.kind](encode_request(call), timeout=timeout))
        except grpc.RpcError as error:
            raise _serving_error(error) from error

    async def close(self) -> None:
        """Close the channel."""
        await self.channel.close()


def _stubs(channel: Any) -> dict[str, Any]:
    return {
        kind: channel.unary_unary(path, response_deserializer=response.FromString)
        for kind, (path, response) in _METHODS.items()
    }


def encode_request(call: Call) -> bytes:
    """The serialised request message of a call."""
    kinds = {"predict": messages.PredictRequest, "metadata": messages.GetModelMetadataRequest}
    request = kinds.get(call.kind, messages.GetModelStatusRequest)()
    request.model_spec.name = call.model
    if call.version is not None:
        request.model_spec.version.value = call.version
    if call.label is not None:
        request.model_spec.version_label = call.label
    if call.kind == "predict":
        request.model_spec.signature_name = call.signature
        for name, values in call.inputs.items():
            request.inputs[name].CopyFrom(to_proto(values))
    if call.kind == "metadata":
        request.metadata_field.append("signature_def")
    return request.SerializeToString()


def decode_response(call: Call, response: Any) -> Any:
    """A response message as arrays by name (predict), signatures by name (metadata), or state by version (status)."""
    if call.kind == "predict":
        return {name: from_proto(proto) for name, proto in response.outputs.items()}
    if call.kind == "status":
        return {s.version: STATES.get(s.state, "UNKNOWN") for s in response.model_version_status}
    signatures = messages.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    return {name: _signature(signature) for name, signature in signatures.signature_def.items() if signature.inputs}


def _signature(signature: Any) -> Signature:
    def tensors(infos: Any) -> dict[str, TensorInfo]:
        return {
            name: TensorInfo(DTYPES.get(info.dtype, "unknown"), tuple(d.size for d in info.tensor_shape.dim))
            for name, info in infos.items()
        }

    return Signature(tensors(signature.inputs), tensors(signature.outputs))


def _serving_error(error: Any) -> ServingError:
    return ServingError(error.code().name, error.details() or "no message from the server")
