"""An encoder -> TFLite bytes at one precision, checked to hold its weights and LiteRT's own ops alone."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Iterable, Sequence

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from itembed_tf.exporting.parity import ParityError

# Bytes a weight. dynamic: int8 weights, activations quantised as they come; int8: both, from samples seen before.
PRECISIONS = {"float32": 4, "float16": 2, "dynamic": 1, "int8": 1}


def convert(encoder: keras.Model, *, name: str, precision: str, samples: Sequence[np.ndarray] = ()) -> bytes:
    """The encoder for batches of one, signature ``serving_default``: input `name` -> ``embedding`` float32 [1, D].

    Args:
        encoder: a float32 model of one input and one output.
        name: of the input; it keeps the encoder's dtype at every precision.
        precision: one of `PRECISIONS`.
        samples: for "int8": inputs without their batch dimension, as users will send them.

    Raises:
        ValueError: an unknown precision, or int8 without samples.
        ParityError: the file lacks its weights, or has an op that a plain LiteRT runtime lacks.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is not known; choose of {', '.join(PRECISIONS)}")
    if precision == "int8" and not len(samples):
        raise ValueError("int8 needs samples: inputs as users will send them, from which the ranges are taken")
    module = tf.Module()
    module.weights = [variable.value for variable in encoder.variables]

    @tf.function(input_signature=[tf.TensorSpec([1, *encoder.input.shape[1:]], encoder.input.dtype, name=name)])
    def embed(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": encoder(x, training=False)}

    module.embed = embed
    # By way of a SavedModel: the converter given a concrete function and a Keras model writes a file without weights.
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the converter calibrates with an interpreter it calls deprecated
        tf.saved_model.save(module, folder, signatures={"serving_default": embed.get_concrete_function()})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "int8":
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.representative_dataset = lambda: ({name: sample[None]} for sample in samples)
        content = converter.convert()
    _check(content, encoder, precision)
    return content


def embed_all(content: bytes, inputs: Iterable[np.ndarray]) -> tuple[np.ndarray, float]:
    """Inputs without their batch dimension, one a call on one thread: embeddings float32 [n, D], median ms a call."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    # By place and not by signature: LiteRT's signature runner copies every tensor twice.
    x, y = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    found, times = [], []
    for one in inputs:
        interpreter.set_tensor(x, one[None])
        start = time.perf_counter()
        interpreter.invoke()
        times.append(time.perf_counter() - start)
        found.append(interpreter.get_tensor(y)[0])
    return np.stack(found), 1000 * float(np.median(times))


def _check(content: bytes, encoder: keras.Model, precision: str) -> None:
    model = schema.Model.GetRootAsModel(content, 0)
    operators = schema.BuiltinOperator
    codes = {model.OperatorCodes(i).BuiltinCode() for i in range(model.OperatorCodesLength())}
    for refused, why in (
        (operators.VAR_HANDLE, "its weights were left outside"),
        (operators.CUSTOM, "a plain LiteRT runtime lacks it"),
    ):
        if refused in codes:
            name = next(n for n, code in vars(operators).items() if code == refused)
            raise ParityError(f"{encoder.name}, {precision}: the converted file has a {name} op: {why}")
    weights = sum(int(np.prod(v.shape)) for v in encoder.variables if len(v.shape) > 1) * PRECISIONS[precision]
    if len(content) < weights:
        raise ParityError(
            f"{encoder.name}, {precision}: {len(content):,} bytes cannot hold {weights:,} bytes of weights"
        )
