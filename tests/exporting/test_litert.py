"""LiteRT files at every precision are measured on dev; a file that loses too much is refused."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers
from PIL import Image
from playwright.sync_api import sync_playwright

import itembed_tf.exporting
from benchmarks.edge_page import served
from itembed_tf import export
from itembed_tf.config import load_config
from itembed_tf.data.readers import Group
from itembed_tf.evaluation.embeddings import Embeddings
from itembed_tf.evaluation.evaluate import evaluate_embeddings
from itembed_tf.exporting import EncoderPair, LiteRTExport, ParityError, litert_files
from itembed_tf.exporting import litert_export as edge
from itembed_tf.litert import files_inside
from itembed_tf.text import Vocabulary

EDGE = Path(__file__).parents[2] / "export" / "edge"
ALL = ("float32", "float16", "dynamic", "int8")
COLOURS = {
    "blue": (20, 40, 230),
    "brown": (120, 70, 20),
    "green": (20, 180, 40),
    "pink": (250, 150, 200),
    "red": (230, 20, 30),
    "white": (255, 255, 255),
    "yellow": (240, 230, 20),
}
SIZE, D = 8, 64


def pixels(colour: str) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), COLOURS[colour], np.float32)


def group(colour: str, split: str) -> Group:
    image = tf.io.encode_png(pixels(colour).astype(np.uint8)).numpy()
    return Group(f"{split} {colour}", (image,), (f"the {colour} one",), split)


@pytest.fixture(scope="module")
def pair() -> EncoderPair:
    """Encoders of colours: the text encoder's word table holds the embeddings of the images."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    f = layers.Dense(D)(layers.Dense(32, activation="relu")(layers.GlobalAveragePooling2D()(image / 255.0)))
    image_encoder = keras.Model(image, layers.UnitNormalization()(f), name="image_encoder")
    ids = keras.Input((4,), dtype="int32", name="ids")
    words = layers.Embedding(len(COLOURS) + 1, D, name="words")
    text_encoder = keras.Model(ids, layers.UnitNormalization()(keras.ops.sum(words(ids), axis=1)), name="text_encoder")
    seen = image_encoder(np.stack([pixels(colour) for colour in COLOURS])).numpy()
    words.set_weights([np.concatenate([np.full((1, D), 1e-3), seen])])
    vocabulary = Vocabulary(tuple(COLOURS), tokenizer="words", lowercase=True, length=4)
    return EncoderPair(image_encoder, text_encoder, vocabulary, size=SIZE, fit="stretch", flip=False, shifts="left")


@pytest.fixture(scope="module")
def dev(pair: EncoderPair) -> edge.Dev:
    groups = [group(colour, "dev") for colour in COLOURS]
    ids = pair.vocabulary.encode([g.captions[0] for g in groups])
    images = pair.image_encoder(np.stack([pixels(colour) for colour in COLOURS])).numpy()
    live, config = Embeddings(images, pair.text_encoder(ids).numpy()), load_config(None)
    return edge.Dev(config, groups, live, evaluate_embeddings(config, "dev", groups, live))


def export_all(out: Path, pair: EncoderPair, dev: edge.Dev, **changes: Any) -> LiteRTExport:
    train = [group(colour, "train") for colour in COLOURS]
    settings = {"text": ALL, "image": ("float32", "int8"), "accept_loss": False, **changes}
    return edge.write_measured(out, pair, dev, train, **settings)


@pytest.fixture(scope="module")
def exported(pair, dev, tmp_path_factory) -> tuple[Path, LiteRTExport]:
    out = tmp_path_factory.mktemp("edge")
    (out / "text_encoder.int4.tflite").write_bytes(b"of an earlier export")
    return out, export_all(out, pair, dev)


def test_the_measurements_agree_with_the_files(pair, dev, exported):
    out, export = exported
    assert dev.table["text_query"]["R@1"] == dev.table["image_query"]["R@1"] == 100
    ids = pair.vocabulary.encode([f"{colour}, unknown" for colour in COLOURS])
    assert [file.file for file in export.files] == [
        *(f"text_encoder.{precision}.tflite" for precision in ALL),
        "image_encoder.float32.tflite",
        "image_encoder.int8.tflite",
    ]
    for file in export.files:
        is_text = file.encoder == "text_encoder"
        inputs = ids if is_text else [pixels(colour) for colour in COLOURS]
        encode = Interpreter(str(out / file.file)).get_signature_runner("serving_default")
        found = np.stack([encode(**{"ids" if is_text else "pixels": x[None]})["embedding"][0] for x in inputs])
        assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 0.02
        live = dev.live.captions if is_text else dev.live.images
        cosines = (found * live).sum(axis=1) / np.linalg.norm(found, axis=1)
        assert file.cosine_mean == pytest.approx(cosines.mean(), abs=1e-6)
        assert file.cosine_worst == pytest.approx(cosines.min(), abs=1e-6)
        assert file.cosine_worst > (0.999999 if file.precision == "float32" else 0.99)
        assert file.written and file.loss <= (0 if "float" in file.precision else file.budget + 1e-9)
        assert file.bytes == (out / file.file).stat().st_size and file.ms > 0
    assert export.both is not None and export.both["text_query"]["R@1"] > 80


def test_files_contain_the_files_beside_them(exported):
    out, export = exported
    text = text_json(out)
    assert list(text["files"]) == [f"text_encoder.{precision}.tflite" for precision in ALL]
    assert text["files"]["text_encoder.int8.tflite"]["cosine_to_float32"]["mean"] == export.files[3].cosine_mean
    assert text["parity"]["max_abs_difference"] <= 1e-5
    for file in text["files"]:
        inside = files_inside((out / file).read_bytes())
        assert inside["vocabulary.txt"] == (out / "vocabulary.txt").read_text()
        assert inside["tokenizer.txt"] == (out / "tokenizer.txt").read_text()
        assert json.loads(inside["text_encoder.json"])["contract"] == text["contract"]
    image = json.loads((out / "image_encoder.json").read_text())
    assert image["contract"] == text["contract"] and image["input"]["pixels"]["shape"] == [1, SIZE, SIZE, 3]
    assert json.loads(files_inside((out / "image_encoder.int8.tflite").read_bytes())["image_encoder.json"])["size"] == 8
    assert not (out / "text_encoder.int4.tflite").exists(), "an earlier export may have other weights"


def test_over_budget_is_refused_and_can_be_accepted(pair, dev, tmp_path, monkeypatch, capsys):
    """An int8 file whose embeddings point the other way: no query finds its match first."""
    right, file = edge.embed_all, tmp_path / "text_encoder.int8.tflite"

    def wrong(content, inputs, **progress):
        embeddings, ms = right(content, inputs, **progress)
        return -embeddings if b"; int8." in content else embeddings, ms

    def export_files(run, out, *, overrides, **settings):
        return export_all(Path(out), pair, dev, **settings)

    monkeypatch.setattr(edge, "embed_all", wrong)
    monkeypatch.setattr(itembed_tf.exporting, "export_litert", export_files)
    monkeypatch.setattr(export, "run_config", lambda run, overrides: None)
    file.write_bytes(b"of an earlier export")
    command = ["run", str(tmp_path), "--to", "litert", "--text", "float32,int8", "--image", ""]
    assert export.main(command) == 1
    output = capsys.readouterr()
    assert f"{file} was not written: it loses" in output.err and "--accept-loss" in output.err
    assert "refused" in output.out and (tmp_path / "text_encoder.float32.tflite").exists()
    assert not file.exists()
    assert list(text_json(tmp_path)["files"]) == ["text_encoder.float32.tflite"]
    assert export.main([*command, "--accept-loss"]) == 0
    assert file.exists()


def test_embeddings_that_are_nan_are_an_error(pair, dev, tmp_path, monkeypatch):
    """NaN usually comes from a diverged training; here the message must name the file."""
    right = edge.embed_all
    monkeypatch.setattr(edge, "embed_all", lambda content, inputs, **_: (right(content, inputs)[0] * np.nan, 1.0))
    with pytest.raises(ParityError, match=r"text_encoder.float16.tflite: some of its embeddings of dev are NaN"):
        export_all(tmp_path, pair, dev, text=("float16",), image=())
    assert list(tmp_path.iterdir()) == []


def test_a_budget_allows_at_least_one_query(exported):
    _, export = exported
    assert export.files[1].budget == 50 / len(COLOURS), "one of seven, in the mean of two directions"


def test_an_unknown_precision_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        export.main(["run", str(tmp_path), "--to", "litert", "--text", "int4"])
    assert "no precision 'int4'; allowed values: float32, float16, dynamic, int8" in capsys.readouterr().err


NODE = EDGE / "node"


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
@pytest.mark.skipif(not (NODE / "node_modules").exists(), reason="needs `npm ci` in export/edge/node")
@pytest.mark.parametrize("precision", ALL)
def test_the_example_finds_images_with_litert_js(dev, exported, tmp_path, precision):
    out, _ = exported
    dev.live.images.astype("<f4").tofile(tmp_path / "embeddings.f32")
    (tmp_path / "names.txt").write_text("".join(f"{colour}.jpg\n" for colour in COLOURS))
    (tmp_path / "gallery.json").write_text(json.dumps({"contract": text_json(out)["contract"]}))
    command = ["node", NODE / "search.mjs", out / f"text_encoder.{precision}.tflite", tmp_path]
    done = subprocess.run([*command, "The RED one!", "nothing known"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert lines[0] == "The RED one!  (1 known words)" and lines[-1] == "nothing known  (0 known words)"
    score, name = lines[1].split()
    assert name == "red.jpg"
    assert float(score) == pytest.approx(1, abs=0.02)
    (tmp_path / "gallery.json").write_text(json.dumps({"contract": "another"}))
    done = subprocess.run([*command, "red"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "made by another pair of encoders" in done.stderr


CHROMIUM = os.environ.get("ITEMBED_CHROMIUM") or shutil.which("chromium")


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium: apt-get install chromium, or name it in ITEMBED_CHROMIUM")
@pytest.mark.skipif(not (NODE / "node_modules").exists(), reason="needs `npm ci` in export/edge/node")
def test_the_page_finds_images_in_a_browser_without_a_network(dev, exported, tmp_path):
    """As typed; the address holds the query; unknown words and a gallery of other encoders are said."""
    out, _ = exported
    gallery, page = tmp_path / "gallery", tmp_path / "page"
    gallery.mkdir()
    dev.live.images.astype("<f4").tofile(gallery / "embeddings.f32")
    (gallery / "names.txt").write_text("".join(f"{colour}.jpg\n" for colour in COLOURS))
    (gallery / "gallery.json").write_text(json.dumps({"contract": text_json(out)["contract"]}))
    make = [sys.executable, EDGE / "make_page.py", out / "text_encoder.int8.tflite", gallery, page]
    done = subprocess.run(make, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "http.server --bind 127.0.0.1" in done.stdout, done.stderr
    again = subprocess.run(make, capture_output=True, text=True, check=False)
    assert again.returncode == 1 and again.stderr.startswith(f"error: {page} exists already")
    with served(page) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.route(lambda url: not url.startswith(address), lambda route: route.abort())
        tab.goto(f"{address}#q=The+RED+one")
        tab.wait_for_selector("#results li")
        assert tab.locator("#results li").first.inner_text().split()[0] == "red.jpg"
        assert "Unknown words: the, one" in tab.inner_text("#status")
        tab.locator("#query").fill("blue")
        tab.wait_for_function("() => document.querySelector('#results li').innerText.includes('blue.jpg')")
        assert tab.url.endswith("#q=blue")
        tab.locator("#query").fill("zeppelin")
        tab.wait_for_function("() => !document.querySelector('#results li')")
        assert tab.inner_text("#status") == "Unknown: zeppelin. Use other words."
        (page / "gallery.json").write_text(json.dumps({"contract": "another"}))
        tab.reload()
        tab.wait_for_selector("#status.problem")
        assert "made by another pair of encoders" in tab.inner_text("#status")
        browser.close()


def test_a_gallery_has_the_embeddings_of_the_encoder(small_export, small_dataset, tmp_path, monkeypatch, capsys):
    """Unreadable images are named and left out; the program needs nothing of ours."""
    (tmp_path / "images").mkdir()
    for name in ("0.png", "1.png"):
        shutil.copy(small_dataset / name, tmp_path / "images")
    (tmp_path / "images" / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    command = [EDGE / "make_gallery.py", small_export, tmp_path / "images", tmp_path / "gallery", "--thumbnails", "5"]
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", list(map(str, command)))
        for module in [name for name in sys.modules if name.partition(".")[0] == "itembed_tf"]:
            patch.setitem(sys.modules, module, None)  # as where it is not installed
        runpy.run_path(str(command[0]), run_name="__main__")
    errors = capsys.readouterr().err
    assert ended.value.code == 0 and "cut.jpg: a truncated or damaged image" in errors, errors
    assert (tmp_path / "gallery/names.txt").read_text() == "0.png\n1.png\n"
    with Image.open(tmp_path / "gallery/thumbnails/1.jpg") as thumbnail:
        assert min(thumbnail.size) == 5
    assert sorted(file.name for file in (tmp_path / "gallery/thumbnails").iterdir()) == ["0.jpg", "1.jpg"]
    embeddings = np.fromfile(tmp_path / "gallery/embeddings.f32", "<f4").reshape(2, -1)
    encode = tf.saved_model.load(str(small_export / "image_encoder/1")).signatures["serving_default"]
    files = [(small_dataset / name).read_bytes() for name in ("0.png", "1.png")]
    np.testing.assert_allclose(embeddings, encode(image_bytes=tf.constant(files))["embedding"], atol=1e-5)
    contract = json.loads((small_export / "encoders.json").read_text())["contract"]
    assert json.loads((tmp_path / "gallery/gallery.json").read_text())["contract"] == contract


def text_json(out: Path) -> dict[str, Any]:
    return json.loads((out / "text_encoder.json").read_text())


def test_text_without_known_words_is_not_compared_where_the_model_gives_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained text tower gives 0 for it, of which LiteRT's normalisation makes NaN."""
    vocabulary = Vocabulary(("blue", "red"), tokenizer="words", lowercase=True, length=4)

    def untrained(ids: np.ndarray, training: bool = False) -> np.ndarray:
        return np.eye(4, dtype=np.float32)[0] * (ids != 0).any(axis=1, keepdims=True)

    def exported(content: bytes, ids: np.ndarray) -> tuple[np.ndarray, float]:
        live = untrained(ids)
        return np.where(live.any(axis=1, keepdims=True), live, np.float32(np.nan)), 1.0

    monkeypatch.setattr(litert_files, "embed_all", exported)
    of_untrained: Any = SimpleNamespace(text_encoder=untrained, vocabulary=vocabulary)
    assert litert_files.text_parity(b"", of_untrained).max_abs_difference == 0
