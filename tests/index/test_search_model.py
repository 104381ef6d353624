"""The SavedModel and the LiteRT file that search: the library's ids and scores, and refusal of other encoders."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from itembed_tf import cli
from itembed_tf.index import Query, open_searcher, reading, writing
from itembed_tf.index.encoders import pack_encoders, store_image_encoder
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import read_encoders, start_generation
from itembed_tf.index.items import add_source, put_items
from itembed_tf.index.search_litert import litert_search
from itembed_tf.index.search_model import write_search_model
from itembed_tf.index.text_encoder import load_text_encoder
from tests.support.small_index import new_item, write_index

COUNT = 600  # two blocks of rows, the second one not full


@pytest.fixture(scope="module")
def index(small_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search_model") / "photos.index"
    random = np.random.default_rng(0)
    with writing(folder, create=True) as connection:
        generation = start_generation(connection, pack_encoders(small_export))
        store_image_encoder(small_export, folder)
        size = generation.dimensions
        items = [
            new_item(f"{i}.jpg", vector, text_bias=bias)
            for i, (vector, bias) in enumerate(zip(random.normal(size=(COUNT, size)), random.uniform(0, 0.5, COUNT)))
        ]
        source = add_source(connection, "folder", "/photos")
        put_items(connection, items, source=source, generation=generation.number, dimensions=size)
    return folder


@pytest.fixture(scope="module")
def model(index: Path, small_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    assert cli.main(["export", str(small_export), str(models), "--to", "search", "--index", str(index)]) == 0
    return models / "search" / "1"


def test_ids_and_scores_are_those_of_the_library(model: Path, index: Path, small_dataset: Path) -> None:
    signatures = tf.saved_model.load(str(model)).signatures
    texts = ["a red dog", "zzqx", "the man on a bike"]
    found = signatures["serving_default"](text=tf.constant(texts))
    assert found["ids"].shape == (3, 100) and found["known_words"].numpy().tolist() == [3, 0, 5]
    assert set(found["ids"].numpy()[1]) == {-1}, "no word is known"
    image = next(small_dataset.glob("*.png")).read_bytes()
    by_image = signatures["image"](image_bytes=tf.constant([image]))
    with closing(open_searcher(index)) as searcher:
        for query, ids, scores in (
            (Query(texts[0], by="vector", limit=100), found["ids"][0], found["scores"][0]),
            (Query(texts[2], by="vector", limit=100), found["ids"][2], found["scores"][2]),
            (Query(image=image, limit=100), by_image["ids"][0], by_image["scores"][0]),
        ):
            hits = searcher.search(query).hits
            assert [hit.item.id for hit in hits] == ids.numpy().tolist()
            np.testing.assert_allclose([hit.score for hit in hits], scores.numpy(), atol=2e-3)


def test_it_needs_no_custom_ops_and_says_what_it_is(model: Path, small_export: Path) -> None:
    content = tf.saved_model.load(str(model)).signatures["serving_default"].graph.as_graph_def()
    ops = {node.op for node in content.node} | {node.op for f in content.library.function for node in f.node_def}
    assert not {op for op in ops if op.startswith(("Py", "EagerPy", "TFText"))}
    described = json.loads((model / "assets.extra" / "search.json").read_text())
    contract = json.loads((small_export / "encoders.json").read_text())["contract"]
    assert described["items"] == COUNT and described["k"] == 100 and described["contract"] == contract
    assert (model / "assets.extra" / "tf_serving_warmup_requests").stat().st_size > 0


def test_the_next_version_follows_and_other_encoders_are_refused(
    model: Path, index: Path, small_export: Path, tmp_path: Path
) -> None:
    write_index(tmp_path / "other.index", [new_item("a.jpg", [1, 0, 0, 0])])
    with pytest.raises(SearchIndexError, match="their vectors cannot be compared"):
        write_search_model(tmp_path / "other.index", small_export, tmp_path)
    assert not (tmp_path / "search").exists()
    shutil.copytree(model, tmp_path / "search" / "7")
    assert write_search_model(index, small_export, tmp_path, k=5).name == "8"


def test_one_litert_file_finds_what_the_library_finds(
    index: Path, small_export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(small_export), str(tmp_path), "--to", "litert", "--index", str(index), "--hits", "7"]
    assert cli.main(words) == 0
    assert "search.float16.tflite: " in capsys.readouterr().out
    with closing(reading(index)) as connection:
        contract = json.loads((small_export / "encoders.json").read_text())["contract"]
        vocabulary = load_text_encoder(read_encoders(connection, contract)).vocabulary
    found = litert_search((tmp_path / "search.float16.tflite").read_bytes())(vocabulary.encode(["a red dog"])[0])
    with closing(open_searcher(index)) as searcher:
        hits = searcher.search(Query("a red dog", by="vector", limit=7)).hits
    assert found["items"].tolist() == [[hit.item.id for hit in hits]]
    np.testing.assert_allclose(found["scores"][0], [hit.score for hit in hits], atol=5e-3)
    described = json.loads((tmp_path / "search.json").read_text())
    assert described["k"] == 7 and described["items"][str(hits[0].item.id)] == ["/photos", hits[0].item.name]
