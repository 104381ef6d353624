"""The text encoder of an export as a LiteRT file, made from its SavedModel: an export has no Keras model."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from itembed_tf.export_layout import IDS_SIGNATURE, TEXT_ENCODER
from itembed_tf.exporting.contract import Contract, read_contract
from itembed_tf.exporting.litert_convert import embed_all, function_converter
from itembed_tf.exporting.parity import compare_embeddings, sample_texts
from itembed_tf.progress import running_clock
from itembed_tf.text import Vocabulary, load_vocabulary


def litert_text_encoder(exports: str | Path) -> tuple[bytes, Vocabulary]:
    """Convert the text encoder of an export to LiteRT, float32, and compare both on sample texts.

    Args:
        exports: folder that ``itembed export`` wrote.

    Returns:
        The content of a .tflite file, ids int32 [1, L] -> embedding float32 [1, D]; and its vocabulary.

    Raises:
        ExportError: not an export that this version reads.
        ParityError: the embeddings of the two differ.
    """
    contract = read_contract(exports)
    folder = Path(exports) / TEXT_ENCODER / str(contract.version)
    vocabulary = export_vocabulary(folder, contract)
    if "tensorflow_text" in contract.needs:  # registers its ops
        importlib.import_module("tensorflow_text")
    with running_clock(f"loading {TEXT_ENCODER}"):
        model = tf.saved_model.load(str(folder))  # holds the variables, of which the signature has weak references
    signature = model.signatures[IDS_SIGNATURE]

    @tf.function(input_signature=[tf.TensorSpec([1, vocabulary.length], tf.int32, name="ids")], autograph=False)
    def embed(ids: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": signature(ids=ids)["embedding"]}

    with function_converter(embed, signature.variables, name="ids", title=TEXT_ENCODER) as to_precision:
        content = to_precision("float32", ())
    check_litert(content, vocabulary, lambda ids: signature(ids=tf.constant(ids))["embedding"])
    return content, vocabulary


def check_litert(
    content: bytes, vocabulary: Vocabulary, encode: Callable[[NDArray[np.int32]], Any], texts: Sequence[bytes] = ()
) -> None:
    """Compare a .tflite text encoder with the one that it was converted from, on sample texts and `texts`.

    Args:
        content: of the file.
        vocabulary: of the encoder.
        encode: word ids int32 [n, L] -> embeddings float32 [n, D].
        texts: UTF-8.

    Raises:
        ParityError: the embeddings of the two differ.
    """
    texts = [*sample_texts(vocabulary), *texts]
    ids = vocabulary.encode(texts)
    known = np.flatnonzero(ids.any(axis=1))  # without a known word, an untrained encoder divides zero by zero
    samples = [f"the text {texts[i].decode('utf-8', 'replace')!r}" for i in known]
    compare_embeddings(f"{TEXT_ENCODER} in LiteRT", encode(ids[known]), embed_all(content, ids[known])[0], samples)


def export_vocabulary(folder: Path, contract: Contract) -> Vocabulary:
    """The vocabulary of an exported text encoder; `folder` is its SavedModel."""
    return load_vocabulary(
        folder / "assets" / "vocabulary.txt",
        tokenizer=contract.tokenizer,
        lowercase=contract.lowercase,
        length=contract.length,
    )
