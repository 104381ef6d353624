"""SavedModels of an encoder pair for TF Serving: written, reloaded, compared with the live encoders, then published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from itembed_tf.export_layout import (
    CONTRACT_FILE,
    DEFAULT_SIGNATURE,
    ENCODERS,
    EXTRA_ASSETS,
    IDS_SIGNATURE,
    TEXT_ENCODER,
    is_version,
    litert_name,
)
from itembed_tf.exporting.contract import (
    SCHEMA,
    Contract,
    ExportedEncoder,
    Parity,
    needed_libraries,
    package_versions,
    signatures,
    tokenizer_settings,
)
from itembed_tf.exporting.endpoints import Endpoint, feature_endpoint, image_endpoint, text_endpoint
from itembed_tf.exporting.litert_files import litert_text_file
from itembed_tf.exporting.pair import EncoderPair, check_pair
from itembed_tf.exporting.parity import (
    TOLERANCE,
    ParityError,
    compare_embeddings,
    sample_features,
    sample_images,
    sample_inputs,
    sample_texts,
)
from itembed_tf.exporting.warmup import write_warmup
from itembed_tf.files import folder_atomically, temporary_folder, write_atomically
from itembed_tf.progress import running_clock

BATCH_SIZES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class SavedModels:
    """An exported pair: the folder of all versions, and the contract of the version just written."""

    folder: Path
    contract: Contract

    @property
    def contract_file(self) -> Path:
        return self.folder / CONTRACT_FILE

    def version_folder(self, name: str) -> Path:
        return self.folder / name / str(self.contract.version)


def write_saved_models(
    out: str | Path,
    pair: EncoderPair,
    *,
    allowed_batch_sizes: Sequence[int] = BATCH_SIZES,
    version: int | None = None,
    cut: Mapping[str, Any] | None = None,
    litert: bool = False,
) -> SavedModels:
    """Write ``OUT/image_encoder/<version>/``, ``OUT/text_encoder/<version>/`` and, last, ``OUT/encoders.json``.

    Both are written to hidden folders, reloaded, compared with the live encoders on `sample_images` and
    `sample_texts`, and only then renamed. Older versions are never touched.

    Args:
        out: folder of all versions; created if missing.
        pair: float32 encoders.
        allowed_batch_sizes: batch sizes for which a warm-up request is written.
        version: a positive number; None takes the next number that is free in both folders.
        cut: figures of the PCA of a shortened output, for ``encoders.json``.
        litert: write ``text_encoder.float32.tflite`` into the assets.extra of the text encoder, which the local server
            runs in place of the SavedModel.

    Raises:
        ValueError: encoders that do not fit together or are not float32.
        FileExistsError: the version exists.
        ParityError: a reloaded encoder or LiteRT differs from the live one, or its weights are stored more than once.
    """
    out = Path(out)
    check_pair(pair)
    version = _next_version(out) if version is None else version
    texts = sample_texts(pair.vocabulary)
    with ExitStack() as stack:
        folders = [stack.enter_context(folder_atomically(out / name / str(version))) for name in ENCODERS]
        words = stack.enter_context(temporary_folder()) / "vocabulary.txt"
        pair.vocabulary.save(words)
        with running_clock("writing the SavedModel of image_encoder"):
            _save(folders[0], endpoint_of_images(pair))
        with running_clock("writing the SavedModel of text_encoder"):
            text = text_endpoint(
                pair.text_encoder,
                vocabulary=pair.vocabulary,
                vocabulary_file=str(words),
                trailing_padding=pair.trailing_padding,
            )
            _save(folders[1], text)
        with running_clock("reloading both, comparing them with the live model"):
            parity = _check_image(folders[0], pair), _check_text(folders[1], pair, texts)
        contract = _contract(pair, folders, parity, version, allowed_batch_sizes, cut)
        requests = (
            {DEFAULT_SIGNATURE: _image_examples(pair)},
            {
                DEFAULT_SIGNATURE: ("text", np.array(texts, object)),
                IDS_SIGNATURE: ("ids", pair.vocabulary.encode(texts)),
            },
        )
        for name, folder, examples in zip(ENCODERS, folders, requests):
            write_warmup(folder, model_name=name, examples=examples, batch_sizes=allowed_batch_sizes)
            # A copy inside every version: a server that is rolled back to an older version still knows its contract.
            write_atomically(folder / EXTRA_ASSETS / CONTRACT_FILE, contract.to_json())
        if litert:
            file = folders[1] / EXTRA_ASSETS / litert_name(TEXT_ENCODER, "float32")
            write_atomically(file, litert_text_file(pair, any_length=True)[0])
    write_atomically(out / CONTRACT_FILE, contract.to_json())
    return SavedModels(out, contract)


def _contract(
    pair: EncoderPair,
    folders: Sequence[Path],
    parity: Sequence[Parity],
    version: int,
    batch_sizes: Sequence[int],
    cut: Mapping[str, Any] | None,
) -> Contract:
    described, encoders = signatures(pair), (pair.image_encoder, pair.text_encoder)
    return Contract(
        schema=SCHEMA,
        contract=pair.contract,
        embedding_size=pair.embedding_size,
        vocabulary={"sha256": pair.vocabulary.checksum(), "size": pair.vocabulary.size},
        **tokenizer_settings(pair.vocabulary),
        image=pair.image_settings,
        encoding=pair.encoding_settings,
        needs=needed_libraries(pair.vocabulary),
        packages=package_versions(),
        version=version,
        allowed_batch_sizes=tuple(batch_sizes),
        tolerance=TOLERANCE,
        encoders={
            name: ExportedEncoder(described[name], encoder.count_params(), _size_on_disk(folder, encoder), figures)
            for name, folder, encoder, figures in zip(ENCODERS, folders, encoders, parity)
        },
        cut=cut,
    )


def _next_version(out: Path) -> int:
    versions = [int(p.name) for name in ENCODERS for p in (out / name).glob("*") if is_version(p.name)]
    return max(versions, default=0) + 1


def _save(folder: Path, endpoint: Endpoint) -> None:
    concrete = {signature: function.get_concrete_function() for signature, function in endpoint.functions.items()}
    tf.saved_model.save(endpoint.module, str(folder), signatures=concrete)


def endpoint_of_images(pair: EncoderPair) -> Endpoint:
    """The served functions of the image encoder, of image files or of features."""
    if pair.features:
        return feature_endpoint(pair.image_encoder)
    return image_endpoint(pair.image_encoder, size=pair.size, fit=pair.fit)


def _image_examples(pair: EncoderPair) -> tuple[str, np.ndarray]:
    """Name of the image encoder's input, and examples for it."""
    if pair.features:
        return "features", sample_features(pair.features)
    return "image_bytes", np.array(list(sample_images().values()), object)


def _check_image(folder: Path, pair: EncoderPair) -> Parity:
    exported = tf.saved_model.load(str(folder)).signatures["serving_default"]
    name, examples = _image_examples(pair)
    embeddings = exported(**{name: tf.constant(examples)})["embedding"]
    inputs, samples = sample_inputs(pair)
    return compare_embeddings("image_encoder", pair.image_encoder(inputs, training=False), embeddings, samples)


def _check_text(folder: Path, pair: EncoderPair, texts: Sequence[bytes]) -> Parity:
    """Compare both signatures with the live encoder on the ids of the Python tokenizer; return the worse parity."""
    exported = tf.saved_model.load(str(folder)).signatures
    ids = pair.vocabulary.encode(texts)
    live, known_words = pair.text_encoder(ids, training=False), np.count_nonzero(ids, axis=1)
    outputs = {
        "text": exported["serving_default"](text=tf.constant(texts)),
        "ids": exported["ids"](ids=tf.constant(ids)),
    }
    samples = [f"the text {text.decode('utf-8', 'replace')!r}" for text in texts]
    figures = []
    for name, output in outputs.items():
        known = output["known_words"].numpy()
        if known.dtype != np.int32 or not np.array_equal(known, known_words):
            raise ParityError(
                f"text_encoder ({name}): known_words are {known.tolist()}, "
                f"the Python tokenizer finds {known_words.tolist()}"
            )
        name = f"text_encoder ({name})"
        figures.append(compare_embeddings(name, live, output["embedding"], samples, known_words == 0))
    return max(figures, key=lambda parity: parity.max_abs_difference)


def _size_on_disk(folder: Path, encoder: keras.Model) -> int:
    """Bytes of a SavedModel.

    Raises:
        ParityError: its weights are stored more than once, or not at all.
    """
    weights = sum(int(np.prod(v.shape)) * v.value.dtype.size for v in encoder.variables)
    stored = sum(p.stat().st_size for p in (folder / "variables").glob("variables.data-*"))
    index = 4096 + 512 * len(encoder.variables)  # the file's entries of each variable: most of a tiny model
    if not 0.9 * weights <= stored <= 1.1 * weights + index:
        raise ParityError(f"{encoder.name}: {stored:,} bytes of weights on disk for {weights:,} bytes in the model")
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
