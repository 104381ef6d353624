"""Text encoders that compute fewer positions than their length: the embeddings stay the same."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers, ops

from itembed_tf.exporting import EncoderPair
from itembed_tf.exporting.endpoints import text_endpoint
from itembed_tf.exporting.litert_files import litert_text_file
from itembed_tf.litert import encode_ids, litert_function
from itembed_tf.models.text_tower import text_tower
from itembed_tf.text import Vocabulary

LENGTH, D = 10, 8
VOCABULARY = Vocabulary(tuple("abcdefgh"), tokenizer="words", lowercase=True, length=LENGTH)
TEXTS = ["a", "b c d", "h g f e d c", "a b c d e f g h a", "a b c d e f g h a b c d"]


@pytest.fixture(scope="module")
def pair() -> EncoderPair:
    """A text tower with a stride of 2, so that two positions of padding must stay."""
    keras.utils.set_random_seed(0)
    tower = text_tower(
        vocabulary_size=VOCABULARY.size,
        length=LENGTH,
        embedding_size=D,
        variant="wide",
        depth=50,
        width=0.05,
        word_width=8,
        stem=0,
        blocks=(1, 1),
        strides=(2, 1),
        zero_gamma=False,
        mask_padding=True,
        pooling="variant",
        head="variant",
        hidden=8,
        dropout=0.0,
    )
    text = keras.Model(tower.input, layers.UnitNormalization()(tower.output), name="text_encoder")
    image = keras.Input((4, 4, 3), name="image")
    f = layers.UnitNormalization()(layers.Dense(D)(layers.GlobalAveragePooling2D()(image)))
    image_encoder = keras.Model(image, f, name="image_encoder")
    return EncoderPair(
        image_encoder, text, VOCABULARY, size=4, fit="stretch", flip=False, shifts="left", trailing_padding=2
    )


def test_litert_embeds_a_short_text_in_a_short_input(pair: EncoderPair) -> None:
    content, settings, _ = litert_text_file(pair, any_length=True)
    function, ids = litert_function(content), VOCABULARY.encode(TEXTS)
    shapes: list[tuple[int, ...]] = []

    def observed(one: np.ndarray) -> np.ndarray:
        shapes.append(one.shape)
        return function(one)

    found = encode_ids(observed, ids, np.zeros(D, np.float32), settings["trailing_padding"])
    np.testing.assert_allclose(found, pair.text_encoder(ids), atol=1e-6)
    assert shapes == [(4,), (8,), (8,), (10,), (10,)]


def test_long_texts_have_at_most_eight_lengths() -> None:
    shapes: set[tuple[int, ...]] = set()

    def observed(one: np.ndarray) -> np.ndarray:
        shapes.add(one.shape)
        return np.zeros(D, np.float32)

    encode_ids(observed, np.tril(np.ones((1000, 1000), np.int32)), np.zeros(D, np.float32), 2)
    assert sorted(shapes) == [(length,) for length in range(125, 1001, 125)]


def test_a_file_of_any_length_has_the_usual_length_until_it_is_resized(pair: EncoderPair) -> None:
    interpreter = Interpreter(model_content=litert_text_file(pair, any_length=True)[0])
    (ids,) = interpreter.get_input_details()
    assert ids["shape"].tolist() == [1, LENGTH] and ids["shape_signature"].tolist() == [1, -1]
    interpreter.allocate_tensors()
    embedding = interpreter.get_signature_runner("serving_default")(ids=VOCABULARY.encode(TEXTS[:1]))["embedding"]
    np.testing.assert_allclose(embedding, pair.text_encoder(VOCABULARY.encode(TEXTS[:1])), atol=1e-6)


def test_a_file_for_apps_has_one_length(pair: EncoderPair) -> None:
    content, settings, _ = litert_text_file(pair)
    (ids,) = Interpreter(model_content=content).get_input_details()
    assert ids["shape_signature"].tolist() == [1, LENGTH] and "trailing_padding" not in settings


def test_the_saved_model_computes_the_length_of_the_longest_text(tmp_path: Path) -> None:
    """The embedding of this encoder is the number of ids that it is given."""
    ids = keras.Input((LENGTH,), dtype="int32", name="ids")
    counted = ops.sum(ops.ones_like(ids, dtype="float32"), axis=1, keepdims=True)
    encoder, file = keras.Model(ids, counted), tmp_path / "vocabulary.txt"
    VOCABULARY.save(file)
    endpoint = text_endpoint(encoder, vocabulary=VOCABULARY, vocabulary_file=str(file), trailing_padding=2)
    for texts, length in ((["a", "b c d"], 5), (TEXTS, LENGTH), (["unknown"], 2)):
        assert set(endpoint.functions["serving_default"](tf.constant(texts))["embedding"].numpy().ravel()) == {length}
    assert endpoint.functions["ids"](tf.constant(VOCABULARY.encode(["a"])))["embedding"].numpy() == LENGTH
