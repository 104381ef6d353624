"""Two encoders -> two SavedModels that a stock TF Serving loads, reloaded and compared before they get their names."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from itembed_tf.data.images import load_image
from itembed_tf.exporting.contract import CONTRACT_FILE, describe_pair, signatures
from itembed_tf.exporting.endpoints import image_endpoint, text_endpoint
from itembed_tf.exporting.parity import TOLERANCE, ParityError, compare_embeddings, sample_pictures, sample_sentences
from itembed_tf.exporting.warmup import write_warmup
from itembed_tf.files import folder_atomically, write_atomically
from itembed_tf.text import Vocabulary

NAMES = ("image_encoder", "text_encoder")


def write_saved_models(
    out: str | Path,
    *,
    image_encoder: keras.Model,
    text_encoder: keras.Model,
    vocabulary: Vocabulary,
    image: Mapping[str, Any],
    encoding: Mapping[str, Any],
    allowed_batch_sizes: Sequence[int] = (1, 2, 4, 8, 16, 32),
    version: int | None = None,
    cut: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``OUT/image_encoder/<version>/``, ``OUT/text_encoder/<version>/`` and, last, ``OUT/encoders.json``.

    Both are built in hidden folders, reloaded, compared with the live encoders on `sample_pictures` and
    `sample_sentences`, and only then renamed. Older versions are never touched.

    Args:
        out: folder of all versions; made if it is missing.
        image_encoder: float32 [B, S, S, 3] in 0..255 -> unit float32 [B, D].
        text_encoder: int32 [B, L] left-aligned ids -> unit float32 [B, D].
        vocabulary: words and tokeniser settings of the text encoder.
        image: ``size`` and ``fit`` of `itembed_tf.data.images.load_image`.
        encoding: settings inside the encoders that their weights do not show (flip, shifts), for the contract hash.
        allowed_batch_sizes: a warm-up request is written for each.
        version: a whole number; None takes the next one free in both folders.
        cut: what `itembed_tf.exporting.pca.cut_run` says of a shortened output, for ``encoders.json``.

    Returns:
        The path of ``encoders.json``.

    Raises:
        ValueError: encoders that do not fit together or are not float32.
        FileExistsError: the version exists.
        ParityError: a reloaded artefact differs from its live encoder, or its weights are stored more than once.
    """
    out = Path(out)
    _check_encoders(image_encoder, text_encoder, vocabulary, image["size"])
    version = _next_version(out) if version is None else version
    pictures, sentences = sample_pictures(), sample_sentences(vocabulary)
    settings: dict[str, Any] = {"vocabulary": vocabulary, "image": image, "encoding": encoding}
    contract = {
        **describe_pair(image_encoder=image_encoder, text_encoder=text_encoder, **settings),
        "version": version,
        "allowed_batch_sizes": list(allowed_batch_sizes),
        "tolerance": TOLERANCE,
        **({"cut": dict(cut)} if cut else {}),
    }
    with ExitStack() as stack:
        folders = [stack.enter_context(folder_atomically(out / name / str(version))) for name in NAMES]
        words = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "vocabulary.txt"
        vocabulary.save(words)
        _save(folders[0], image_endpoint(image_encoder, **image), {"serving_default": "serve"})
        text = text_endpoint(text_encoder, vocabulary=vocabulary, vocabulary_file=str(words))
        _save(folders[1], text, {"serving_default": "serve", "ids": "serve_ids"})
        parity = (
            _check_image(folders[0], image_encoder, pictures, image),
            _check_text(folders[1], text_encoder, sentences, vocabulary),
        )
        described = signatures(image_encoder.output.shape[-1], vocabulary.length)
        contract["encoders"] = {
            name: {"signatures": described[name], **_sizes(name, folder, encoder), "parity": figures}
            for name, folder, encoder, figures in zip(NAMES, folders, (image_encoder, text_encoder), parity)
        }
        _write_warmups(folders, list(pictures.values()), sentences, vocabulary, allowed_batch_sizes)
        for folder in folders:
            # A copy inside every version, so that a server rolled back to an older one can still tell its contract.
            write_atomically(folder / "assets.extra" / CONTRACT_FILE, _json(contract))
    return write_atomically(out / CONTRACT_FILE, _json(contract))


def _check_encoders(image_encoder: keras.Model, text_encoder: keras.Model, vocabulary: Vocabulary, size: int) -> None:
    expected = {
        "image encoder's input": (image_encoder.input, (None, size, size, 3), "float32"),
        "text encoder's input": (text_encoder.input, (None, vocabulary.length), "int32"),
        "image encoder's output": (image_encoder.output, (None, text_encoder.output.shape[-1]), "float32"),
        "text encoder's output": (text_encoder.output, (None, image_encoder.output.shape[-1]), "float32"),
    }
    for what, (tensor, shape, dtype) in expected.items():
        if tuple(tensor.shape) != shape or keras.backend.standardize_dtype(tensor.dtype) != dtype:
            raise ValueError(
                f"the {what} is {tensor.dtype} {tuple(tensor.shape)}, expected {dtype} {shape}; build both encoders "
                "from one float32 model with itembed_tf.models.dual_path.encoder"
            )
    for encoder in (image_encoder, text_encoder):
        if low := sorted(_low_precision_layers(encoder)):
            raise ValueError(
                f"{encoder.name} computes in half precision ({', '.join(low[:3])}, ...); export a float32 model: "
                "itembed_tf.training.run_directory.load_model rebuilds a run's in float32"
            )


def _low_precision_layers(model: keras.Model) -> set[str]:
    inner = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    here = {layer.name for layer in model.layers if layer.compute_dtype in ("float16", "bfloat16")}
    return here.union(*map(_low_precision_layers, inner))


def _next_version(out: Path) -> int:
    taken = [int(p.name) for name in NAMES for p in (out / name).glob("*") if p.name.isdigit()]
    return max(taken, default=0) + 1


def _save(folder: Path, module: tf.Module, endpoints: Mapping[str, str]) -> None:
    functions = {signature: getattr(module, name).get_concrete_function() for signature, name in endpoints.items()}
    tf.saved_model.save(module, str(folder), signatures=functions)


def _check_image(
    folder: Path, encoder: keras.Model, pictures: Mapping[str, bytes], image: Mapping[str, Any]
) -> dict[str, float]:
    served = tf.saved_model.load(str(folder)).signatures["serving_default"]
    embedding = served(image_bytes=tf.constant(list(pictures.values())))["embedding"]
    live = encoder(tf.stack([load_image(data, **image) for data in pictures.values()]), training=False)
    return compare_embeddings("image_encoder", live, embedding, list(pictures))


def _check_text(
    folder: Path, encoder: keras.Model, sentences: Sequence[bytes], vocabulary: Vocabulary
) -> dict[str, float]:
    """Both signatures against the live encoder on the ids of the tokeniser in Python."""
    served = tf.saved_model.load(str(folder)).signatures
    ids = vocabulary.encode(sentences)
    live, expected = encoder(ids, training=False), np.count_nonzero(ids, axis=1)
    answers = {
        "text": served["serving_default"](text=tf.constant(sentences)),
        "ids": served["ids"](ids=tf.constant(ids)),
    }
    samples = [f"the sentence {s.decode('utf-8', 'replace')!r}" for s in sentences]
    for name, answer in answers.items():
        known = answer["known_words"].numpy()
        if known.dtype != np.int32 or not np.array_equal(known, expected):
            raise ParityError(
                f"text_encoder ({name}): known_words are {known.tolist()}, "
                f"the tokeniser in Python finds {expected.tolist()}"
            )
    figures = [
        compare_embeddings(f"text_encoder ({name})", live, answer["embedding"], samples, expected == 0)
        for name, answer in answers.items()
    ]
    return max(figures, key=lambda f: f["max_abs_difference"])


def _write_warmups(
    folders: Sequence[Path],
    pictures: Sequence[bytes],
    sentences: Sequence[bytes],
    vocabulary: Vocabulary,
    batch_sizes: Sequence[int],
) -> None:
    ids = vocabulary.encode(sentences)
    examples = (
        {"serving_default": ("image_bytes", np.array(pictures, object))},
        {"serving_default": ("text", np.array(sentences, object)), "ids": ("ids", ids)},
    )
    for name, folder, example in zip(NAMES, folders, examples):
        write_warmup(folder, model_name=name, examples=example, batch_sizes=batch_sizes)


def _sizes(name: str, folder: Path, encoder: keras.Model) -> dict[str, int]:
    """Parameters and bytes on disk; an error where the weights are stored more than once, or not at all."""
    weights = sum(int(np.prod(v.shape)) * v.value.dtype.size for v in encoder.variables)
    stored = sum(p.stat().st_size for p in (folder / "variables").glob("variables.data-*"))
    names = 4096 + 512 * len(encoder.variables)  # what the file says of each variable: most of a tiny model
    if not 0.9 * weights <= stored <= 1.1 * weights + names:
        raise ParityError(f"{name}: {stored:,} bytes of weights on disk for {weights:,} bytes in the model")
    total = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    return {"parameters": encoder.count_params(), "bytes": total}


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
