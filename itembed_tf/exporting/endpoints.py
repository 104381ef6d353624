"""The served functions: image files or texts in, unit length embeddings out, in a form that a SavedModel stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from itembed_tf.data.graph_formats import refusal
from itembed_tf.data.images import load_image
from itembed_tf.export_layout import DEFAULT_SIGNATURE, IDS_SIGNATURE
from itembed_tf.models.inference import inference_function
from itembed_tf.text import Vocabulary
from itembed_tf.text.graph import TextGraph

_MAX_REPORTED = 16  # items that an error lists
_PAD = b"\0" * 8  # tf.strings.substr refuses a position before the start of the string


@dataclass(frozen=True)
class Endpoint:
    """Functions of one encoder by signature, and the module that holds their weights and tables.

    The functions are not attributes of the module: TensorFlow would trace each a second time when it saves them.
    """

    module: tf.Module
    functions: Mapping[str, Any]


def feature_endpoint(encoder: keras.Model) -> Endpoint:
    """``serving_default``: features float32 [batch, F] of images -> embedding float32 [batch, D].

    It refuses an empty batch, and features that are not finite.
    """
    width, forward = encoder.input.shape[1], inference_function(encoder)

    @tf.function(input_signature=[tf.TensorSpec([None, width], tf.float32, name="features")], autograph=False)
    def serve(features: tf.Tensor) -> dict[str, tf.Tensor]:
        finite = tf.reduce_all(tf.math.is_finite(features), axis=1)
        wrong = tf.where(~finite)[:_MAX_REPORTED, 0]
        checks = [
            _refuse_empty(features, "features"),
            tf.debugging.Assert(tf.reduce_all(finite), ["features must be finite; positions in the batch:", wrong]),
        ]
        with tf.control_dependencies(checks):
            return {"embedding": forward(tf.identity(features))}

    return Endpoint(_module_of(encoder), {DEFAULT_SIGNATURE: serve})


def image_endpoint(encoder: keras.Model, *, size: int, fit: str) -> Endpoint:
    """``serving_default``: image_bytes string [batch] -> embedding float32 [batch, D].

    It refuses an empty batch, and items that it cannot decode, naming the positions of all of them and what they are
    (`itembed_tf.data.graph_formats`). Only damage inside a JPEG or PNG whose start and end are intact fails with the
    decoder's message, without a position.
    """
    forward = inference_function(encoder)

    def load(data: tf.Tensor) -> tf.Tensor:
        return load_image(data, size=size, fit=fit)

    # Without autograph: these functions have no Python control flow, and its conversion takes seconds.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")], autograph=False)
    def serve(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        checks = [_refuse_empty(image_bytes, "image_bytes"), _refuse_unreadable(image_bytes, load)]
        with tf.control_dependencies(checks):
            image_bytes = tf.identity(image_bytes)
        pixels = tf.map_fn(load, image_bytes, fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32))
        return {"embedding": _one_row_each(image_bytes, forward(pixels))}

    return Endpoint(_module_of(encoder), {DEFAULT_SIGNATURE: serve})


def text_endpoint(
    encoder: keras.Model, *, vocabulary: Vocabulary, vocabulary_file: str, trailing_padding: int | None = None
) -> Endpoint:
    """``serving_default``: text string [batch]; ``ids``: ids int32 [batch, L]; both -> embedding and known_words.

    ``embedding`` is float32 [batch, D]. ``known_words`` int32 [batch] is the number of words that the encoder saw; 0
    means that the embedding is meaningless. `vocabulary_file` is copied into the SavedModel. With `trailing_padding`
    (of `EncoderPair`), ``serving_default`` computes no more positions than the longest text of the batch needs; ``ids``
    always computes all, so that converters, whose runtimes are slow with shapes that vary, find fixed ones.
    """
    module = _module_of(encoder)
    module.text_graph = TextGraph(vocabulary, vocabulary_file)

    def embed(sent: tf.Tensor, ids: tf.Tensor) -> dict[str, tf.Tensor]:
        known = tf.math.count_nonzero(ids, axis=1, dtype=tf.int32)
        embedding = inference_function(encoder, any_length=ids.shape[1] is None)(ids)
        return {"embedding": _one_row_each(sent, embedding), "known_words": known}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")], autograph=False)
    def serve(text: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies([_refuse_empty(text, "text")]):
            ids, _ = module.text_graph(tf.identity(text))
        ids = tf.ensure_shape(ids, [None, vocabulary.length])
        if trailing_padding is not None:
            ids = ids[:, : _longest(ids) + trailing_padding]
        return embed(text, ids)

    @tf.function(input_signature=[tf.TensorSpec([None, vocabulary.length], tf.int32, name="ids")], autograph=False)
    def serve_ids(ids: tf.Tensor) -> dict[str, tf.Tensor]:
        message = f"ids must be in 0 .. {vocabulary.size - 1} (0 = padding); min and max received:"
        in_range = tf.debugging.Assert(
            tf.reduce_all((ids >= 0) & (ids < vocabulary.size)), [message, tf.reduce_min(ids), tf.reduce_max(ids)]
        )
        with tf.control_dependencies([_refuse_empty(ids, "ids"), in_range]):
            return embed(ids, tf.identity(ids))

    return Endpoint(module, {DEFAULT_SIGNATURE: serve, IDS_SIGNATURE: serve_ids})


def _module_of(encoder: keras.Model) -> tf.Module:
    """A module that holds the encoder's weights once.

    A SavedModel treats a Keras variable and the tf.Variable inside it as two objects: `keras.Model.export`, which
    tracks both, stores every weight twice.
    """
    module = tf.Module()
    module.weights = [variable.value for variable in encoder.variables]
    return module


def _longest(ids: tf.Tensor) -> tf.Tensor:
    """The number of words of the longest text of left-aligned ids [B, L], int32."""
    return tf.reduce_max(tf.math.count_nonzero(ids, axis=1, dtype=tf.int32))


def _refuse_empty(batch: tf.Tensor, name: str) -> Any:
    return tf.debugging.assert_positive(tf.shape(batch)[0], message=f"{name} is an empty batch: send at least one item")


def _one_row_each(sent: tf.Tensor, embedding: tf.Tensor) -> tf.Tensor:
    """The embedding, if it has one row for each item that was sent.

    TF Serving does not check the shape of an input. Sentences [n, m] would give n * m rows; in a batch, the rows of all
    requests behind them would go to the wrong caller.
    """
    items, rows = tf.shape(sent)[0], tf.shape(embedding)[0]
    message = "the input must have one dimension, the items of the batch; items sent, and rows computed:"
    with tf.control_dependencies([tf.debugging.Assert(tf.equal(items, rows), [message, items, rows])]):
        return tf.identity(embedding)


def _refuse_unreadable(image_bytes: tf.Tensor, load: Callable[[tf.Tensor], tf.Tensor]) -> Any:
    """Name every item that cannot be decoded. Items whose first and last bytes look incomplete are decoded on trial.

    Complete JPEGs and PNGs cost nothing; GIF, BMP and WebP are decoded twice.
    """
    padded = tf.strings.join([_PAD, image_bytes, _PAD])
    jpeg = tf.equal(tf.strings.substr(padded, 8, 3), b"\xff\xd8\xff")
    jpeg &= tf.equal(tf.strings.substr(padded, -10, 2), b"\xff\xd9")
    png = tf.equal(tf.strings.substr(padded, 8, 4), b"\x89PNG") & tf.equal(tf.strings.substr(padded, -16, 4), b"IEND")
    positions = tf.where(~(jpeg | png))[:, 0]
    none = positions, tf.constant([], tf.string)
    unreadable, reasons = tf.cond(
        tf.size(positions) > 0, lambda: _unreadable_items(image_bytes, positions, load), lambda: none
    )
    items = tf.strings.join(["image_bytes[", tf.strings.as_string(unreadable), "] is ", reasons])
    message = tf.strings.reduce_join(items[:_MAX_REPORTED], separator="; ")
    return tf.debugging.Assert(tf.equal(tf.size(unreadable), 0), [message])


def _unreadable_items(
    image_bytes: tf.Tensor, positions: tf.Tensor, load: Callable[[tf.Tensor], tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Positions, int64 [k], and reasons, string [k], of the items that `load` fails on.

    Only a tf.data pipeline can ignore an error of an op.
    """

    @tf.autograph.experimental.do_not_convert
    def position_if_loaded(position: tf.Tensor) -> tf.Tensor:
        # The value must depend on the pixels (the condition is always true): a control dependency would be pruned.
        return tf.where(load(image_bytes[position])[0, 0, 0] >= 0, position, -1)

    # The first element cannot fail, because an empty dataset would be an error of its own.
    loaded = tf.data.Dataset.from_tensor_slices(positions).map(position_if_loaded).ignore_errors()
    readable = tf.data.Dataset.from_tensors(tf.constant(-1, tf.int64)).concatenate(loaded)
    readable = readable.batch(tf.size(positions, tf.int64) + 1).get_single_element()
    unreadable = tf.boolean_mask(positions, tf.reduce_all(positions[:, None] != readable[None], axis=1))
    reasons = tf.map_fn(refusal, tf.gather(image_bytes, unreadable), fn_output_signature=tf.string)
    return unreadable, tf.where(reasons == b"", "a truncated or damaged image", reasons)
