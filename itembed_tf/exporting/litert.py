"""Encoders -> TFLite files for LiteRT, with what an app needs to use them inside and beside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from itembed_tf.exporting.contract import package_versions, tokenizer_settings
from itembed_tf.exporting.litert_convert import convert, embed_all
from itembed_tf.exporting.litert_metadata import with_metadata
from itembed_tf.exporting.parity import TOLERANCE, compare_embeddings, sample_sentences
from itembed_tf.exporting.tokenizer_file import TOKENIZER_FILE, tokenizer_file
from itembed_tf.files import write_atomically
from itembed_tf.text import Vocabulary


def write_tflite_text_encoder(
    out: str | Path, *, text_encoder: keras.Model, vocabulary: Vocabulary, contract: str = ""
) -> Path:
    """Write ``text_encoder.float32.tflite`` and, beside it, ``text_encoder.json`` and the files of `text_files`.

    Returns:
        The path of the .tflite file; ``text_encoder.json`` holds the parity figures.

    Raises:
        ParityError: LiteRT's answer differs from the live encoder's, or the file lacks its weights; nothing is written.
    """
    settings, files = text_settings(text_encoder, vocabulary, contract), text_files(vocabulary)
    content = text_tflite(text_encoder, settings, files, precision="float32")
    parity = text_parity(content, text_encoder, vocabulary)
    path = Path(out) / file_name("text_encoder", "float32")
    write_atomically(path, content)
    write_beside(out, "text_encoder", {**settings, "parity": parity, "tolerance": TOLERANCE}, files)
    return path


def file_name(encoder: str, precision: str) -> str:
    return f"{encoder}.{precision}.tflite"


def text_files(vocabulary: Vocabulary) -> dict[str, str]:
    """What turns a sentence into ids in any language: ``tokenizer.txt`` and ``vocabulary.txt``."""
    words = "".join(f"{word}\n" for word in vocabulary.words)
    return {TOKENIZER_FILE: tokenizer_file(vocabulary), "vocabulary.txt": words}


def text_settings(text_encoder: keras.Model, vocabulary: Vocabulary, contract: str) -> dict[str, Any]:
    """What the text encoder's files promise at every precision; `contract` is the hash of the pair."""
    return {
        "schema": 1,
        "contract": contract,
        "input": {"ids": {"dtype": "int32", "shape": [1, vocabulary.length]}},
        "output": {"embedding": {"dtype": "float32", "shape": [1, text_encoder.output.shape[-1]]}},
        **tokenizer_settings(vocabulary),
        "vocabulary": {"sha256": vocabulary.checksum(), "size": vocabulary.size},
        "packages": package_versions(),
    }


def image_settings(image_encoder: keras.Model, image: Mapping[str, Any], flip: bool, contract: str) -> dict[str, Any]:
    """What the image encoder's files promise at every precision; `image` has ``size`` and ``fit``."""
    return {
        "schema": 1,
        "contract": contract,
        "input": {"pixels": {"dtype": "float32", "shape": [1, image["size"], image["size"], 3]}},
        "output": {"embedding": {"dtype": "float32", "shape": [1, image_encoder.output.shape[-1]]}},
        **image,
        "channels": "RGB",
        "range": [0, 255],
        "resize": "bilinear, antialiased, half-pixel centres",
        "flip": flip,
        "packages": package_versions(),
    }


def text_tflite(
    text_encoder: keras.Model,
    settings: Mapping[str, Any],
    files: Mapping[str, str],
    *,
    precision: str,
    samples: Sequence[np.ndarray] = (),
) -> bytes:
    """The text encoder's file: ids int32 [1, L], left-aligned, 0 = padding -> embedding float32 [1, D].

    Its metadata carries the settings and `files`. String ops do not run in LiteRT, hence ids. Arguments as `convert`.
    """
    return with_metadata(
        convert(text_encoder, name="ids", precision=precision, samples=samples),
        name="text_encoder",
        description=f"A sentence's ids to its embedding; {precision}. tokenizer.txt says how a sentence becomes ids.",
        version=settings["contract"],
        inputs={"ids": "ids of the known words, left-aligned, 0 = padding; id = line in vocabulary.txt, from 1"},
        outputs={"embedding": "of unit length; its dot product with a picture's is their cosine"},
        files={**files, "text_encoder.json": as_json(settings)},
    )


def image_tflite(
    image_encoder: keras.Model, settings: Mapping[str, Any], *, precision: str, samples: Sequence[np.ndarray] = ()
) -> bytes:
    """The image encoder's file: pixels float32 [1, S, S, 3], 0..255 -> embedding float32 [1, D]."""
    return with_metadata(
        convert(image_encoder, name="pixels", precision=precision, samples=samples),
        name="image_encoder",
        description=f"A picture's pixels to its embedding; {precision}.",
        version=settings["contract"],
        inputs={"pixels": "RGB, 0..255, resized bilinearly with antialiasing; see image_encoder.json"},
        outputs={"embedding": "of unit length; its dot product with a sentence's is their cosine"},
        files={"image_encoder.json": as_json(settings)},
    )


def text_parity(content: bytes, text_encoder: keras.Model, vocabulary: Vocabulary) -> dict[str, float]:
    """A float32 file against the live encoder on `sample_sentences`; ParityError where they differ."""
    sentences = sample_sentences(vocabulary)
    ids = vocabulary.encode(sentences)
    samples = [f"the sentence {s.decode('utf-8', 'replace')!r}" for s in sentences]
    live, (answers, _) = text_encoder(ids, training=False), embed_all(content, ids)
    unknown = np.count_nonzero(ids, axis=1) == 0
    return compare_embeddings(file_name("text_encoder", "float32"), live, answers, samples, unknown)


def write_beside(
    out: str | Path, encoder: str, settings: Mapping[str, Any], files: Mapping[str, str] | None = None
) -> Path:
    """The same settings and files as are inside, as files of their own; returns the path of the settings."""
    for name, content in (files or {}).items():
        write_atomically(Path(out) / name, content)
    return write_atomically(Path(out) / f"{encoder}.json", as_json(settings))


def as_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
