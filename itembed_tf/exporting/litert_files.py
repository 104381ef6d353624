"""Files of an export for LiteRT: settings and metadata of each .tflite file, and the files written beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from itembed_tf.export_layout import TEXT_ENCODER, litert_name
from itembed_tf.exporting.contract import Parity, format_json, package_versions, tokenizer_settings
from itembed_tf.exporting.litert_convert import convert, embed_all
from itembed_tf.exporting.litert_metadata import with_metadata
from itembed_tf.exporting.pair import EncoderPair
from itembed_tf.exporting.parity import TOLERANCE, compare_embeddings, sample_texts
from itembed_tf.exporting.tokenizer_file import TOKENIZER_FILE, tokenizer_file
from itembed_tf.files import write_atomically
from itembed_tf.text import Vocabulary


def write_litert_text_encoder(out: str | Path, pair: EncoderPair) -> Path:
    """Write ``text_encoder.float32.tflite`` and, beside it, ``text_encoder.json`` and the files of `text_files`.

    Returns:
        The path of the .tflite file; ``text_encoder.json`` holds the parity.

    Raises:
        ParityError: LiteRT differs from the live encoder, or the file lacks its weights; nothing is written.
    """
    content, settings, files = litert_text_file(pair)
    path = Path(out) / litert_name(TEXT_ENCODER, "float32")
    write_atomically(path, content)
    write_beside(out, TEXT_ENCODER, settings, files)
    return path


def litert_text_file(pair: EncoderPair, *, any_length: bool = False) -> tuple[bytes, dict[str, Any], dict[str, str]]:
    """The float32 .tflite file of a text encoder; its settings with the parity; the files that it contains beside them.

    Args:
        pair: the encoders.
        any_length: let the input be resized to [1, n + trailing_padding] for a text of n known words, where the text
            encoder allows it (`EncoderPair.trailing_padding`, then a key of the settings). LiteRT's Interpreter
            computes such a text in half the time. LiteRT.js and other runtimes that compile a model refuse such a file.

    Raises:
        ParityError: LiteRT differs from the live encoder.
    """
    settings, files = text_settings(pair), text_files(pair.vocabulary)
    if any_length := any_length and pair.trailing_padding is not None:
        settings["trailing_padding"] = pair.trailing_padding
    converted = convert(pair.text_encoder, name="ids", precision="float32", any_length=any_length)
    content = with_text_metadata(converted, settings, files, "float32")
    return content, settings | parity_settings(text_parity(content, pair)), files


def text_files(vocabulary: Vocabulary) -> dict[str, str]:
    """``tokenizer.txt`` and ``vocabulary.txt``: all that turns a text into ids in another language."""
    words = "".join(f"{word}\n" for word in vocabulary.words)
    return {TOKENIZER_FILE: tokenizer_file(vocabulary), "vocabulary.txt": words}


def text_settings(pair: EncoderPair) -> dict[str, Any]:
    """``text_encoder.json``: contract hash, shapes and tokenizer, the same at every precision."""
    vocabulary = pair.vocabulary
    return {
        "schema": 1,
        "contract": pair.contract,
        "input": {"ids": {"dtype": "int32", "shape": [1, vocabulary.length]}},
        "output": {"embedding": {"dtype": "float32", "shape": [1, pair.embedding_size]}},
        **tokenizer_settings(vocabulary),
        "vocabulary": {"sha256": vocabulary.checksum(), "size": vocabulary.size},
        "packages": package_versions(),
    }


def image_settings(pair: EncoderPair) -> dict[str, Any]:
    """``image_encoder.json``: contract hash, shapes and preparation of an image, the same at every precision."""
    preparation: dict[str, Any] = {
        "channels": "RGB",
        "range": [0, 255],
        "resize": "bilinear, antialiased, half-pixel centres",
        "flip": pair.flip,
    }
    shape = [1, pair.features] if pair.features else [1, pair.size, pair.size, 3]
    return {
        "schema": 1,
        "contract": pair.contract,
        "input": {image_input(pair): {"dtype": "float32", "shape": shape}},
        "output": {"embedding": {"dtype": "float32", "shape": [1, pair.embedding_size]}},
        **pair.image_settings,
        **({} if pair.features else preparation),
        "packages": package_versions(),
    }


def image_input(pair: EncoderPair) -> str:
    """Name of the input of an image encoder in LiteRT."""
    return "features" if pair.features else "pixels"


def parity_settings(parity: Parity) -> dict[str, Any]:
    values = {"max_abs_difference": parity.max_abs_difference, "min_cosine": parity.min_cosine}
    return {"parity": values, "tolerance": TOLERANCE}


def with_text_metadata(content: bytes, settings: Mapping[str, Any], files: Mapping[str, str], precision: str) -> bytes:
    """A text encoder's .tflite file with its settings and `files` inside.

    Ids int32 [1, L], left-aligned, 0 = padding -> embedding float32 [1, D]. LiteRT has no string ops, hence ids.
    """
    return with_metadata(
        content,
        name="text_encoder",
        description=f"Text encoder: ids to embedding; {precision}. tokenizer.txt defines how a text becomes ids.",
        version=settings["contract"],
        inputs={"ids": "ids of the known words, left-aligned, 0 = padding; id = line in vocabulary.txt, from 1"},
        outputs={"embedding": "unit length; its dot product with an image embedding is their cosine"},
        files={**files, "text_encoder.json": format_json(settings)},
    )


def with_image_metadata(content: bytes, settings: Mapping[str, Any], precision: str) -> bytes:
    """An image encoder's .tflite file with its settings inside: pixels or features -> embedding [1, D]."""
    (name,) = settings["input"]
    meaning = {
        "pixels": "RGB, 0..255, resized bilinearly with antialiasing; see image_encoder.json",
        "features": "of the image, by the network that made the features of the training",
    }
    return with_metadata(
        content,
        name="image_encoder",
        description=f"Image encoder: {name} to embedding; {precision}.",
        version=settings["contract"],
        inputs={name: meaning[name]},
        outputs={"embedding": "unit length; its dot product with a text embedding is their cosine"},
        files={"image_encoder.json": format_json(settings)},
    )


def text_parity(content: bytes, pair: EncoderPair) -> Parity:
    """Compare a float32 .tflite file with the live text encoder on `sample_texts`; ParityError where they differ.

    Texts without known words are left out where the live embedding is 0, as before any training: LiteRT's normalisation
    of zeros gives NaN.
    """
    texts = sample_texts(pair.vocabulary)
    ids = pair.vocabulary.encode(texts)
    samples = [f"the text {text.decode('utf-8', 'replace')!r}" for text in texts]
    live, (exported, _) = np.asarray(pair.text_encoder(ids, training=False)), embed_all(content, ids)
    used = np.flatnonzero(ids.any(axis=1) | live.any(axis=1))
    name = litert_name(TEXT_ENCODER, "float32")
    return compare_embeddings(name, live[used], exported[used], [samples[i] for i in used])


def write_beside(
    out: str | Path, encoder: str, settings: Mapping[str, Any], files: Mapping[str, str] | None = None
) -> Path:
    """Write the settings and files that a .tflite file contains as separate files too; return the settings' path."""
    for name, content in (files or {}).items():
        write_atomically(Path(out) / name, content)
    return write_atomically(Path(out) / f"{encoder}.json", format_json(settings))
