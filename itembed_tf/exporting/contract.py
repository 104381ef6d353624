"""What two encoders promise, in one JSON file, and the hash that says whether two promises are the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import keras
import numpy as np

from itembed_tf.files import checksum
from itembed_tf.text import Vocabulary

CONTRACT_FILE = "encoders.json"
PACKAGES = ("itembed_tf", "tensorflow", "keras", "tensorflow-text", "numpy")


def contract_hash(
    *,
    image_encoder: keras.Model,
    text_encoder: keras.Model,
    vocabulary: Vocabulary,
    image: Mapping[str, Any],
    encoding: Mapping[str, Any],
) -> str:
    """SHA-256 (hex) over everything that decides an embedding: settings, words in order, every weight's bytes.

    Embeddings under one hash may be compared with each other; under two they may not. Names of layers, versions of
    packages and the date are left out, so that exporting the same run again gives the same hash.
    """
    settings = {"image": dict(image), "encoding": dict(encoding)}
    parts = ["itembed_tf contract 2", json.dumps(settings, sort_keys=True), vocabulary.checksum()]
    for encoder in (image_encoder, text_encoder):
        parts.append(checksum(*_weight_checksums(encoder)))
    return checksum(*parts)


def describe_pair(
    *,
    image_encoder: keras.Model,
    text_encoder: keras.Model,
    vocabulary: Vocabulary,
    image: Mapping[str, Any],
    encoding: Mapping[str, Any],
) -> dict[str, Any]:
    """What holds for both encoders; arguments as `contract_hash`."""
    hashed = contract_hash(
        image_encoder=image_encoder, text_encoder=text_encoder, vocabulary=vocabulary, image=image, encoding=encoding
    )
    return {
        "schema": 1,
        "contract": hashed,
        "embedding_size": image_encoder.output.shape[-1],
        "vocabulary": {"sha256": vocabulary.checksum(), "size": vocabulary.size},
        **tokenizer_settings(vocabulary),
        "image": dict(image),
        "encoding": dict(encoding),
        "needs": needed_libraries(vocabulary),
        "packages": package_versions(),
    }


def tokenizer_settings(vocabulary: Vocabulary) -> dict[str, Any]:
    """What a sentence goes through before the vocabulary, and L."""
    return {"tokenizer": vocabulary.tokenizer, "lowercase": vocabulary.lowercase, "length": vocabulary.length}


def signatures(embedding_size: int, length: int) -> dict[str, dict[str, Any]]:
    """Encoder -> signature -> names, dtypes and shapes of its inputs and outputs."""
    image = {"image_bytes": {"dtype": "string", "shape": ["batch"]}}
    text = {"text": {"dtype": "string", "shape": ["batch"]}}
    ids = {"ids": {"dtype": "int32", "shape": ["batch", length]}}
    embedding = {"embedding": {"dtype": "float32", "shape": ["batch", embedding_size]}}
    answer = embedding | {"known_words": {"dtype": "int32", "shape": ["batch"]}}
    return {
        "image_encoder": {"serving_default": {"inputs": image, "outputs": embedding}},
        "text_encoder": {
            "serving_default": {"inputs": text, "outputs": answer},
            "ids": {"inputs": ids, "outputs": answer},
        },
    }


def needed_libraries(vocabulary: Vocabulary) -> list[str]:
    """Libraries whose ops the text encoder uses beyond TensorFlow's own; the stock TF Serving links them in."""
    return ["tensorflow_text"] if vocabulary.tokenizer == "unicode" else []


def package_versions() -> dict[str, str]:
    """Versions of the packages that wrote an artefact; those that are not installed are left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _weight_checksums(encoder: keras.Model) -> Iterator[str]:
    for variable in encoder.variables:
        value = np.ascontiguousarray(variable.value.numpy())
        yield checksum(f"{value.dtype} {value.shape}", value.tobytes())
