"""Conversion of an encoder to ONNX, and inference with the result by ONNX Runtime."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from itembed_tf.exporting.contract import ExportError
from itembed_tf.progress import running_clock
from itembed_tf.quiet import silent_stderr

OPSET = 17  # read by ONNX Runtime 1.12 and later, and by OpenVINO
MAX_BYTES = 2**31 - 1  # of a protobuf message, which an ONNX file is


def convert_onnx(encoder: keras.Model, *, name: str, description: str, metadata: Mapping[str, str]) -> bytes:
    """Convert an encoder to the content of an ONNX file of float32, opset `OPSET`, with standard operators only.

    Its input is `name` [batch, ...], as that of the encoder; its output ``embedding`` float32 [batch, D]. Any number of
    items may be sent in a batch.

    Args:
        encoder: a float32 model of one input and one output.
        name: of the input.
        description: of the file, its ``doc_string``.
        metadata: key -> text, stored inside the file (``metadata_props``).

    Raises:
        ExportError: an operation of the encoder has no counterpart in ONNX, or its weights are too large for a file.
    """
    import onnx  # takes 0.3 s, with tf2onnx a second
    import tf2onnx

    weights = sum(int(np.prod(v.shape)) * v.value.dtype.size for v in encoder.variables)
    if weights > MAX_BYTES:
        raise ExportError(
            f"{encoder.name} has {weights / 1e9:.1f} GB of weights, and an ONNX file holds at most "
            f"{MAX_BYTES / 1e9:.1f} GB; export SavedModels: --to saved_model"
        )
    signature = [tf.TensorSpec([None, *encoder.input.shape[1:]], encoder.input.dtype, name=name)]

    @tf.function(input_signature=signature, autograph=False)
    def embed(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": encoder(x, training=False)}

    with running_clock(f"converting {encoder.name} to ONNX"), silent_stderr(), _quiet("tf2onnx"):
        try:
            model, _ = tf2onnx.convert.from_function(embed, input_signature=signature, opset=OPSET)
            onnx.checker.check_model(model, full_check=True)  # tf2onnx copies an operation that it does not know
        except Exception as error:  # tf2onnx raises whatever its handler of an operation does
            reason = (str(error).splitlines() or [repr(error)])[0]
            raise ExportError(
                f"{encoder.name} cannot be converted to ONNX ({reason}); export it with --to saved_model or --to litert"
            ) from error
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    model.graph.name, model.doc_string = encoder.name, description
    onnx.helper.set_model_props(model, dict(metadata))
    return bytes(model.SerializeToString())


def onnx_function(content: bytes) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """A function from a batch of inputs to the output of an ONNX file of one input and one output, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(batch: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {name: batch})[0])

    return run


@contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Switch off a logger during the block: tf2onnx logs its optimisation, and each error that it raises."""
    found = logging.getLogger(logger)
    before = found.level
    found.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        found.setLevel(before)
