"""The text encoder of an export as a LiteRT file, made from its SavedModel: an export has no Keras model."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import tensorflow as tf

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
    texts = sample_texts(vocabulary)
    ids = vocabulary.encode(texts)
    known = np.flatnonzero(ids.any(axis=1))  # without a known word, an untrained encoder divides zero by zero
    exported = signature(ids=tf.constant(ids[known]))["embedding"]
    samples = [f"the text {texts[i].decode('utf-8', 'replace')!r}" for i in known]
    compare_embeddings(f"{TEXT_ENCODER} in LiteRT", exported, embed_all(content, ids[known])[0], samples)
    return content, vocabulary


def export_vocabulary(folder: Path, contract: Contract) -> Vocabulary:
    """The vocabulary of an exported text encoder; `folder` is its SavedModel."""
    return load_vocabulary(
        folder / "assets" / "vocabulary.txt",
        tokenizer=contract.tokenizer,
        lowercase=contract.lowercase,
        length=contract.length,
    )
