"""Inference with a LiteRT file of one input and one output, and the files inside it, without TensorFlow."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from itembed_tf.quiet import silent_stderr

LiteRTFunction: TypeAlias = Callable[[NDArray[Any]], NDArray[np.float32]]


def litert_function(content: bytes) -> LiteRTFunction:
    """A function from an input without its batch dimension to the output without it, on one thread.

    It is not thread-safe: each thread takes one of its own, or a lock.

    Args:
        content: of a .tflite file with a batch of one.
    """
    from ai_edge_litert.interpreter import Interpreter  # takes 0.1 s

    with silent_stderr():  # the name of its delegate
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    # By index and not by signature: LiteRT's signature runner copies every tensor twice.
    x, y = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(one: NDArray[Any]) -> NDArray[np.float32]:
        interpreter.set_tensor(x, one[None])
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(y)[0])

    return run


def encode_ids(
    function: LiteRTFunction, ids: NDArray[np.int32], without_words: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Embeddings of texts, one call a text, as a file has a batch of one.

    Args:
        function: of a text encoder, by `litert_function`.
        ids: int32 [n, L], 0 = padding.
        without_words: float32 [D], the embedding of a text without known words.

    Returns:
        float32 [n, D].
    """
    vectors = np.repeat(without_words[None], len(ids), axis=0)
    for i in np.flatnonzero(ids.any(axis=1)):
        vectors[i] = function(ids[i])
    return vectors


def files_inside(content: bytes) -> dict[str, str]:
    """The files that a .tflite file of ours contains, such as ``text_encoder.json``: name -> content.

    Raises:
        ValueError: it contains none.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name).decode("utf-8") for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        raise ValueError(f"no files inside ({error})") from None
