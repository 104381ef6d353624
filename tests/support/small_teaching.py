"""The data of lessons for a tiny text encoder with random weights, and an index of it; no run, no image encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from itembed_tf.index.database import writing
from itembed_tf.index.generations import StoredEncoders, start_generation
from itembed_tf.index.items import add_source, put_items
from itembed_tf.index.teaching_data import data_file
from itembed_tf.index.text_encoder import load_text_encoder, tokenizer_json
from itembed_tf.retrieval.bands import LOWEST, Band
from itembed_tf.retrieval.calibration import Calibration, calibration_bytes, parse_calibration
from itembed_tf.retrieval.hubness import Bank, Correction
from itembed_tf.teaching import TeachingData, teaching_bytes
from itembed_tf.text import Vocabulary
from tests.support.small_index import new_item

SENTENCE = "the zorbal on a bike"
WORDS = ("a", "bike", "dog", "man", "on", "red", "runs", "the")
LENGTH = 9  # more than the words of any text here, so that padding is left out
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
    "embedding_size": SIZE,
}


def unit_rows(random: np.random.Generator, count: int) -> np.ndarray:
    rows = random.normal(size=(count, SIZE))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def small_teaching(seed: int = 1, *, members: int = 1) -> TeachingData:
    """Data whose encoders differ by the seed; dev has eight random images, each with two captions."""
    import keras

    from itembed_tf.models.ensemble import joined_text_tower, new_projection
    from itembed_tf.models.text_tower import text_tower
    from itembed_tf.teaching.encoder import TrainableTextEncoder

    random = np.random.default_rng(0)
    vocabulary = Vocabulary(WORDS, tokenizer="words", lowercase=True, length=LENGTH)
    keras.utils.set_random_seed(seed)
    towers = [text_tower(**TOWER, vocabulary_size=vocabulary.size, length=LENGTH) for _ in range(members)]
    tower = towers[0] if members == 1 else joined_text_tower(towers, new_projection(SIZE))
    ids = vocabulary.encode([" ".join(random.choice(WORDS, 3)) for _ in range(64)])
    data = TeachingData(
        contract="",
        image_weights=f"{seed}" * 64,
        image_settings={"size": 32, "fit": "stretch"},
        encoding_settings={"flip": True, "shifts": "left"},
        towers=(TOWER,) * members,
        vocabulary=vocabulary,
        weights=tuple(np.asarray(variable.value) for variable in tower.variables),
        captions=ids,
        caption_groups=np.arange(64, dtype=np.int32),
        dev_images=unit_rows(random, 8),
        dev_image_groups=np.arange(8, dtype=np.int32),
        dev_captions=ids[:16],
        dev_caption_groups=np.repeat(np.arange(8, dtype=np.int32), 2),
    )
    return replace(data, contract=TrainableTextEncoder(data).contract)


def without_recall(data: TeachingData) -> TeachingData:
    """The data with images of dev that are opposite to their captions: recall is 0, so no lesson can cost any."""
    from itembed_tf.teaching.features import text_features

    outputs = text_features(data).dev_outputs.astype(np.float32)
    means = np.stack([outputs[data.dev_caption_groups == group].mean(axis=0) for group in data.dev_image_groups])
    return replace(data, dev_images=(-means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float16))


def packed_encoders(data: TeachingData) -> StoredEncoders:
    """The encoders before any lesson, as an index has them, with a calibration."""
    from itembed_tf.exporting.litert_convert import convert
    from itembed_tf.teaching.features import text_features
    from itembed_tf.teaching.learning import learn

    encoder = learn(data, text_features(data), []).encoder
    content = convert(encoder.model, name="ids", precision="float32")
    images = Bank(np.eye(SIZE, dtype=np.float16), np.arange(SIZE, dtype=np.int32))
    captions = Bank(encoder.embed(data.captions).astype(np.float16), data.caption_groups)
    corrections = {"text_to_image": Correction(0.5, 2), "image_to_text": Correction(0.5, 2)}
    bands = {"text_to_image": (Band("strong", 0.5, 9, 10), Band("weak", LOWEST, 1, 10))}
    calibration = Calibration(data.contract, captions, images, corrections, bands)
    return StoredEncoders(data.contract, SIZE, content, tokenizer_json(data.vocabulary), calibration_bytes(calibration))


def write_taught_index(folder: Path, data: TeachingData, packed: StoredEncoders) -> Path:
    """An index of sixteen images and a sentence, with all that lessons need."""
    vectors = np.random.default_rng(4).normal(size=(16, SIZE))
    calibration = parse_calibration(packed.calibration or b"", packed.contract)
    items = []
    for i, vector in enumerate((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)):
        by_text, by_image = calibration.item_biases(vector[None], "image")
        items.append(new_item(f"{i}.png", vector, text_bias=float(by_text[0]), image_bias=float(by_image[0])))
    sentence = load_text_encoder(packed).embed([SENTENCE]).vectors[0]
    items.append(new_item("sentences.txt#1", sentence, kind="text", captions=(SENTENCE,), thumbnail=None))
    with writing(folder, create=True) as connection:
        start_generation(connection, packed)
        source = add_source(connection, "folder", "/photos")
        put_items(connection, items, source=source, generation=1, dimensions=SIZE)
    data_file(folder, packed.contract).parent.mkdir()
    data_file(folder, packed.contract).write_bytes(teaching_bytes(data))
    return folder
