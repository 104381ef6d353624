"""The SavedModel ``search``: a sentence or an image file in, ids and scores out, served beside its encoders.

It holds both encoders and the rows of an index, and searches exactly, with core TensorFlow ops only. It is a copy of
one state of the index: written again, as the next version, when the index has changed.
"""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from itembed_tf.export_layout import CONTRACT_FILE, DEFAULT_SIGNATURE, ENCODERS, EXTRA_ASSETS, is_version
from itembed_tf.exporting import ParityError, read_contract
from itembed_tf.exporting.parity import sample_images, sample_texts
from itembed_tf.exporting.warmup import write_warmup
from itembed_tf.files import folder_atomically, write_atomically
from itembed_tf.index.database import reading, snapshot
from itembed_tf.index.engines import View, open_engine
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import check_contract, current_generation, read_encoders
from itembed_tf.index.query_vectors import QueryVector
from itembed_tf.index.records import Generation
from itembed_tf.index.rows import Rows, last_row, read_rows
from itembed_tf.index.text_encoder import load_text_encoder
from itembed_tf.progress import running_clock
from itembed_tf.text import Vocabulary

SEARCH_MODEL = "search"  # its name in the folder of the exports
IMAGE_SIGNATURE = "image"
BLOCK, MAX_BLOCKS = 512, 256  # rows converted to float32 at a time, until there are too many blocks for a graph
TOLERANCE = 1e-4  # of a score


@dataclass(frozen=True, eq=False)
class IndexContent:
    """One state of an index.

    Attributes:
        rows: of the current generation, by ascending item id.
        view: the same, to search.
        vocabulary: of the text encoder.
    """

    generation: Generation
    revision: int
    rows: Rows
    view: View
    vocabulary: Vocabulary

    def description(self, k: int) -> str:
        """JSON that names the state, and the hits of a query."""
        content = {
            "contract": self.generation.contract,
            "generation": self.generation.number,
            "revision": self.revision,
            "items": len(self.rows),
            "k": k,
        }
        return json.dumps(content, indent=1) + "\n"


class SearchModel(tf.Module):
    """Both encoders and the rows of an index.

    Args:
        encoders: loaded SavedModels of the image encoder and the text encoder.
        rows: of one generation, by ascending item id, so that equal scores are ordered by id.
        k: hits of each query; all where there are fewer items.
    """

    def __init__(self, encoders: tuple[Any, Any], rows: Rows, k: int) -> None:
        super().__init__(name=SEARCH_MODEL)
        self.image_encoder, self.text_encoder = encoders
        self.count, self.k = len(rows), min(k, len(rows))
        self.vectors = tf.Variable(rows.vectors.astype(np.float16), trainable=False, name="vectors")
        self.biases = tf.Variable(rows.biases, trainable=False, name="biases")  # text_bias and image_bias
        self.items = tf.Variable(rows.items, trainable=False, name="items")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def by_text(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """ids int64 [batch, k] and scores float32 [batch, k]; ids are -1 for a text without a known word."""
        encoded = self.text_encoder.signatures[DEFAULT_SIGNATURE](text=text)
        ids, scores = self._nearest(encoded["embedding"], 0)
        known = encoded["known_words"]
        none = tf.equal(known, 0)[:, None]
        ids, scores = tf.where(none, tf.constant(-1, tf.int64), ids), tf.where(none, 0.0, scores)
        return {"ids": ids, "scores": scores, "known_words": known}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def by_image(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """ids int64 [batch, k] and scores float32 [batch, k]."""
        encoded = self.image_encoder.signatures[DEFAULT_SIGNATURE](image_bytes=image_bytes)
        ids, scores = self._nearest(encoded["embedding"], 1)
        return {"ids": ids, "scores": scores}

    def _nearest(self, queries: tf.Tensor, side: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Ids by corrected score, and their cosines; `side` is the column of the biases."""

        step = max(BLOCK, -(-self.count // MAX_BLOCKS))
        # A loop of Python: one in the graph costs more than a block.
        blocks = [tf.cast(self.vectors[i : i + step], tf.float32) for i in range(0, self.count, step)]
        cosines = tf.concat([tf.matmul(queries, block, transpose_b=True) for block in blocks], axis=1)
        _, best = tf.math.top_k(cosines - self.biases[:, side], self.k)  # of equal scores the first
        return tf.gather(self.items, best), tf.gather(cosines, best, batch_dims=1)


def write_search_model(index: str | Path, exports: Path, out: Path, *, k: int = 100) -> Path:
    """Write ``OUT/search/<next version>/`` from an index and the export to which its vectors belong.

    It is written to a hidden folder, reloaded, compared with the exact engine, and only then renamed.

    Args:
        index: its current generation is searched.
        exports: folder of the encoders.
        out: folder of models, such as `exports` itself, which a server watches.
        k: hits of each query.

    Raises:
        SearchIndexError: not an index, an empty one, or one of other encoders.
        ParityError: the reloaded model finds other items than the library does.
    """
    contract = read_contract(exports)
    content = index_content(index, exports)
    paths = [exports / name / str(contract.version) for name in ENCODERS]
    image_encoder, text_encoder = (tf.saved_model.load(str(path)) for path in paths)
    model = SearchModel((image_encoder, text_encoder), content.rows, k)
    texts = np.array(sample_texts(content.vocabulary), object)
    images = np.array(list(sample_images().values()), object)
    final = out / SEARCH_MODEL / str(_next_version(out))
    with folder_atomically(final) as folder:
        with running_clock("writing the SavedModel of search"):
            signatures = {DEFAULT_SIGNATURE: model.by_text, IMAGE_SIGNATURE: model.by_image}
            tf.saved_model.save(model, str(folder), signatures=signatures)
        with running_clock("reloading it, comparing it with the library"):
            _check(folder, content.view, text_encoder, texts)
        examples = {DEFAULT_SIGNATURE: ("text", texts), IMAGE_SIGNATURE: ("image_bytes", images)}
        write_warmup(folder, model_name=SEARCH_MODEL, examples=examples, batch_sizes=contract.allowed_batch_sizes)
        shutil.copy2(exports / CONTRACT_FILE, folder / EXTRA_ASSETS / CONTRACT_FILE)
        write_atomically(folder / EXTRA_ASSETS / "search.json", content.description(model.k))
    return final


def index_content(index: str | Path, exports: Path) -> IndexContent:
    """Read an index whose vectors belong to an export; SearchIndexError as `write_search_model`."""
    with closing(reading(index)) as connection, snapshot(connection) as revision:
        generation = current_generation(connection)
        if generation is None:
            raise SearchIndexError(f"the index {index} is empty; `itembed index` adds to it")
        check_contract(generation, read_contract(exports).contract)
        if generation.base:
            raise SearchIndexError(
                f"the text encoder of the index {index} was taught names, which {exports} does not know; undo the "
                "lessons, or serve the index itself with `itembed serve --index`"
            )
        rows = read_rows(connection, generation.number, generation.dimensions, 0, last_row(connection))
        if not len(rows):
            raise SearchIndexError(f"the index {index} has no items; `itembed index` adds some")
        order = np.argsort(rows.items)
        rows = Rows(rows.rows[order], rows.items[order], rows.vectors[order], rows.biases[order])
        view = open_engine(index, "exact").refresh(connection)
        vocabulary = load_text_encoder(read_encoders(connection, generation.contract)).vocabulary
    return IndexContent(generation, revision, rows, view, vocabulary)


def _check(folder: Path, view: View, text_encoder: Any, texts: NDArray[Any]) -> None:
    """Compare the ids with those of the exact engine; items may differ whose scores are closer than the rounding."""
    batch = tf.constant(texts.tolist())
    found = tf.saved_model.load(str(folder)).signatures[DEFAULT_SIGNATURE](text=batch)
    encoded = text_encoder.signatures[DEFAULT_SIGNATURE](text=batch)
    for ids, known, vector in zip(found["ids"].numpy(), encoded["known_words"].numpy(), encoded["embedding"].numpy()):
        if known:
            check_found(view, ids, vector, TOLERANCE)


def check_found(view: View, ids: NDArray[np.int64], vector: NDArray[np.float32], tolerance: float) -> None:
    """Raise ParityError if ids, found for the vector of a text, are not those that the library finds.

    Items may differ whose scores are closer than `tolerance`.
    """
    row = QueryVector(vector, "text").row(corrected=True)
    expected, scores = view.search(row, len(ids))
    _, own = view.search(row, len(ids), np.sort(ids))  # the scores that the library gives to these items
    if not np.allclose(own, scores, rtol=0, atol=tolerance):
        raise ParityError(f"search: the reloaded model finds {ids[:5]}, and the library {expected[0, :5]}")


def _next_version(out: Path) -> int:
    numbers = [int(path.name) for path in (out / SEARCH_MODEL).glob("*") if is_version(path.name)]
    return max(numbers, default=0) + 1
