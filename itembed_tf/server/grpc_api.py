"""TF Serving's gRPC API: Predict, GetModelMetadata, GetModelStatus, and the standard health check."""

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

from itembed_tf.server.errors import RequestError, invalid_argument
from itembed_tf.server.limits import Limits
from itembed_tf.server.metrics import Metrics
from itembed_tf.server.model_manager import ModelManager
from itembed_tf.server.replies import metadata_response, status_response
from itembed_tf.server.tensors import read_inputs, write_output

PREDICTION, STATUS = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"
# Names that the health check accepts: those of TF Serving's health service, and the full service names.
SERVICES = ("", "ModelService", "PredictionService", PREDICTION, STATUS)


def make_server(models: ModelManager, limits: Limits, metrics: Metrics) -> tuple[grpc.aio.Server, Any]:
    """A server, not yet bound to a port, and its health servicer."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", limits.max_message),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # binding a port twice must fail, not share the calls
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
    respond: Callable[[ModelManager, Limits, Any], Awaitable[Any]],
    models: ModelManager,
    limits: Limits,
    metrics: Metrics,
) -> Any:
    async def handle(content: bytes, context: Any) -> bytes:
        started, name, status = time.monotonic(), "", "CANCELLED"
        try:
            try:
                request = message.FromString(content)
            except DecodeError:
                raise invalid_argument(f"the message is not a valid {message.DESCRIPTOR.full_name}") from None
            if not request.HasField("model_spec"):
                raise invalid_argument("Missing ModelSpec")
            name = request.model_spec.name if request.model_spec.name in models.models else ""
            response = (await respond(models, limits, request)).SerializeToString()
            status = "OK"
        except RequestError as error:
            status = error.code.name
            await context.abort(error.code, error.message[:2000])
        except Exception:
            status = "INTERNAL"
            traceback.print_exc()
            await context.abort(grpc.StatusCode.INTERNAL, "internal server error; see the server's log")
        finally:
            if api == "Predict":
                metrics.request(name, status, api, "GRPC", time.monotonic() - started)
        return response

    return grpc.unary_unary_rpc_method_handler(handle)  # takes bytes: parse errors are answered here


async def _predict(models: ModelManager, limits: Limits, request: Any) -> Any:
    version = models.find(request.model_spec)
    name, signature = version.signature(request.model_spec.signature_name, grpc.StatusCode.FAILED_PRECONDITION)
    inputs = read_inputs(request.inputs, signature.inputs, limits)
    output_names = _filter_outputs(list(request.output_filter), signature)
    outputs = await version.predict(name, inputs)
    response = predict_pb2.PredictResponse()
    response.model_spec.name, response.model_spec.signature_name = version.name, name
    response.model_spec.version.value = version.number
    for output_name in output_names:
        write_output(response.outputs[output_name], outputs[output_name])
    return response


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


async def _metadata(models: ModelManager, limits: Limits, request: Any) -> Any:
    del limits
    if not request.metadata_field:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for key in request.metadata_field:
        if key != "signature_def":
            raise invalid_argument(f"Metadata field {key} is not supported")
    return metadata_response(models, request.model_spec)


async def _status(models: ModelManager, limits: Limits, request: Any) -> Any:
    del limits
    return status_response(models, request.model_spec)
