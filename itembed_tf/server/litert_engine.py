"""The engine of text encoders in LiteRT, where the export has a file of the same contract and the same embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from itembed_tf.errors import UserError
from itembed_tf.export_layout import DEFAULT_SIGNATURE, EXTRA_ASSETS, IDS_SIGNATURE, TEXT_ENCODER, litert_name
from itembed_tf.litert import encode_ids, files_inside, litert_function
from itembed_tf.server.batching import Arrays
from itembed_tf.server.engines import Engine
from itembed_tf.server.errors import invalid_argument
from itembed_tf.server.version_folders import MAX_FILE_BYTES
from itembed_tf.text import Vocabulary, load_vocabulary

# Of each precision: the least cosine of an embedding to the SavedModel's. The export has measured what a precision
# costs; this finds only a file or a machine on which LiteRT computes something else. float32 is compared as the export
# compares it too: by the largest difference of a component.
MIN_COSINE = {"float32": 1 - 1e-6, "float16": 0.999, "dynamic": 0.9, "int8": 0.9}
MAX_DIFFERENCE = 1e-5


class NoLiteRT(UserError):
    """A version has no LiteRT file that can be served; the message says why."""


class LiteRTTextEngine:
    """A text encoder in LiteRT, with the vocabulary of the SavedModel."""

    signatures = frozenset((DEFAULT_SIGNATURE, IDS_SIGNATURE))

    def __init__(
        self, content: bytes, vocabulary: Vocabulary, precision: str, trailing_padding: int | None = None
    ) -> None:
        """Make the interpreter.

        Args:
            content: of the .tflite file.
            vocabulary: of the encoder.
            precision: of the file.
            trailing_padding: of the file's settings; None where every id of the input counts.

        Raises:
            ValueError, RuntimeError: LiteRT cannot load the file.
        """
        self.name = f"LiteRT {precision}"
        self.vocabulary, self.function = vocabulary, litert_function(content)
        self._exact, self._trailing_padding = precision == "float32", trailing_padding
        # LiteRT divides by zero where TensorFlow gives zeros: an encoder that gives zeros for a text without words.
        self._without_words = np.nan_to_num(self.function(np.zeros(vocabulary.length, np.int32)))

    def run(self, signature: str, inputs: Arrays) -> Arrays:
        """See `Engine.run`."""
        if signature == IDS_SIGNATURE:
            ids = inputs["ids"]
            if ids.min() < 0 or ids.max() >= self.vocabulary.size:
                raise invalid_argument(
                    f"ids must be in 0 .. {self.vocabulary.size - 1} (0 = padding); min and max received: "
                    f"{ids.min()} {ids.max()}"
                )
        else:
            ids = self.vocabulary.encode(inputs["text"].tolist())
        known_words = np.count_nonzero(ids, axis=1).astype(np.int32)
        embedding = encode_ids(self.function, ids, self._without_words, self._trailing_padding)
        if not self._exact:  # integers miss unit length by some thousandths
            embedding /= np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
        return {"embedding": embedding, "known_words": known_words}


def load_litert(folder: Path, contract: Mapping[str, Any], precision: str) -> tuple[LiteRTTextEngine, Path]:
    """The LiteRT engine of an exported text encoder, and its file.

    Args:
        folder: of the version; the file is in its assets.extra, or in the folder of the exports.
        contract: content of the version's encoders.json.
        precision: of the file.

    Raises:
        NoLiteRT: there is no such file, it is of other encoders, or LiteRT cannot load it.
    """
    name = litert_name(TEXT_ENCODER, precision)
    paths = [path for path in (folder / EXTRA_ASSETS / name, folder.parent.parent / name) if path.is_file()]
    if not paths:
        raise NoLiteRT(f"there is no {name}")
    path, expected = paths[0], str(contract.get("contract", ""))
    if path.stat().st_size > MAX_FILE_BYTES:
        raise NoLiteRT(f"{path} has {path.stat().st_size:,} bytes; the maximum is {MAX_FILE_BYTES:,}")
    try:
        content = path.read_bytes()
        inside = json.loads(files_inside(content)[f"{TEXT_ENCODER}.json"])
        found, padding = str(inside["contract"]), inside.get("trailing_padding")
        if padding is not None and not (isinstance(padding, int) and padding >= 0):
            raise NoLiteRT(f"{path}: trailing_padding is {padding!r}, not a number of ids")
        if found != expected or not expected:
            raise NoLiteRT(f"{path} is of the contract {found[:16]}, and the version of {expected[:16] or 'none'}")
        settings = {key: contract[key] for key in ("tokenizer", "lowercase", "length")}
        vocabulary = load_vocabulary(folder / "assets" / "vocabulary.txt", **settings)
        return LiteRTTextEngine(content, vocabulary, precision, padding), path
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        if isinstance(error, NoLiteRT):
            raise
        raise NoLiteRT(f"{path} cannot be loaded ({type(error).__name__}: {error})") from None


def compare_engines(tested: Engine, reference: Engine, precision: str, requests: Iterable[tuple[str, Arrays]]) -> float:
    """Compare the outputs for requests (signature, inputs); returns the largest difference of a component.

    Raises:
        NoLiteRT: they differ by more than the precision explains, or there are no requests.
    """
    worst = -1.0
    for signature, inputs in requests:
        outputs, expected = tested.run(signature, inputs), reference.run(signature, inputs)
        if not np.array_equal(outputs["known_words"], expected["known_words"]):
            raise NoLiteRT(f"it reads other words than the SavedModel ({signature}, warm-up record)")
        a, b = outputs["embedding"].astype(np.float64), expected["embedding"].astype(np.float64)
        difference = np.abs(a - b).max()
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        cosine = np.where(lengths > 0, (a * b).sum(axis=1) / np.maximum(lengths, 1e-30), difference == 0).min()
        if precision == "float32" and not difference <= MAX_DIFFERENCE:  # NaN fails too
            raise NoLiteRT(f"it differs from the SavedModel by {difference:.2g}; the maximum is {MAX_DIFFERENCE:g}")
        if not cosine >= MIN_COSINE[precision]:
            raise NoLiteRT(f"its cosine to the SavedModel is {cosine:.4f}; the minimum is {MIN_COSINE[precision]:g}")
        worst = max(worst, float(difference))
    if worst < 0:
        raise NoLiteRT("the version has no warm-up records, by which it could be compared with the SavedModel")
    return worst
