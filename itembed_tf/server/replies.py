"""GetModelMetadata and GetModelStatus responses, which gRPC and REST both send."""

from __future__ import annotations

from typing import Any

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from itembed_tf.server.model_manager import ModelManager
from itembed_tf.server.model_version import ModelVersion

# Of REST responses; the contract hash also in gRPC's trailing metadata, whose answers contain the version themselves.
VERSION_HEADER, CONTRACT_HEADER = "itembed-version", "itembed-contract"


def version_headers(version: ModelVersion) -> tuple[tuple[str, str], ...]:
    """HTTP headers of an answer: the version that gave it, and its contract hash where it has one."""
    number = (VERSION_HEADER, str(version.number))
    return (number, (CONTRACT_HEADER, version.contract)) if version.contract else (number,)


def metadata_response(models: ModelManager, spec: Any) -> Any:
    """GetModelMetadataResponse for the version that a ModelSpec names; signatures packed as TF Serving packs them."""
    version = models.find(spec)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name, response.model_spec.version.value = version.name, version.number
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in version.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    response.metadata["signature_def"].Pack(signatures)
    return response


def status_response(models: ModelManager, spec: Any) -> Any:
    """GetModelStatusResponse for the versions that a ModelSpec names, newest first."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for number, status in models.statuses(spec).items():
        entry = response.model_version_status.add(version=number, state=status.state)
        entry.status.error_code, entry.status.error_message = status.error_code, status.error_message
    return response
