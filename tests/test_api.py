"""The library: what load, embed, rank, evaluate and train return, and what they say to wrong arguments."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import itembed_tf
from itembed_tf.exporting import ExportError

pytestmark = pytest.mark.usefixtures("shallow_backbone")
ROOT = Path(__file__).parents[1]
TEXTS = ["a red dog", "zeppelin", b"the man runs"]


@pytest.fixture(scope="module")
def model(shallow_backbone, small_run) -> itembed_tf.ImageTextModel:
    return itembed_tf.load(small_run)


def test_paths_bytes_and_arrays_give_the_same_embeddings(model, small_dataset):
    files = [small_dataset / f"{i}.png" for i in range(3)]
    arrays = [tf.io.decode_png(file.read_bytes()).numpy() for file in files]
    embeddings = model.embed_images(files)
    assert embeddings.dtype == np.float32 and embeddings.shape == (3, model.embedding_size)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    for same in ([str(f) for f in files], [f.read_bytes() for f in files], arrays, np.stack(arrays)):
        np.testing.assert_array_equal(model.embed_images(same), embeddings)


def test_batches_keep_the_order(model, small_dataset, monkeypatch):
    files = [small_dataset / f"{i}.png" for i in range(5)]
    whole, texts = model.embed_images(files), model.embed_texts(TEXTS)
    monkeypatch.setattr("itembed_tf.api.model.IMAGE_BATCH", 2)
    monkeypatch.setattr("itembed_tf.api.model.TEXT_BATCH", 1)
    np.testing.assert_allclose(model.embed_images(files), whole, atol=1e-6)
    np.testing.assert_allclose(model.embed_texts(TEXTS), texts, atol=1e-6)


def test_known_words_tells_out_of_vocabulary_texts(model):
    assert model.known_words(TEXTS).tolist() == [3, 0, 3]
    assert model.embed_texts(TEXTS).shape == (3, model.embedding_size)


def test_an_export_gives_the_embeddings_of_its_run(model, small_export, small_dataset, tmp_path):
    exported = itembed_tf.load(small_export)
    assert (exported.contract, exported.embedding_size) == (model.contract, model.embedding_size)
    files = [small_dataset / "0.png", small_dataset / "1.png"]
    np.testing.assert_allclose(exported.embed_images(files), model.embed_images(files), atol=1e-5)
    np.testing.assert_allclose(exported.embed_texts(TEXTS), model.embed_texts(TEXTS), atol=1e-5)
    assert exported.known_words(TEXTS).tolist() == [3, 0, 3]
    with pytest.raises(ValueError, match="is an export and has no dataset; load the run directory"):
        exported.evaluate()


def test_an_export_of_another_schema_is_refused(tmp_path):
    (tmp_path / "encoders.json").write_text('{"schema": 2, "packages": {"itembed_tf": "9.0"}}')
    with pytest.raises(ExportError, match=r"schema 2, this version reads schema 1; export the run again.*\(9.0\)"):
        itembed_tf.load(tmp_path)
    (tmp_path / "encoders.json").write_text('{"schema": 1, "contract": "abc"}')
    with pytest.raises(ExportError, match=r"is incomplete or damaged .*export the run again"):
        itembed_tf.load(tmp_path)


def test_rank_returns_the_best_first(model, small_dataset):
    files = sorted(small_dataset.glob("*.png"))
    gallery, query = model.embed_images(files), model.embed_texts(["a red dog"])[0]
    expected = gallery @ query
    indices, similarities = model.rank("a red dog", gallery, top=3)
    assert indices.tolist() == np.argsort(-expected)[:3].tolist()
    np.testing.assert_allclose(similarities, np.sort(expected)[::-1][:3], atol=1e-6)
    assert len(model.rank("a red dog", files, top=100).indices) == len(files), "all of a smaller gallery"
    np.testing.assert_array_equal(model.rank(query, gallery, top=3).indices, indices)
    texts = ["a red dog", "the man runs"]
    assert model.rank(files[0], texts).indices[0] == np.argmax(model.embed_texts(texts) @ gallery[0])


def test_wrong_arguments_say_what_to_do(model, small_dataset, tmp_path):
    good, text_file = small_dataset / "0.png", tmp_path / "notes.jpg"
    text_file.write_text("no image")
    config = tmp_path / "config.toml"
    config.write_text("")
    for call, error, message in (
        (lambda: model.embed_images(str(good)), TypeError, r"put the single image into a list: \[image\]"),
        (lambda: model.embed_images(np.zeros((4, 4, 3), np.uint8)), TypeError, "put the single array into a list"),
        (lambda: model.embed_images([]), ValueError, "the list of images is empty"),
        (lambda: model.embed_images([good, tmp_path / "x.jpg"]), FileNotFoundError, r"images\[1\]: no file at .*x.jpg"),
        (lambda: model.embed_images([good, text_file]), ValueError, r"images\[1\] \(.*notes.jpg\) is a text"),
        (lambda: model.embed_images([np.zeros((4, 4, 3))]), TypeError, r"float64 \(4, 4, 3\); expected RGB uint8"),
        (lambda: model.embed_images([3]), TypeError, r"images\[0\] is a int; expected a path"),
        (lambda: model.embed_texts("a dog"), TypeError, r"put the single text into a list: \[text\]"),
        (lambda: model.embed_texts([]), ValueError, "the list of texts is empty"),
        (lambda: model.embed_texts([None]), TypeError, r"texts\[0\] is a NoneType"),
        (lambda: model.rank("zeppelin", [good]), ValueError, "no word of the vocabulary"),
        (lambda: model.rank("a dog", np.zeros((2, 3), np.float32)), ValueError, r"expected embeddings \[n, 16\]"),
        (lambda: model.rank("a dog", [good], top=0), ValueError, "top is 0; the minimum is 1"),
        (lambda: itembed_tf.load(tmp_path / "nothing"), FileNotFoundError, "does not exist: expected the directory"),
        (lambda: itembed_tf.load(small_dataset), FileNotFoundError, "has neither config.toml nor encoders.json"),
        (lambda: itembed_tf.train("no_such_config", tmp_path), Exception, "no_such_config"),
        (lambda: itembed_tf.train(config, tmp_path, settings={"model.nosuch": 1}), ValueError, "nosuch"),
    ):
        with pytest.raises(error, match=message):
            call()


def test_evaluate_measures_a_split(small_run, tmp_path):
    run = shutil.copytree(small_run, tmp_path / "run")
    assert itembed_tf.load(run).evaluate().gallery_images == 8


@pytest.mark.slow
def test_train_returns_the_trained_model(small_dataset, without_exports, tmp_path):
    (tmp_path / "small.toml").write_text('[word_vectors]\nsource = "random"\n')
    epoch = {"epochs": 1, "losses": {"instance_image": 1.0, "instance_text": 1.0}}
    settings = {
        "dataset": {"name": "folder", "root": small_dataset, "splits": ["train", "dev"]},
        "embedding_size": 16,
        "image.size": 32,
        "image_tower.weights": "none",
        "text_tower": {"width": 0.125, "blocks": [1], "word_width": 8},
        "stages": [epoch],
    }
    told: list[tuple] = []

    class Recorder:
        def on_stage(self, stage, step):
            told.append((stage.epochs, step))

        def on_epoch(self, step, figures):
            told.append((step, sorted(figures)[-1]))

        def on_end(self, finished):
            told.append((finished,))

    trained = itembed_tf.train(tmp_path / "small.toml", tmp_path / "run", settings=settings, loggers=[Recorder()])
    assert told[0] == (1, 1) and told[1] == (1, "train/loss") and told[2:] == [(True,)]
    assert isinstance(trained, itembed_tf.ImageTextModel) and trained.embedding_size == 16
    assert (tmp_path / "run" / "report" / "index.html").exists()
    again = itembed_tf.train(tmp_path / "small.toml", tmp_path / "run", settings=settings)
    assert again.contract == trained.contract, "a finished run is not trained again"


def test_the_package_imports_nothing_heavy_and_train_is_program_and_function():
    code = """
import sys
import itembed_tf
assert not {"numpy", "tensorflow", "keras"} & sys.modules.keys(), "import itembed_tf"
import itembed_tf.train
assert callable(itembed_tf.train) and callable(itembed_tf.train.main)
assert "tensorflow" not in sys.modules, "import itembed_tf.train"
try:
    itembed_tf.load("nowhere")
except FileNotFoundError:
    assert "tensorflow" not in sys.modules, "a wrong path"
print(sorted(set(itembed_tf.__all__) - {"__version__"}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "['ImageTextModel', 'Ranking', 'load', 'train']\n", done.stderr[-2000:]


PROGRAM = """
import numpy as np
import itembed_tf

model = itembed_tf.load("runs/mine")
images = model.embed_images(["a.jpg", "b.jpg"])
reveal_type(images)
reveal_type(model.embed_texts(["a dog"]))
reveal_type(model.known_words(["a dog"]))
indices, similarities = model.rank("a dog", images, top=3)
reveal_type(indices)
reveal_type(model.evaluate("test").rsum)
trained: itembed_tf.ImageTextModel = itembed_tf.train("photos", "runs/mine", settings={"model.scale": 10.0})
model.embed_texts(5)
"""


@pytest.mark.slow
def test_the_types_help_a_user(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "program.py"]
    environment = {"MYPYPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    lines = [line.partition("program.py:")[2] for line in done.stdout.splitlines() if "program.py:" in line]
    types = [line.partition("Revealed type is ")[2] for line in lines if "Revealed" in line]
    assert len(types) == 5 and not any("Any]" in shown and "ndarray" not in shown for shown in types), done.stdout
    errors = [line for line in lines if "error" in line]
    assert len(errors) == 1 and 'incompatible type "int"' in errors[0], done.stdout
