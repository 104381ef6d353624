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

LENGTHS = 8  # most lengths in which texts are given: each has an interpreter, with weights of its own


def litert_function(content: bytes) -> LiteRTFunction:
    """A function from an input without its batch dimension to the output without it, on one thread.

    It is not thread-safe: each thread takes one of its own, or a lock. Where the file allows inputs of several shapes,
    each shape has an interpreter, made at its first call: to resize one takes longer than a short text.

    Args:
        content: of a .tflite file with a batch of one.
    """
    from ai_edge_litert.interpreter import Interpreter  # takes 0.1 s

    def interpreter_of(shape: tuple[int, ...] | None = None) -> Any:
        with silent_stderr():  # the name of its delegate
            interpreter = Interpreter(model_content=content, num_threads=1)
            if shape is not None:
                interpreter.resize_tensor_input(x, (1, *shape), strict=True)
            interpreter.allocate_tensors()
        return interpreter

    usual = interpreter_of()
    # By index and not by signature: LiteRT's signature runner copies every tensor twice.
    x, y = usual.get_input_details()[0]["index"], usual.get_output_details()[0]["index"]
    interpreters = {tuple(usual.get_input_details()[0]["shape"][1:].tolist()): usual}

    def run(one: NDArray[Any]) -> NDArray[np.float32]:
        interpreter = interpreters.get(one.shape)
        if interpreter is None:
            interpreter = interpreters[one.shape] = interpreter_of(one.shape)
        interpreter.set_tensor(x, one[None])
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(y)[0])

    return run


def encode_ids(
    function: LiteRTFunction,
    ids: NDArray[np.int32],
    without_words: NDArray[np.float32],
    trailing_padding: int | None = None,
) -> NDArray[np.float32]:
    """Embeddings of texts, one call a text, as a file has a batch of one.

    Args:
        function: of a text encoder, by `litert_function`.
        ids: int32 [n, L], 0 = padding.
        without_words: float32 [D], the embedding of a text without known words.
        trailing_padding: number of padding ids that a text needs after its words; None for all of them.

    Returns:
        float32 [n, D].
    """
    vectors = np.repeat(without_words[None], len(ids), axis=0)
    for i in np.flatnonzero(ids.any(axis=1)):
        vectors[i] = function(ids[i] if trailing_padding is None else _without_padding(ids[i], trailing_padding))
    return vectors


def _without_padding(ids: NDArray[np.int32], trailing_padding: int) -> NDArray[np.int32]:
    """The first ids of a text [L]: its words, `trailing_padding`, and what is missing to one of `LENGTHS` lengths."""
    needed, step = int(np.flatnonzero(ids)[-1]) + 1 + trailing_padding, max(4, -(-len(ids) // LENGTHS))
    return ids[: -(-needed // step) * step]


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
