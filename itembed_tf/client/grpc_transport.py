"""gRPC transport: TF Serving's Predict, GetModelMetadata and GetModelStatus, blocking and for asyncio."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import grpc.aio

from itembed_tf.client import messages
from itembed_tf.client.access import Access
from itembed_tf.client.calls import Call, Prediction, ServingError, Signature, TensorInfo
from itembed_tf.client.messages import DTYPES, STATES
from itembed_tf.client.tensors import from_proto, to_proto

_PREDICTION = "/tensorflow.serving.PredictionService/"
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # After an outage, gRPC by itself waits up to two minutes before it connects again.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.min_reconnect_backoff_ms", 5000),  # despite its name, the timeout of one attempt to connect
]
_METHODS = {
    "predict": (_PREDICTION + "Predict", messages.PredictResponse),
    "metadata": (_PREDICTION + "GetModelMetadata", messages.GetModelMetadataResponse),
    "version": (_PREDICTION + "GetModelMetadata", messages.GetModelMetadataResponse),
    "status": ("/tensorflow.serving.ModelService/GetModelStatus", messages.GetModelStatusResponse),
}
_CONTRACT = "itembed-contract"  # in the trailing metadata of our local server
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # in gRPC's order
_FROM_A_PROXY = ("UNAVAILABLE", "UNKNOWN", "INTERNAL", "PERMISSION_DENIED", "UNAUTHENTICATED")


class GrpcTransport:
    """A channel to `place` (host:port)."""

    def __init__(self, place: str, access: Access, *, secure: bool) -> None:
        self._place, self._headers = place, access.headers
        credentials, options = _credentials(access, secure), _options(place)
        self.channel = (
            grpc.secure_channel(place, credentials, options) if secure else grpc.insecure_channel(place, options)
        )
        self._stubs = _stubs(self.channel)

    def send(self, call: Call, timeout: float) -> Any:
        """Response to one attempt; raises ServingError."""
        stub = self._stubs[call.kind]
        try:
            response, sent = stub.with_call(encode_request(call), timeout=timeout, metadata=self._headers)
        except grpc.RpcError as error:
            raise _serving_error(error, self._place) from error
        return decode_response(call, response, sent.trailing_metadata() or ())

    def close(self) -> None:
        """Close the channel."""
        self.channel.close()


class AsyncGrpcTransport:
    """`GrpcTransport` for asyncio; must be created and used in one running event loop."""

    def __init__(self, place: str, access: Access, *, secure: bool) -> None:
        self._place, self._headers = place, access.headers
        credentials, options = _credentials(access, secure), _options(place)
        self.channel = (
            grpc.aio.secure_channel(place, credentials, options)
            if secure
            else grpc.aio.insecure_channel(place, options)
        )
        self._stubs = _stubs(self.channel)

    async def send(self, call: Call, timeout: float) -> Any:
        """Response to one attempt; raises ServingError."""
        sent = self._stubs[call.kind](encode_request(call), timeout=timeout, metadata=self._headers)
        try:
            response = await sent
        except grpc.RpcError as error:
            raise _serving_error(error, self._place) from error
        return decode_response(call, response, await sent.trailing_metadata() or ())

    async def close(self) -> None:
        """Close the channel."""
        await self.channel.close()


def _credentials(access: Access, secure: bool) -> Any:
    if not secure:
        return None
    return grpc.ssl_channel_credentials(Path(access.ca_file).read_bytes() if access.ca_file else None)


def _options(place: str) -> list[tuple[str, int]]:
    """A proxy cannot reach this machine's own addresses, but gRPC would ask it unless no_proxy lists them."""
    return [*_OPTIONS, ("grpc.enable_http_proxy", 0)] if _is_loopback(place) else _OPTIONS


def _is_loopback(place: str) -> bool:
    host = place.rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or host.startswith("127.")


def _stubs(channel: Any) -> dict[str, Any]:
    return {
        kind: channel.unary_unary(path, response_deserializer=response.FromString)
        for kind, (path, response) in _METHODS.items()
    }


def encode_request(call: Call) -> bytes:
    """The serialised request message of a call."""
    metadata = messages.GetModelMetadataRequest
    kinds = {"predict": messages.PredictRequest, "metadata": metadata, "version": metadata}
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
    if call.kind in ("metadata", "version"):
        request.metadata_field.append("signature_def")
    return request.SerializeToString()


def decode_response(call: Call, response: Any, trailing: Any = ()) -> Any:
    """A response message as a Prediction, signatures by name (metadata), a number, or state by version (status)."""
    if call.kind == "predict":
        outputs = {name: from_proto(proto) for name, proto in response.outputs.items()}
        contract = next((str(value) for name, value in trailing if name == _CONTRACT), "")
        return Prediction(outputs, response.model_spec.version.value or None, contract)
    if call.kind == "version":
        return response.model_spec.version.value or None
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


def _serving_error(error: Any, place: str) -> ServingError:
    code, details = error.code().name, error.details() or "no message from the server"
    proxy = next((name for name in _PROXIES if os.environ.get(name)), None)
    if proxy and code in _FROM_A_PROXY and not _is_loopback(place):
        url, host = urlsplit(os.environ[proxy]), place.rpartition(":")[0]
        details += (
            f" (gRPC sends calls through the proxy {url.hostname}:{url.port}, which {proxy} in the environment names; "
            f"if {host} must be called directly, set no_proxy={host})"
        )
    return ServingError(code, details)
