"""TF Serving's gRPC API, called with TF Serving's own messages and stubs."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

TEXTS = [b"a dog runs", b"the man on a red bike", b"", b"\xff a dog"]
AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE


@pytest.fixture(scope="module")
def channel(target):
    with grpc.insecure_channel(target.grpc) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def ask(model="text_encoder", signature="", version=None, label=None, outputs=(), **inputs):
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name, request.model_spec.signature_name = model, signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(values if isinstance(values, TensorProto) else proto(values))
    return request


def proto(values, dtype=None):
    return tf.make_tensor_proto(values, dtype)


def arrays(response):
    return {name: tf.make_ndarray(values) for name, values in response.outputs.items()}


def code_of(call) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.details(), "an error without a message"
    return caught.value.code()


@pytest.fixture(scope="module")
def newest(channel) -> int:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "text_encoder"
    status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request)
    return max(v.version for v in status.model_version_status if v.state == AVAILABLE)


def test_predict_returns_unit_embeddings_and_the_model_spec(stub, newest):
    response = stub.Predict(ask(text=TEXTS), timeout=30)
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("text_encoder", newest, "serving_default")
    answer = arrays(response)
    assert sorted(answer) == ["embedding", "known_words"]
    assert answer["embedding"].dtype == np.float32 and answer["known_words"].dtype == np.int32
    assert answer["embedding"].shape[0] == len(answer["known_words"]) == 4
    known = answer["known_words"] > 0
    assert known.tolist() == [True, True, False, True]
    np.testing.assert_allclose(np.linalg.norm(answer["embedding"][known], axis=1), 1, atol=1e-5)


def test_numbers_are_in_the_typed_fields(stub):
    embedding = stub.Predict(ask(text=["a dog"]), timeout=30).outputs["embedding"]
    assert len(embedding.float_val) == embedding.tensor_shape.dim[1].size and not embedding.tensor_content


def test_the_embedding_does_not_depend_on_the_batch(stub):
    together = arrays(stub.Predict(ask(text=TEXTS), timeout=30))["embedding"]
    alone = [arrays(stub.Predict(ask(text=[text]), timeout=30))["embedding"][0] for text in TEXTS]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_images_of_every_format(stub, images):
    answer = arrays(stub.Predict(ask("image_encoder", image_bytes=images), timeout=60))
    assert list(answer) == ["embedding"] and answer["embedding"].shape[0] == len(images)
    np.testing.assert_allclose(np.linalg.norm(answer["embedding"], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(answer["embedding"][0], answer["embedding"][5], atol=1e-6)


@pytest.mark.parametrize("form", ["values", "content", "one value for all"])
def test_ids_in_every_form_of_a_tensor(stub, form):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "text_encoder"
    length = signatures(stub.GetModelMetadata(request, timeout=30))["ids"].inputs["ids"].tensor_shape.dim[1].size
    sent = TensorProto(dtype=tf.int32.as_datatype_enum)
    for size in (2, length):
        sent.tensor_shape.dim.add(size=size)
    if form == "values":
        sent.int_val.extend([1] * 2 * length)
    elif form == "content":
        sent.tensor_content = np.ones((2, length), "<i4").tobytes()
    else:
        sent.int_val.append(1)
    answer = arrays(stub.Predict(ask(signature="ids", ids=sent), timeout=30))
    plain = arrays(stub.Predict(ask(signature="ids", ids=np.ones((2, length), np.int32)), timeout=30))
    assert answer["known_words"].tolist() == [length, length]
    np.testing.assert_allclose(answer["embedding"], plain["embedding"], atol=1e-6)


def test_version_label_and_signature(target, stub, newest):
    latest = arrays(stub.Predict(ask(text=["a dog"]), timeout=30))["embedding"]
    named = stub.Predict(ask(text=["a dog"], version=newest, signature="serving_default"), timeout=30)
    np.testing.assert_allclose(arrays(named)["embedding"], latest, atol=1e-6)
    try:
        labelled = stub.Predict(ask(text=["a dog"], label="stable"), timeout=30)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        target.lacks("the label stable")
    assert labelled.model_spec.version.value > 0


def test_output_filter(stub):
    assert list(stub.Predict(ask(text=["a dog"], outputs=["known_words"]), timeout=30).outputs) == ["known_words"]


INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
SIGNATURE = grpc.StatusCode.FAILED_PRECONDITION  # INVALID_ARGUMENT in servers before 2.18
ERRORS = {
    "an unknown model": (ask("half", text=["a"]), NOT_FOUND),
    "an unknown version": (ask(text=["a"], version=987654321), NOT_FOUND),
    "an unknown label": (ask(text=["a"], label="no-such-label"), INVALID),
    "no model": (predict_pb2.PredictRequest(), INVALID),
    "a model without a name": (ask("", text=["a"]), INVALID),
    "an unknown signature": (ask(signature="nothing", text=["a"]), SIGNATURE),
    "another input's name": (ask(words=["a"]), INVALID),
    "no input": (ask(), INVALID),
    "an input too many": (ask(text=["a"], more=["a"]), INVALID),
    "numbers for strings": (ask(text=np.ones(1, np.int32)), INVALID),
    "strings for numbers": (ask(signature="ids", ids=[["a"]]), INVALID),
    "one dimension too many": (ask(text=[["a"]]), INVALID),
    "a scalar": (ask(text="a"), INVALID),
    "ids of another length": (ask(signature="ids", ids=np.ones((1, 999), np.int32)), INVALID),
    "an empty batch": (ask(text=proto([], tf.string)), INVALID),
    "an unknown output": (ask(text=["a"], outputs=["nothing"]), INVALID),
    "an output twice": (ask(text=["a"], outputs=["embedding", "embedding"]), INVALID),
    "not an image": (ask("image_encoder", image_bytes=[b"not an image"]), INVALID),
    "an empty image": (ask("image_encoder", image_bytes=[b""]), INVALID),
}


@pytest.mark.parametrize("case", ERRORS)
def test_predict_errors(stub, case):
    request, code = ERRORS[case]
    received = code_of(lambda: stub.Predict(request, timeout=30))
    assert received == code or (code == SIGNATURE and received == INVALID)


def test_an_error_has_the_index_of_the_invalid_image(stub, images):
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(ask("image_encoder", image_bytes=[images[0], b"not an image", images[1]]), timeout=30)
    assert caught.value.code() == INVALID and "1" in caught.value.details()
    assert stub.Predict(ask("image_encoder", image_bytes=images[:1]), timeout=30).outputs


def test_an_unparsable_message(channel):
    predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    assert code_of(lambda: predict(b"\x0a\xff\xff", timeout=30)) in (INVALID, grpc.StatusCode.INTERNAL)


def test_deadline(stub, images):
    # Images: gRPC rounds a deadline to whole milliseconds, in which a text can be answered.
    late = ask("image_encoder", image_bytes=images)
    assert code_of(lambda: stub.Predict(late, timeout=0.001)) == grpc.StatusCode.DEADLINE_EXCEEDED


def signatures(response):
    signature_map = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signature_map)
    return signature_map.signature_def


def test_metadata(stub, newest):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "text_encoder"
    response = stub.GetModelMetadata(request, timeout=30)
    assert (response.model_spec.name, response.model_spec.version.value) == ("text_encoder", newest)
    by_name = signatures(response)
    assert {"serving_default", "ids"} <= set(by_name)
    text = by_name["serving_default"]
    assert text.method_name == "tensorflow/serving/predict"
    assert text.inputs["text"].dtype == tf.string.as_datatype_enum
    assert [d.size for d in text.inputs["text"].tensor_shape.dim] == [-1]
    assert next(d.size for d in text.outputs["embedding"].tensor_shape.dim) == -1


@pytest.mark.parametrize(
    ("fields", "name", "code"),
    [([], "text_encoder", INVALID), (["nothing"], "text_encoder", INVALID), (["signature_def"], "half", NOT_FOUND)],
)
def test_metadata_errors(stub, fields, name, code):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = name
    assert code_of(lambda: stub.GetModelMetadata(request, timeout=30)) == code
    bare = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    assert code_of(lambda: stub.GetModelMetadata(bare, timeout=30)) == INVALID


def test_status_of_all_versions_of_one_and_of_none(channel, newest):
    status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus
    request = get_model_status_pb2.GetModelStatusRequest()
    assert code_of(lambda: status(request, timeout=30)) == INVALID
    request.model_spec.name = "half"
    assert code_of(lambda: status(request, timeout=30)) == NOT_FOUND
    request.model_spec.name = "image_encoder"
    versions = status(request, timeout=30).model_version_status
    assert AVAILABLE in [version.state for version in versions]
    assert all(version.status.error_code == 0 for version in versions if version.state == AVAILABLE)
    request.model_spec.version.value = newest
    (one,) = status(request, timeout=30).model_version_status
    assert (one.version, one.state) == (newest, AVAILABLE)
    request.model_spec.version.value = 987654321
    assert code_of(lambda: status(request, timeout=30)) == NOT_FOUND


def test_health(target, channel):
    check = health_pb2_grpc.HealthStub(channel).Check
    try:
        answer = check(health_pb2.HealthCheckRequest(), timeout=30)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED
        target.lacks("--enable_grpc_healthcheck_service")
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    for service in ("PredictionService", "ModelService"):
        assert check(health_pb2.HealthCheckRequest(service=service), timeout=30).status == answer.status
    with pytest.raises(grpc.RpcError) as caught:
        check(health_pb2.HealthCheckRequest(service="nothing"), timeout=30)
    assert caught.value.code() == NOT_FOUND


def test_reflection(channel):
    """grpcurl and other tools ask for the services, and for their messages."""
    ask = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="tensorflow.serving.PredictionService"),
    ]
    services, described = ask(iter(requests), timeout=30)
    names = {service.name for service in services.list_services_response.service}
    assert {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"} <= names
    assert described.file_descriptor_response.file_descriptor_proto


def test_methods_for_other_kinds_of_models(stub):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "text_encoder"
    assert code_of(lambda: stub.Classify(request, timeout=30)) in (INVALID, grpc.StatusCode.UNIMPLEMENTED)
