"""The data of lessons for a tiny text encoder with random weights; it needs neither a run nor an image encoder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from itembed_tf.teaching.data import TeachingData
from itembed_tf.text import Vocabulary

WORDS = ("a", "bike", "dog", "man", "on", "red", "runs", "the")
SIZE = 16  # D
TOWER = {
    "variant": "wide",
    "depth": 50,
    "width": 0.125,
    "word_width": 8,
    "stem": 0,
    "blocks": [1],
    "strides": [],
    "zero_gamma": False,
    "mask_padding": True,
    "pooling": "variant",
    "head": "variant",
    "hidden": 8,
    "dropout": 0.0,
}


def unit_rows(random: np.random.Generator, count: int) -> np.ndarray:
    rows = random.normal(size=(count, SIZE))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


@pytest.fixture(scope="session")
def teaching() -> TeachingData:
    import keras

    from itembed_tf.models.text_tower import text_tower
    from itembed_tf.teaching.encoder import TrainableTextEncoder
    from itembed_tf.teaching.preparation import with_features

    random = np.random.default_rng(0)
    vocabulary = Vocabulary(WORDS, tokenizer="words", lowercase=True, length=5)
    keras.utils.set_random_seed(1)
    tower = text_tower(**TOWER, vocabulary_size=vocabulary.size, length=5, embedding_size=SIZE)
    texts = [" ".join(random.choice(WORDS, 3)) for _ in range(64)]
    ids = vocabulary.encode(texts)
    none = np.zeros((0, 0), np.float16)
    data = TeachingData(
        contract="",
        image_weights="0" * 64,
        image_settings={"size": 32, "fit": "stretch"},
        encoding_settings={"flip": True, "shifts": "left"},
        tower=TOWER,
        vocabulary=vocabulary,
        weights=tuple(np.asarray(variable.value) for variable in tower.variables),
        captions=ids,
        caption_vectors=none,
        caption_features=none,
        dev_images=unit_rows(random, 8),
        dev_image_groups=np.arange(8, dtype=np.int32),
        dev_features=none,
        dev_outputs=none,
        dev_caption_groups=np.repeat(np.arange(8, dtype=np.int32), 2),
    )
    return replace(with_features(data, ids[:16]), contract=TrainableTextEncoder(data).contract)
