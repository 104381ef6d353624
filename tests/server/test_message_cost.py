"""Cost of a PredictRequest: what any client sends is allowed, and what would take seconds to parse is not."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from itembed_tf.client.calls import Call
from itembed_tf.client.grpc_transport import encode_request
from itembed_tf.client.tensors import as_array
from itembed_tf.server.errors import RequestError
from itembed_tf.server.message_cost import check_message_cost

MAXIMUM = 2**20  # of the default limits


def request(values):
    message = predict_pb2.PredictRequest(output_filter=["embedding"])
    message.model_spec.name = "text_encoder"
    message.inputs["x"].CopyFrom(values)
    return message.SerializeToString()


def test_requests_at_the_limits_are_allowed():
    texts = as_array([b"a" * 30_000] * 1024)
    check_message_cost(encode_request(Call("predict", "text_encoder", inputs={"text": texts})), MAXIMUM)
    ids = np.full((1024, 64), 100_000, np.int32)
    check_message_cost(request(tf.make_tensor_proto(ids)), MAXIMUM)
    typed = tf.make_tensor_proto(ids)
    typed.ClearField("tensor_content")
    typed.int_val.extend(ids.ravel().tolist())
    check_message_cost(request(typed), MAXIMUM)


def test_many_small_fields_are_refused():
    texts = as_array([b""] * 100_000)
    with pytest.raises(RequestError, match="send fewer items") as caught:
        check_message_cost(encode_request(Call("predict", "text_encoder", inputs={"text": texts})), MAXIMUM)
    assert caught.value.code.name == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("content", [b"\x0a", b"\x0a\xff\xff\xff", b"\x0b", b"\xff" * 20, b"\x12\x05\x0a\x09abc"])
def test_what_is_not_a_message(content):
    with pytest.raises(RequestError, match=r"not a valid tensorflow.serving.PredictRequest"):
        check_message_cost(content, MAXIMUM)
