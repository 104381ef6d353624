"""TF Serving's gRPC services: Predict, GetModelMetadata, GetModelStatus, and the standard health check."""

from __future__ import annotations

import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2_grpc
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from itembed_tf.server.limits import Limits, Refused, invalid
from itembed_tf.server.metrics import Metrics
from itembed_tf.server.models import Models
from itembed_tf.server.tensors import read_inputs, write_output

PREDICTION, STATUS = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
# The names that TF Serving's own health service knows, and the full ones.
SERVICES = ("", "ModelService", "PredictionService", PREDICTION, STATUS)


def make_server(models: Models, limits: Limits, metrics: Metrics) -> tuple[grpc.aio.Server, Any]:
    """A server without a port yet, and its health servicer."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", limits.max_message),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # a second server on the same port must fail, not take half of the calls
        ],
        maximum_concurrent_rpcs=limits.max_calls,
    )
    predict = _handler(predict_pb2.PredictRequest, "Predict", _predict, models, limits, metrics)
    metadata = _handler(
        get_model_metadata_pb2.GetModelMetadataRequest, "GetModelMetadata", _metadata, models, limits, metrics
    )
    status = _handler(get_model_status_pb2.GetModelStatusRequest, "GetModelStatus", _status, models, limits, metrics)
    services = {PREDICTION: {"Predict": predict, "GetModelMetadata": metadata}, STATUS: {"GetModelStatus": status}}
    for name, methods in services.items():
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, methods)])
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    return server, servicer


def _handler(
    message: Any,
    api: str,
    answer: Callable[[Models, Limits, Any], Awaitable[Any]],
    models: Models,
    limits: Limits,
    metrics: Metrics,
) -> Any:
    async def handle(content: bytes, context: Any) -> bytes:
        started, name, status = time.monotonic(), "", "CANCELLED"
        try:
            try:
                request = message.FromString(content)
            except DecodeError:
                raise invalid(f"the message is no {message.DESCRIPTOR.full_name}") from None
            if not request.HasField("model_spec"):
                raise invalid("Missing ModelSpec")
            name = request.model_spec.name if request.model_spec.name in models.models else ""
            response = (await answer(models, limits, request)).SerializeToString()
            status = "OK"
        except Refused as error:
            status = error.code.name
            await context.abort(error.code, error.message[:2000])
        except Exception:
            status = "INTERNAL"
            traceback.print_exc()
            await context.abort(grpc.StatusCode.INTERNAL, "an error of the server's own; its log says more")
        finally:
            if api == "Predict":
                metrics.request(name, status, api, "GRPC", time.monotonic() - started)
        return response

    return grpc.unary_unary_rpc_method_handler(handle)  # bytes in, bytes out: what cannot be parsed is ours to answer


async def _predict(models: Models, limits: Limits, request: Any) -> Any:
    version = models.find(request.model_spec)
    name, signature = version.signature(request.model_spec.signature_name, grpc.StatusCode.FAILED_PRECONDITION)
    inputs = read_inputs(request.inputs, signature.inputs, limits)
    wanted = _filtered(list(request.output_filter), signature)
    outputs = await version.predict(name, inputs)
    response = predict_pb2.PredictResponse()
    response.model_spec.name, response.model_spec.signature_name = version.name, name
    response.model_spec.version.value = version.number
    for key in wanted:
        write_output(response.outputs[key], outputs[key])
    return response


def _filtered(wanted: list[str], signature: Any) -> list[str]:
    for i, key in enumerate(wanted):
        if key not in signature.outputs:
            there = ",".join(sorted(signature.outputs))
            raise invalid(
                f"output tensor alias not found in signature: {key} Outputs expected to be in the set {{{there}}}."
            )
        if key in wanted[:i]:
            raise invalid(f"duplicate output tensor alias: {key}")
    return wanted or sorted(signature.outputs)


async def _metadata(models: Models, limits: Limits, request: Any) -> Any:
    del limits
    if not request.metadata_field:
        raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for key in request.metadata_field:
        if key != "signature_def":
            raise invalid(f"Metadata field {key} is not supported")
    return metadata_response(models, request.model_spec)


def metadata_response(models: Models, spec: Any) -> Any:
    """GetModelMetadataResponse of the version that is asked for, packed as TF Serving packs it."""
    version = models.find(spec)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name, response.model_spec.version.value = version.name, version.number
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in version.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    response.metadata["signature_def"].Pack(signatures)
    return response


async def _status(models: Models, limits: Limits, request: Any) -> Any:
    del limits
    return status_response(models, request.model_spec)


def status_response(models: Models, spec: Any) -> Any:
    """GetModelStatusResponse: newest version first."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for number, (state, code, message) in models.states(spec).items():
        status = response.model_version_status.add(version=number, state=state)
        status.status.error_code, status.status.error_message = code, message
    return response
