"""Engines: what runs the batches of a model version, TensorFlow or, for texts, LiteRT."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

import grpc
import tensorflow as tf

from itembed_tf.server.batching import Arrays
from itembed_tf.server.errors import RequestError
from itembed_tf.server.frozen_graph import freeze_signature
from itembed_tf.server.request_validation import image_damage, prepare_images

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Engine(Protocol):
    """Runs batches, in one thread at a time.

    Attributes:
        name: for the log and the metrics.
        signatures: names of the signatures that can be run.
    """

    name: str
    signatures: frozenset[str]

    def run(self, signature: str, inputs: Arrays) -> Arrays:
        """Outputs by name of one batch; strings are bytes in arrays of dtype object.

        Raises:
            RequestError: the model refuses the batch.
        """
        ...


class TensorFlowEngine:
    """A SavedModel, with the weights of encoders without control flow as constants."""

    name = "TensorFlow"

    def __init__(self, folder: Path) -> None:
        """Load the SavedModel.

        Raises:
            Exception: TensorFlow's error for a folder that is not a complete SavedModel.
        """
        self._loaded = tf.saved_model.load(str(folder))
        self._functions = {name: freeze_signature(signature) for name, signature in self._loaded.signatures.items()}
        self.signatures = frozenset(self._functions)

    def run(self, signature: str, inputs: Arrays) -> Arrays:
        """See `Engine.run`."""
        inputs = prepare_images(inputs)
        tensors = {
            name: tf.constant(values.tolist(), tf.string, values.shape)
            if values.dtype == object
            else tf.constant(values)
            for name, values in inputs.items()
        }
        try:
            return {name: value.numpy() for name, value in self._functions[signature](**tensors).items()}
        except tf.errors.OpError as error:
            code = _CODES.get(error.error_code, grpc.StatusCode.INTERNAL)
            damage = image_damage(inputs) if isinstance(error, tf.errors.InvalidArgumentError) else ""
            raise RequestError(code, damage or short_message(error.message)) from None


def short_message(message: str) -> str:
    """TensorFlow's error message without graph locations: node names and stack traces."""
    message = re.sub(r"\s*(\[\[|\[Op:).*", "", message.replace("Graph execution error:", ""), flags=re.DOTALL)
    lines = [line.strip() for line in message.splitlines()]
    lines = [line for line in lines if line and not re.match(r"Detected at node|File |<stack", line)]
    return " ".join(lines).removeprefix("assertion failed: ")[:500] or "the model failed on this batch"
