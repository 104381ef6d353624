"""Export of a finished run as ONNX files, compared with the live encoders by ONNX Runtime before they are written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itembed_tf.export_layout import IMAGE_ENCODER, TEXT_ENCODER, onnx_name
from itembed_tf.exporting.card import write_card
from itembed_tf.exporting.contract import Parity, format_json, package_versions
from itembed_tf.exporting.litert_files import image_input, image_settings, parity_settings, text_files, text_settings
from itembed_tf.exporting.onnx_convert import OPSET, convert_onnx, onnx_function
from itembed_tf.exporting.pair import EncoderPair, check_pair, load_pair
from itembed_tf.exporting.parity import compare_embeddings, sample_images, sample_inputs, sample_texts
from itembed_tf.exporting.pca import PcaResult, apply_pca
from itembed_tf.files import write_atomically
from itembed_tf.locks import locked_folder
from itembed_tf.progress import Steps

EXAMPLES_FILE, EXAMPLE_IMAGE = "examples.json", "example.png"
PNG = "a PNG, 257 x 129"  # of `sample_images`; every decoder gives the same pixels


@dataclass(frozen=True)
class OnnxFile:
    """One encoder as an ONNX file."""

    file: Path
    bytes: int
    parity: Parity


@dataclass(frozen=True)
class OnnxExport:
    """The files of both encoders, their contract hash, and, where shortened, what the PCA keeps and costs."""

    files: tuple[OnnxFile, ...]
    contract: str
    pca: PcaResult | None = None


def export_onnx(
    run: str | Path, out: str | Path, *, pca: int | None = None, overrides: Sequence[str] = ()
) -> OnnxExport:
    """Export both encoders of a finished run (`write_onnx`), reporting progress on standard error.

    Args:
        run: run directory; with `pca` its dataset must be available.
        out: folder of the files; those of an earlier export are replaced.
        pca: dimensions of shortened embeddings; None keeps all.
        overrides: as `load_pair` takes them, and, with `pca`, of the section dataset.

    Raises:
        Locked: another process writes to `out`.
        and those of `load_pair`, `apply_pca` and `write_onnx`.
    """
    first = "load the run" if pca is None else "embed train and dev for the PCA"
    steps = Steps([first, "convert both encoders, compare them with the live model"])
    with locked_folder(out, "give another output folder"):
        steps.start(first)
        pair, result = (load_pair(run, overrides)[1], None) if pca is None else apply_pca(run, pca, overrides)
        steps.start("convert both encoders, compare them with the live model")
        files = write_onnx(out, pair, cut=result.to_json() if result else None)
        write_card(out, run, overrides, pca=pca is not None)
    return OnnxExport(files, pair.contract, result)


def write_onnx(out: str | Path, pair: EncoderPair, *, cut: Mapping[str, Any] | None = None) -> tuple[OnnxFile, ...]:
    """Write ``text_encoder.onnx``, ``image_encoder.onnx``, and what an app needs beside them.

    That is, for each encoder, ``<encoder>.onnx.json``: contract hash, shapes, preparation and parity; ``tokenizer.txt``
    and ``vocabulary.txt``; and ``examples.json``, texts with their ids and embeddings and an image with its embedding,
    against which an implementation in another language is tested. The settings and the two files of the tokenizer are
    inside the ONNX files too, as metadata.

    Args:
        out: folder of the files; created if missing.
        pair: float32 encoders.
        cut: figures of the PCA of a shortened output, for the settings.

    Raises:
        ValueError: encoders that do not fit together or are not float32.
        ExportError: an encoder cannot be converted.
        ParityError: ONNX Runtime differs from a live encoder; nothing is written.
    """
    check_pair(pair)
    out, texts = Path(out), sample_texts(pair.vocabulary)
    ids = pair.vocabulary.encode(texts)
    titles = [f"the text {text.decode('utf-8', 'replace')!r}" for text in texts]
    shortened = {"cut": cut} if cut else {}
    beside = text_files(pair.vocabulary)
    text, image = _settings(text_settings(pair)) | shortened, _settings(image_settings(pair)) | shortened
    contents = {
        TEXT_ENCODER: convert_onnx(
            pair.text_encoder,
            name="ids",
            description="Text encoder: ids to embedding. tokenizer.txt defines how a text becomes ids.",
            metadata={"contract": pair.contract, "settings": format_json(text), **beside},
        ),
        IMAGE_ENCODER: convert_onnx(
            pair.image_encoder,
            name=image_input(pair),
            description=f"Image encoder: {image_input(pair)} to embedding.",
            metadata={"contract": pair.contract, "settings": format_json(image)},
        ),
    }
    inputs, names = sample_inputs(pair)
    live = {TEXT_ENCODER: pair.text_encoder(ids, training=False), IMAGE_ENCODER: pair.image_encoder(inputs)}
    parities = {
        TEXT_ENCODER: _parity(TEXT_ENCODER, contents, live, ids, titles, np.logical_not(ids.any(axis=1))),
        IMAGE_ENCODER: _parity(IMAGE_ENCODER, contents, live, np.asarray(inputs), names),
    }
    beside[EXAMPLES_FILE] = _examples(pair, texts, ids, live, names)
    for name, content in beside.items():
        write_atomically(out / name, content)
    if not pair.features:
        write_atomically(out / EXAMPLE_IMAGE, sample_images()[PNG])
    files = []
    for encoder, settings in ((TEXT_ENCODER, text), (IMAGE_ENCODER, image)):
        file = write_atomically(out / onnx_name(encoder), contents[encoder])
        write_atomically(out / f"{file.name}.json", format_json(settings | parity_settings(parities[encoder])))
        files.append(OnnxFile(file, len(contents[encoder]), parities[encoder]))
    return tuple(files)


def _settings(of_litert: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an encoder as for LiteRT, with any number of items in a batch and the packages of the conversion."""
    shapes = {
        side: {name: {**tensor, "shape": ["batch", *tensor["shape"][1:]]} for name, tensor in of_litert[side].items()}
        for side in ("input", "output")
    }
    return {**of_litert, **shapes, "opset": OPSET, "packages": package_versions("tf2onnx", "onnx", "onnxruntime")}


def _parity(
    encoder: str,
    contents: Mapping[str, bytes],
    live: Mapping[str, Any],
    inputs: np.ndarray,
    names: Sequence[str],
    may_be_zero: np.ndarray | bool = False,
) -> Parity:
    """Compare a file with the live encoder, all samples in one batch and each alone; return the worse parity."""
    run, file = onnx_function(contents[encoder]), onnx_name(encoder)
    alone = np.concatenate([run(inputs[i : i + 1]) for i in range(len(inputs))])
    figures = [compare_embeddings(file, live[encoder], each, names, may_be_zero) for each in (run(inputs), alone)]
    return max(figures, key=lambda parity: parity.max_abs_difference)


def _examples(
    pair: EncoderPair, texts: Sequence[bytes], ids: np.ndarray, live: Mapping[str, Any], names: Sequence[str]
) -> str:
    """``examples.json``: texts with ids and embeddings, and an image, or features of one, with its embedding."""
    text_rows, image_rows = np.asarray(live[TEXT_ENCODER]), np.asarray(live[IMAGE_ENCODER])
    known = [i for i, text in enumerate(texts) if ids[i].any() and _is_utf8(text)]
    if pair.features:
        features = np.asarray(sample_inputs(pair)[0])[0]
        image: dict[str, Any] = {"features": _numbers(features), "embedding": _numbers(image_rows[0])}
    else:
        image = {"file": EXAMPLE_IMAGE, "embedding": _numbers(image_rows[names.index(PNG)])}
    content = {
        "contract": pair.contract,
        "texts": [
            {"text": texts[i].decode("utf-8"), "ids": ids[i].tolist(), "embedding": _numbers(text_rows[i])}
            for i in known
        ],
        "image": image,
    }
    return json.dumps(content, ensure_ascii=False) + "\n"


def _is_utf8(text: bytes) -> bool:
    try:
        return bool(text.decode("utf-8"))
    except UnicodeDecodeError:
        return False


def _numbers(vector: np.ndarray) -> list[float]:
    """Numbers with as many digits as a float32 needs."""
    return [float(str(value)) for value in vector]
