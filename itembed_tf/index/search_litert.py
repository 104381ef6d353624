"""One LiteRT file with text encoder and index, for phones: ids of words in, ids of items and their scores out."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from itembed_tf.export_layout import IDS_SIGNATURE, TEXT_ENCODER
from itembed_tf.exporting import read_contract
from itembed_tf.exporting.litert_convert import function_converter
from itembed_tf.exporting.parity import sample_texts
from itembed_tf.files import write_atomically
from itembed_tf.index.database import reading
from itembed_tf.index.items import read_items
from itembed_tf.index.search_model import IndexContent, check_found, index_content
from itembed_tf.quiet import silent_stderr

PRECISION = "float16"  # of weights and rows; the rows are float16 in the index too
TOLERANCE = 5e-3  # of a score: the weights of the encoder are rounded
FILE, ITEMS_FILE = "search.float16.tflite", "search.json"


def write_search_litert(index: str | Path, exports: Path, out: Path, *, k: int = 100) -> list[Path]:
    """Write ``OUT/search.float16.tflite`` and ``OUT/search.json``, which has name and folder of each item.

    The file has the signature ``serving_default``: ids int32 [1, L] (`Vocabulary.encode`) -> items int64 [1, k] and
    scores float32 [1, k], cosines in the order of the corrected scores. It is compared with the library before it is
    written.

    Args:
        index, exports: as `itembed_tf.index.search_model.write_search_model`.
        out: folder.
        k: hits of a query; all where there are fewer items.

    Raises:
        SearchIndexError, ParityError: as `write_search_model`.
    """
    content = index_content(index, exports)
    contract = read_contract(exports)
    if "tensorflow_text" in contract.needs:  # registers its ops
        importlib.import_module("tensorflow_text")
    encoder = tf.saved_model.load(str(exports / TEXT_ENCODER / str(contract.version)))
    k = min(k, len(content.rows))
    file = _convert(content, encoder.signatures[IDS_SIGNATURE], k)
    _check(content, encoder.signatures[IDS_SIGNATURE], file)
    with closing(reading(index)) as connection:
        items = read_items(connection, content.rows.items.tolist())
    described: dict[str, Any] = json.loads(content.description(k))
    described["items"] = {item.id: [item.folder, item.name] for item in items}
    text = json.dumps(described, ensure_ascii=False) + "\n"
    return [write_atomically(out / FILE, file), write_atomically(out / ITEMS_FILE, text)]


def _convert(content: IndexContent, encode: Any, k: int) -> bytes:
    rows = content.rows
    vectors = tf.Variable(rows.vectors.astype(np.float32), trainable=False, name="vectors")
    biases = tf.Variable(rows.biases[:, 0], trainable=False, name="text_biases")
    items = tf.constant(rows.items)

    @tf.function(input_signature=[tf.TensorSpec([1, content.vocabulary.length], tf.int32, "ids")], autograph=False)
    def search(ids: tf.Tensor) -> dict[str, tf.Tensor]:
        cosines = tf.matmul(encode(ids=ids)["embedding"], vectors, transpose_b=True)
        _, best = tf.math.top_k(cosines - biases, k)
        return {"items": tf.gather(items, best), "scores": tf.gather(cosines, best, axis=1)[0]}

    with function_converter(search, [*encode.variables, vectors, biases], name="ids", title="search") as to_precision:
        return to_precision(PRECISION, ())


def _check(content: IndexContent, encode: Any, file: bytes) -> None:
    ids = content.vocabulary.encode(sample_texts(content.vocabulary))
    run = litert_search(file)
    for one in ids[ids.any(axis=1)]:
        vector = encode(ids=tf.constant(one[None]))["embedding"].numpy()[0]
        check_found(content.view, run(one)["items"][0], vector, TOLERANCE)


def litert_search(file: bytes) -> Any:
    """A function from ids int32 [L] to ``items`` and ``scores``, [1, k] each; for one thread."""
    from ai_edge_litert.interpreter import Interpreter

    with silent_stderr():
        runner = Interpreter(model_content=file, num_threads=1).get_signature_runner()

    def run(ids: np.ndarray) -> Mapping[str, np.ndarray]:
        return runner(ids=ids[None])

    return run
