"""Warm-up records for TF Serving: requests that the server runs when it loads a version, before real requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from itembed_tf.export_layout import EXTRA_ASSETS, WARMUP_FILE


def write_warmup(
    folder: Path,
    *,
    model_name: str,
    examples: Mapping[str, tuple[str, np.ndarray]],
    batch_sizes: Sequence[int],
) -> int:
    """Write one PredictionLog per signature and batch size as a TFRecord file; return their number.

    Args:
        folder: of the SavedModel.
        model_name: name of the model in the server's config.
        examples: signature -> (name of its input, array of example items); the items are repeated to fill a batch.
        batch_sizes: allowed batch sizes of the server.
    """
    path = folder / EXTRA_ASSETS / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as records:
        for signature, (input_name, items) in examples.items():
            for size in batch_sizes:
                request = predict_pb2.PredictRequest()
                request.model_spec.name = model_name
                request.model_spec.signature_name = signature
                batch = np.resize(items, (size, *items.shape[1:]))  # np.resize repeats the items in turn
                request.inputs[input_name].CopyFrom(tf.make_tensor_proto(batch))
                log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
                records.write(log.SerializeToString())
    return len(examples) * len(batch_sizes)
