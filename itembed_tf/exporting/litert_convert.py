"""Conversion of an encoder to LiteRT (TensorFlow Lite) at one precision, and batched inference with the result."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from tqdm import tqdm

from itembed_tf.exporting.litert_metadata import with_length
from itembed_tf.exporting.parity import ParityError
from itembed_tf.files import temporary_folder
from itembed_tf.litert import litert_function
from itembed_tf.progress import running_clock
from itembed_tf.quiet import silent_stderr

# Bytes per weight. dynamic: int8 weights, activations quantised at run time; int8: both, with ranges from samples.
PRECISIONS = {"float32": 4, "float16": 2, "dynamic": 1, "int8": 1}
TIMED_CALLS, SLICE, MAX_THREADS = 64, 16, 8

Convert = Callable[[str, Sequence[np.ndarray]], bytes]


def convert(
    encoder: keras.Model, *, name: str, precision: str, samples: Sequence[np.ndarray] = (), any_length: bool = False
) -> bytes:
    """Convert an encoder at one precision; arguments as `converter` and the function that it yields."""
    with converter(encoder, name, any_length=any_length) as to_precision:
        return to_precision(precision, samples)


@contextmanager
def converter(encoder: keras.Model, name: str, *, any_length: bool = False) -> Iterator[Convert]:
    """A function from a precision to the content of a .tflite file; the encoder is traced and saved once for all.

    The file has the signature ``serving_default``: input `name`, batch of one -> ``embedding`` float32 [1, D]. Input
    and output keep their dtypes at every precision.

    Args:
        encoder: a float32 model of one input and one output.
        name: of the input.
        any_length: of a text encoder whose last ids may be left out: its input can be resized to [1, n]. Its shape in
            the file is [1, L] all the same.

    Yields:
        A function of a precision (one of `PRECISIONS`) and samples: for "int8", inputs without their batch dimension,
        such as users will send. It raises ValueError for an unknown precision or for int8 without samples, and
        ParityError for a file that lacks its weights or has an op that a plain LiteRT runtime lacks.
    """

    shape = encoder.input.shape[1:]
    signature = tf.TensorSpec([1, *((None,) if any_length else shape)], encoder.input.dtype, name=name)

    @tf.function(input_signature=[signature], autograph=False)
    def embed(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": encoder(x, training=False)}

    variables = [v.value for v in encoder.variables]
    with function_converter(embed, variables, name=name, title=encoder.name) as to_precision:

        def to_precision_of_length(precision: str, samples: Sequence[np.ndarray]) -> bytes:
            return with_length(to_precision(precision, samples), shape[0])

        yield to_precision_of_length if any_length else to_precision


@contextmanager
def function_converter(
    function: tf.types.experimental.PolymorphicFunction, variables: Sequence[tf.Variable], *, name: str, title: str
) -> Iterator[Convert]:
    """As `converter`, of a function in place of a Keras model.

    Args:
        function: with an input signature of one tensor [1, ...], called `name`; it returns ``embedding`` [1, D].
        variables: that the function reads.
        name: of the input.
        title: of the encoder, for messages.
    """
    module = tf.Module()
    module.weights = list(variables)

    def to_precision(precision: str, samples: Sequence[np.ndarray]) -> bytes:
        if precision not in PRECISIONS:
            raise ValueError(f"unknown precision {precision!r}; allowed: {', '.join(PRECISIONS)}")
        if precision == "int8" and not len(samples):
            raise ValueError("int8 needs samples: inputs such as users will send, from which value ranges are taken")
        with running_clock(f"converting {title} to {precision}"):
            content = _convert_folder(str(folder), name, precision, samples)
        _check(content, variables, precision, title)
        return content

    # By way of a SavedModel: from a concrete function and a Keras model, the converter writes a file without weights.
    with temporary_folder() as folder:
        with running_clock(f"preparing {title} for conversion"):
            signatures = {"serving_default": function.get_concrete_function()}
            tf.saved_model.save(module, str(folder), signatures=signatures)
        yield to_precision


def embed_all(
    content: bytes, inputs: Iterable[np.ndarray], *, total: int | None = None, progress: str | None = None
) -> tuple[np.ndarray, float]:
    """Pass inputs without their batch dimension through a .tflite file, one a call.

    The first `TIMED_CALLS` run alone on one thread; the others on all CPU cores, one single-threaded interpreter each.

    Args:
        content: of the .tflite file.
        inputs: consumed as they are needed.
        total, progress: number of inputs, and the title of a progress bar.

    Returns:
        Embeddings float32 [n, D] in order, and the median time of the timed calls in milliseconds.
    """
    inputs, times = iter(inputs), []
    workers = min(os.cpu_count() or 1, MAX_THREADS)
    runners = [litert_function(content)]
    outputs: list[np.ndarray] = []
    with (
        tqdm(total=total, desc=progress, leave=False, disable=not progress) as bar,
        ThreadPoolExecutor(workers) as pool,
    ):
        for one in islice(inputs, TIMED_CALLS):
            start = time.perf_counter()
            outputs.append(runners[0](one))
            times.append(time.perf_counter() - start)
            bar.update()
        while chunk := list(islice(inputs, workers * SLICE)):
            runners += [litert_function(content) for _ in range(workers - len(runners))]
            slices = [chunk[i : i + SLICE] for i in range(0, len(chunk), SLICE)]
            for rows in pool.map(lambda runner, rows: [runner(row) for row in rows], runners, slices):
                outputs += rows
            bar.update(len(chunk))
    return np.stack(outputs), 1000 * float(np.median(times))


def _convert_folder(folder: str, name: str, precision: str, samples: Sequence[np.ndarray]) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the converter calibrates with an interpreter it calls deprecated
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"])
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "int8":
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.representative_dataset = lambda: ({name: sample[None]} for sample in samples)
        with silent_stderr():  # the converter prints its settings
            return converter.convert()


def _check(content: bytes, variables: Sequence[tf.Variable], precision: str, title: str) -> None:
    model = schema.Model.GetRootAsModel(content, 0)
    operators = schema.BuiltinOperator
    codes = {model.OperatorCodes(i).BuiltinCode() for i in range(model.OperatorCodesLength())}
    for name, reason in (("VAR_HANDLE", "its weights are missing"), ("CUSTOM", "a plain LiteRT runtime lacks it")):
        if getattr(operators, name) in codes:
            raise ParityError(f"{title}, {precision}: the converted file has a {name} op: {reason}")
    weights = sum(int(np.prod(v.shape)) for v in variables if len(v.shape) > 1) * PRECISIONS[precision]
    if len(content) < weights:
        raise ParityError(f"{title}, {precision}: {len(content):,} bytes cannot hold {weights:,} bytes of weights")
