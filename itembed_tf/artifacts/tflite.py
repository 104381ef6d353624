"""The text encoder -> one float32 TFLite file for LiteRT, run and compared before it gets its name."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from itembed_tf.artifacts.contract import package_versions, tokenizer_settings
from itembed_tf.artifacts.parity import TOLERANCE, ParityError, compare_embeddings, sample_sentences
from itembed_tf.files import write_atomically
from itembed_tf.text import Vocabulary

TFLITE_FILE = "text_encoder.float32.tflite"


def write_tflite_text_encoder(
    out: str | Path, *, text_encoder: keras.Model, vocabulary: Vocabulary, contract: str = ""
) -> Path:
    """Write ``text_encoder.float32.tflite``, ``vocabulary.txt`` and ``text_encoder.json`` into `out`.

    The file takes ids int32 [1, L], left-aligned, 0 = padding, and gives the unit embedding float32 [1, D]. Sentences
    become ids by `itembed_tf.text` (no TensorFlow) with the settings of ``text_encoder.json``: string ops do not run in
    LiteRT. `contract` is the hash of the encoders that it belongs to.

    Returns:
        The path of the .tflite file; ``text_encoder.json`` holds the parity figures.

    Raises:
        ParityError: LiteRT's answer differs from the live encoder's, or the file lacks its weights.
    """
    out = Path(out)
    content = _convert(text_encoder)
    _check_content(content, text_encoder)
    run = Interpreter(model_content=content).get_signature_runner("serving_default")
    sentences = sample_sentences(vocabulary)
    ids = vocabulary.encode(sentences)
    answers = np.concatenate([run(ids=row[None])["embedding"] for row in ids])
    samples = [f"the sentence {s.decode('utf-8', 'replace')!r}" for s in sentences]
    live = text_encoder(ids, training=False)
    parity = compare_embeddings(TFLITE_FILE, live, answers, samples, np.count_nonzero(ids, axis=1) == 0)
    settings = {
        "schema": 1,
        "contract": contract,
        "input": {"ids": {"dtype": "int32", "shape": [1, vocabulary.length]}},
        "output": {"embedding": {"dtype": "float32", "shape": list(answers[:1].shape)}},
        **tokenizer_settings(vocabulary),
        "vocabulary": {"sha256": vocabulary.checksum(), "size": vocabulary.size},
        "parity": parity,
        "tolerance": TOLERANCE,
        "packages": package_versions(),
    }
    vocabulary.save(out / "vocabulary.txt")
    write_atomically(out / "text_encoder.json", json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
    return write_atomically(out / TFLITE_FILE, content)


def _convert(encoder: keras.Model) -> bytes:
    module = tf.Module()
    module.weights = [variable.value for variable in encoder.variables]

    @tf.function(input_signature=[tf.TensorSpec([1, *encoder.input.shape[1:]], tf.int32, name="ids")])
    def embed(ids: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": encoder(ids, training=False)}

    module.embed = embed
    # By way of a SavedModel: the converter given a concrete function and a Keras model writes a file without weights.
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": embed.get_concrete_function()})
        return tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serving_default"]).convert()


def _check_content(content: bytes, encoder: keras.Model) -> None:
    """The weights are inside, and every op is one of LiteRT's own."""
    model = schema.Model.GetRootAsModel(content, 0)
    operators = schema.BuiltinOperator
    codes = {model.OperatorCodes(i).BuiltinCode() for i in range(model.OperatorCodesLength())}
    for refused, why in (
        (operators.VAR_HANDLE, "its weights were left outside"),
        (operators.CUSTOM, "a plain LiteRT runtime lacks it"),
    ):
        if refused in codes:
            name = next(n for n, code in vars(operators).items() if code == refused)
            raise ParityError(f"{TFLITE_FILE}: the converted file has a {name} op: {why}; nothing was written")
    weights = sum(int(np.prod(v.shape)) * 4 for v in encoder.variables if len(v.shape) > 1)
    if len(content) < weights:
        raise ParityError(
            f"{TFLITE_FILE}: {len(content):,} bytes cannot hold {weights:,} bytes of weights; nothing was written"
        )
