"""The served functions: raw bytes or sentences in, unit embeddings out, as `tf.Module`s that SavedModel can hold."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from itembed_tf.image import load_image
from itembed_tf.text import Vocabulary
from itembed_tf.text_graph import TextGraph

_HEADS = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG", "GIF": b"GIF8", "BMP": b"BM", "WebP": b"RIFF"}


def image_endpoint(encoder: keras.Model, *, size: int, fit: str) -> tf.Module:
    """``serving_default``: image_bytes string [batch] -> embedding float32 [batch, D].

    It refuses an empty batch, and items that do not start as a picture does, naming all their places in the batch. A
    picture that is broken further in fails with the decoder's own message, which cannot name its place: no TensorFlow
    op catches another's error.
    """

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies([_refuse_empty(image_bytes, "image_bytes"), _refuse_unknown_formats(image_bytes)]):
            image_bytes = tf.identity(image_bytes)
        pixels = tf.map_fn(
            lambda data: load_image(data, size=size, fit=fit),
            image_bytes,
            fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32),
        )
        return {"embedding": encoder(pixels, training=False)}

    module = _module_of(encoder)
    module.serve = serve
    return module


def text_endpoint(encoder: keras.Model, *, vocabulary: Vocabulary, vocabulary_file: str) -> tf.Module:
    """``serving_default``: text string [batch]; ``ids``: ids int32 [batch, L]; both -> embedding and known_words.

    ``embedding`` is float32 [batch, D], ``known_words`` int32 [batch]: how many words of the sentence went in; 0 means
    that the embedding says nothing about the sentence. `vocabulary_file` is copied into the SavedModel.
    """
    module = _module_of(encoder)
    module.text_graph = TextGraph(vocabulary, vocabulary_file)

    def embed(ids: tf.Tensor) -> dict[str, tf.Tensor]:
        known = tf.math.count_nonzero(ids, axis=1, dtype=tf.int32)
        return {"embedding": encoder(ids, training=False), "known_words": known}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def serve(text: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies([_refuse_empty(text, "text")]):
            ids, _ = module.text_graph(tf.identity(text))
        return embed(tf.ensure_shape(ids, [None, vocabulary.length]))

    @tf.function(input_signature=[tf.TensorSpec([None, vocabulary.length], tf.int32, name="ids")])
    def serve_ids(ids: tf.Tensor) -> dict[str, tf.Tensor]:
        allowed = f"ids must lie in 0 .. {vocabulary.size - 1} (0 = padding); least and largest sent:"
        inside = tf.debugging.Assert(
            tf.reduce_all((ids >= 0) & (ids < vocabulary.size)), [allowed, tf.reduce_min(ids), tf.reduce_max(ids)]
        )
        with tf.control_dependencies([_refuse_empty(ids, "ids"), inside]):
            return embed(tf.identity(ids))

    module.serve, module.serve_ids = serve, serve_ids
    return module


def _module_of(encoder: keras.Model) -> tf.Module:
    """A module that holds the encoder's weights once.

    A Keras variable and the tf.Variable inside it are two things to a SavedModel: `keras.Model.export`, which tracks
    both, stores every weight twice.
    """
    module = tf.Module()
    module.weights = [variable.value for variable in encoder.variables]
    return module


def _refuse_empty(batch: tf.Tensor, name: str) -> Any:
    return tf.debugging.assert_positive(tf.shape(batch)[0], message=f"{name} is an empty batch: send at least one item")


def _refuse_unknown_formats(image_bytes: tf.Tensor) -> Any:
    """Look at the first bytes of each item, so that the error can name every place that holds no picture."""
    known = tf.zeros_like(image_bytes, tf.bool)
    for head in _HEADS.values():
        known |= tf.equal(tf.strings.substr(image_bytes, 0, len(head)), head)
    places = tf.where(~known)[:, 0]
    message = f"image_bytes holds items that are not {', '.join(_HEADS)}; their places in the batch and their bytes:"
    lengths = tf.gather(tf.strings.length(image_bytes), places)
    return tf.debugging.Assert(tf.reduce_all(known), [message, places, lengths], summarize=16)
