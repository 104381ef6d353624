"""TF Serving's gRPC API: Predict, GetModelMetadata, GetModelStatus, and the standard health check."""

from __future__ import annotations

import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
)

from itembed_tf.server.batching import Arrays
from itembed_tf.server.errors import RequestError, invalid_argument
from itembed_tf.server.http_server import HEAD_SECONDS, IDLE_SECONDS
from itembed_tf.server.limits import Limits
from itembed_tf.server.message_cost import check_message_cost
from itembed_tf.server.metrics import Metrics
from itembed_tf.server.model_manager import ModelManager
from itembed_tf.server.off_loop import SMALL, run_off_loop
from itembed_tf.server.replies import CONTRACT_HEADER, metadata_response, status_response
from itembed_tf.server.request_validation import check_items
from itembed_tf.server.tensors import read_inputs, write_output

PREDICTION = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"].full_name
STATUS = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name
_COST_PER_ITEM = 1024  # of a PredictRequest, by `check_message_cost`, for each item that fits into the queue
_MIN_ITEMS = 256  # a short queue may still take long items
# Names that the health check accepts: those of TF Serving's health service, and the full service names.
SERVICES = ("", "ModelService", "PredictionService", PREDICTION, STATUS)


@dataclass
class Received:
    """`size` is the bytes of all messages that are being answered."""

    size: int = 0


def make_server(
    models: ModelManager, limits: Limits, metrics: Metrics, *, share_port: bool = False
) -> tuple[grpc.aio.Server, Any]:
    """A server, not yet bound to a port, and its health servicer; `share_port`: other processes listen on it too."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", limits.max_message),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", int(share_port)),  # otherwise binding a port twice must fail, not share the calls
            # gRPC cannot limit the number of connections; those that send nothing are closed, as over HTTP.
            ("grpc.server_handshake_timeout_ms", round(1000 * HEAD_SECONDS)),
            ("grpc.max_connection_idle_ms", round(1000 * IDLE_SECONDS)),
        ],
        maximum_concurrent_rpcs=limits.max_calls,
    )
    shared = (models, limits, metrics, Received())
    predict = _handler(predict_pb2.PredictRequest, "Predict", _predict, *shared)
    metadata = _handler(get_model_metadata_pb2.GetModelMetadataRequest, "GetModelMetadata", _metadata, *shared)
    status = _handler(get_model_status_pb2.GetModelStatusRequest, "GetModelStatus", _status, *shared)
    services = {PREDICTION: {"Predict": predict, "GetModelMetadata": metadata}, STATUS: {"GetModelStatus": status}}
    for name, methods in services.items():
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, methods)])
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    names = (PREDICTION, STATUS, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)  # TF Serving has it too; grpcurl needs it
    return server, servicer


def _handler(
    message: Any,
    api: str,
    respond: Callable[[ModelManager, Limits, Any, Any, int], Awaitable[Any]],
    models: ModelManager,
    limits: Limits,
    metrics: Metrics,
    received: Received,
) -> Any:
    async def handle(content: bytes, context: Any) -> bytes:
        started, name, status = time.monotonic(), "", "CANCELLED"
        received.size += len(content)
        try:
            if received.size > limits.max_waiting and len(content) > SMALL:
                text = f"calls of {received.size:,} bytes are being answered; retry later"
                raise RequestError(grpc.StatusCode.UNAVAILABLE, text)
            request = await run_off_loop(len(content), _parse, message, content, limits)
            name = request.model_spec.name if request.model_spec.name in models.models else ""
            response = (await respond(models, limits, request, context, len(content))).SerializeToString()
            status = "OK"
        except RequestError as error:
            status = error.code.name
            error.__traceback__ = None  # its frames hold the request, until the garbage collector runs
            await context.abort(error.code, error.message[:2000])
        except Exception:
            status = "INTERNAL"
            traceback.print_exc()
            await context.abort(grpc.StatusCode.INTERNAL, "internal server error; see the server's log")
        finally:
            received.size -= len(content)
            if api == "Predict":
                metrics.request(name, status, api, "GRPC", time.monotonic() - started)
        return response

    return grpc.unary_unary_rpc_method_handler(handle)  # takes bytes: parse errors are answered here


def _parse(message: Any, content: bytes, limits: Limits) -> Any:
    if len(content) > SMALL:
        if message is not predict_pb2.PredictRequest:
            raise invalid_argument(f"the message has {len(content):,} bytes; the maximum is {SMALL:,}")
        check_message_cost(content, _COST_PER_ITEM * max(limits.max_queue, _MIN_ITEMS))
    try:
        request = message.FromString(content)
    except DecodeError:
        raise invalid_argument(f"the message is not a valid {message.DESCRIPTOR.full_name}") from None
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    return request


async def _predict(models: ModelManager, limits: Limits, request: Any, context: Any, size: int) -> Any:
    with models.lease(request.model_spec) as version:
        if isinstance(version, RequestError):
            raise version
        name, signature = version.signature(request.model_spec.signature_name, grpc.StatusCode.FAILED_PRECONDITION)
        inputs, costs = await run_off_loop(size, _read, request, signature, limits)
        output_names = _filter_outputs(list(request.output_filter), signature)
        outputs = await version.predict(name, inputs, costs)
    response = predict_pb2.PredictResponse()
    response.model_spec.name, response.model_spec.signature_name = version.name, name
    response.model_spec.version.value = version.number
    for output_name in output_names:
        write_output(response.outputs[output_name], outputs[output_name])
    if version.contract:
        context.set_trailing_metadata(((CONTRACT_HEADER, version.contract),))
    return response


def _read(request: Any, signature: Any, limits: Limits) -> tuple[Arrays, list[int]]:
    inputs = read_inputs(request.inputs, signature.inputs, limits)
    return inputs, check_items(inputs, limits)


def _filter_outputs(output_filter: list[str], signature: Any) -> list[str]:
    for i, name in enumerate(output_filter):
        if name not in signature.outputs:
            available = ",".join(sorted(signature.outputs))
            raise invalid_argument(
                f"output tensor alias not found in signature: {name} Outputs expected to be in the set {{{available}}}."
            )
        if name in output_filter[:i]:
            raise invalid_argument(f"duplicate output tensor alias: {name}")
    return output_filter or sorted(signature.outputs)


async def _metadata(models: ModelManager, limits: Limits, request: Any, context: Any, size: int) -> Any:
    del limits, context, size
    if not request.metadata_field:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for key in request.metadata_field:
        if key != "signature_def":
            raise invalid_argument(f"Metadata field {key} is not supported")
    return metadata_response(models, request.model_spec)


async def _status(models: ModelManager, limits: Limits, request: Any, context: Any, size: int) -> Any:
    del limits, context, size
    return status_response(models, request.model_spec)
