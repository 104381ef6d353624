"""The served functions: raw bytes or sentences in, unit embeddings out, as `tf.Module`s that SavedModel can hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from itembed_tf.data.images import load_image
from itembed_tf.text import Vocabulary
from itembed_tf.text.graph import TextGraph

_FORMATS = "JPEG, PNG, GIF, BMP or WebP"
_PAD = b"\0" * 8  # tf.strings.substr refuses a place before the string's start


def image_endpoint(encoder: keras.Model, *, size: int, fit: str) -> tf.Module:
    """``serving_default``: image_bytes string [batch] -> embedding float32 [batch, D].

    It refuses an empty batch, and items that are no whole picture, naming all their places in the batch. Only damage
    amid a JPEG or PNG whose start and end are sound fails with the decoder's own message, which names no place.
    """

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        def load(data: tf.Tensor) -> tf.Tensor:
            return load_image(data, size=size, fit=fit)

        with tf.control_dependencies([_refuse_empty(image_bytes, "image_bytes"), _refuse_broken(image_bytes, load)]):
            image_bytes = tf.identity(image_bytes)
        pixels = tf.map_fn(
            load,
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


def _refuse_broken(image_bytes: tf.Tensor, load: Callable[[tf.Tensor], tf.Tensor]) -> Any:
    """Name every item that cannot be decoded. What does not look whole at a glance is decoded here, on trial.

    Whole JPEGs and PNGs cost nothing; GIF, BMP and WebP are decoded twice.
    """
    padded = tf.strings.join([_PAD, image_bytes, _PAD])
    jpeg = tf.equal(tf.strings.substr(padded, 8, 3), b"\xff\xd8\xff")
    jpeg &= tf.equal(tf.strings.substr(padded, -10, 2), b"\xff\xd9")
    png = tf.equal(tf.strings.substr(padded, 8, 4), b"\x89PNG") & tf.equal(tf.strings.substr(padded, -16, 4), b"IEND")
    places = tf.where(~(jpeg | png))[:, 0]
    broken = tf.cond(tf.size(places) > 0, lambda: _broken_places(image_bytes, places, load), lambda: places)
    message = f"image_bytes holds items that are no whole {_FORMATS}; their places in the batch and their bytes:"
    lengths = tf.gather(tf.strings.length(image_bytes), broken)
    return tf.debugging.Assert(tf.equal(tf.size(broken), 0), [message, broken, lengths], summarize=16)


def _broken_places(image_bytes: tf.Tensor, places: tf.Tensor, load: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Those of the places, int64 [k], whose item `load` fails on. No op but a data set catches another op's error."""

    def place_if_loaded(place: tf.Tensor) -> tf.Tensor:
        # By value, always true: what only a control dependency holds is pruned from a data set's function.
        return tf.where(load(image_bytes[place])[0, 0, 0] >= 0, place, -1)

    # A first element that cannot fail: a data set without any would be an error of its own.
    loaded = tf.data.Dataset.from_tensor_slices(places).map(place_if_loaded).ignore_errors()
    sound = tf.data.Dataset.from_tensors(tf.constant(-1, tf.int64)).concatenate(loaded)
    found = sound.batch(tf.size(places, tf.int64) + 1).get_single_element()
    return tf.boolean_mask(places, tf.reduce_all(places[:, None] != found[None], axis=1))
