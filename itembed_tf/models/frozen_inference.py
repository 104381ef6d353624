"""Forward pass of a frozen CNN for many images: by OpenVINO where it is installed and agrees with TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from itembed_tf.files import temporary_folder
from itembed_tf.models.inference import InferenceFunction, inference_function

MINIMUM_COSINE = 0.9999  # of the features of an image by both; OpenVINO in float32 has 0.9999999, in bfloat16 0.993
CHECKED = 16  # images that both encode
WORTHWHILE = 512  # images; conversion and check take the time of a few hundred
REQUESTS = 4  # at a time, twice as many as OpenVINO computes at once on two cores, so that none waits


def frozen_inference(model: keras.Model, images: int) -> InferenceFunction:
    """The forward pass of a model whose weights do not change any more, for batches of any size.

    OpenVINO encodes images 1.5 to 2.3 times as fast on a CPU as TensorFlow (`benchmarks.train_speed`). It is used in
    float32, on machines without a GPU, for at least ``WORTHWHILE`` images, where its features of the first images have
    a cosine of at least ``MINIMUM_COSINE`` with TensorFlow's. Where they have not, or where OpenVINO lacks an
    operation, a line says so.

    Args:
        model: one input [B, ...] float32, one output [B, F] float32.
        images: number of images to encode.
    """
    forward = inference_function(model)
    suited = images >= WORTHWHILE and _is_float32(model)
    if not suited or find_spec("openvino") is None or tf.config.list_physical_devices("GPU"):
        return forward
    try:
        fast = _openvino_function(model)
    except Exception as error:  # converters raise almost any exception for an operation that they lack
        tqdm.write(f"OpenVINO cannot run this CNN ({str(error).splitlines()[0]}): TensorFlow encodes the images")
        return forward
    return _checked(forward, fast)


def _is_float32(model: keras.Model) -> bool:
    """Whether all layers compute in float32."""
    return all(
        _is_float32(layer) if isinstance(layer, keras.Model) else layer.compute_dtype == "float32"
        for layer in model.layers
    )


def _checked(reference: InferenceFunction, fast: Callable[[np.ndarray], np.ndarray]) -> InferenceFunction:
    """`fast`, if it agrees with `reference` on the first batch; `reference` otherwise."""
    chosen: list[InferenceFunction] = []

    def encode(batch: tf.Tensor) -> tf.Tensor:
        if not chosen:
            cosine = _lowest_cosine(reference(batch[:CHECKED]).numpy(), fast(batch[:CHECKED].numpy()))
            agrees = cosine >= MINIMUM_COSINE
            if not agrees:
                tqdm.write(
                    f"OpenVINO's features of the first images have a cosine of {cosine:.5f} with TensorFlow's, below "
                    f"{MINIMUM_COSINE}: TensorFlow encodes the images"
                )
            chosen.append((lambda images: tf.constant(fast(images.numpy()))) if agrees else reference)
        return chosen[0](batch)

    return encode


def _lowest_cosine(one: np.ndarray, other: np.ndarray) -> float:
    """The lowest cosine of the rows of two arrays [n, F]; -1 where a number is not finite."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines = np.where(lengths > 0, (one * other).sum(axis=1) / np.maximum(lengths, 1e-30), (one == other).all(axis=1))
    return float(cosines.min()) if np.isfinite(cosines).all() else -1.0


def _openvino_function(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """A function of OpenVINO in float32, images [B, ...] to features [B, F].

    Images pass one at a time, several at once: a batch leaves the caches of the processor, and is slower.

    The model is read from a SavedModel: `openvino.convert_model` would report its use to its makers over the network.
    """
    import openvino

    # On processors with bfloat16 OpenVINO would use it without a word.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
    with temporary_folder() as folder:
        model.export(folder, verbose=False)
        network = openvino.Core().read_model(folder)
        network.reshape([1, *model.input.shape[1:]])
        compiled = openvino.compile_model(network, "CPU", settings)
    queue = openvino.AsyncInferQueue(compiled, REQUESTS)

    def encode(images: np.ndarray) -> np.ndarray:
        features = np.empty((len(images), model.output.shape[-1]), np.float32)

        def keep(request: Any, row: int) -> None:
            features[row] = request.get_output_tensor(0).data[0]

        queue.set_callback(keep)
        for row in range(len(images)):
            queue.start_async({0: images[row : row + 1]}, row)
        queue.wait_all()
        return features

    return encode
