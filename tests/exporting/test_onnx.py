"""ONNX files give the embeddings of the live model in ONNX Runtime and OpenVINO, and a bad conversion is refused."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import tensorflow as tf

from itembed_tf import export, extras
from itembed_tf.data.images import load_image
from itembed_tf.exporting import EncoderPair, ExportError, ParityError, load_pair, onnx_export, write_onnx
from itembed_tf.models.dual_path import encoder, project_encoder
from itembed_tf.models.ensemble import ensemble_model, project_ensemble
from itembed_tf.models.memory import fill_memory, memory_of, with_memory
from itembed_tf.text import Vocabulary
from tests.support.toy_model import LENGTH, SIZE, D, dual_path

EDGE = Path(__file__).parents[2] / "export" / "edge"
VOCABULARY = Vocabulary(
    ("a", "bike", "dog", "man", "on", "red", "runs", "the"), tokenizer="words", lowercase=True, length=LENGTH
)
RANDOM = np.random.default_rng(2)


def pair_of(model: keras.Model, **settings: Any) -> EncoderPair:
    settings = {"flip": False, "crops": 0, "shifts": "left"} | settings
    image = encoder(model, "image", flip=settings["flip"], crops=settings["crops"])
    text = encoder(model, "text", shifts=settings["shifts"])
    return EncoderPair(image, text, VOCABULARY, size=SIZE, fit="stretch", **settings)


def plain() -> EncoderPair:
    return pair_of(dual_path())


def averaged() -> EncoderPair:
    return pair_of(dual_path(), flip=True, crops=5, shifts="all")


def with_images_to_recall() -> EncoderPair:
    model = with_memory(dual_path(), rows=6, weight=0.4, temperature=0.04)
    images = RANDOM.normal(size=(5, D)).astype(np.float32)
    fill_memory(memory_of(model), images / np.linalg.norm(images, axis=1, keepdims=True))
    return pair_of(model)


def ensemble() -> EncoderPair:
    model = ensemble_model([dual_path(), dual_path((1,))], [0, 1], embedding_size=6)
    project_ensemble(model, np.linalg.qr(RANDOM.normal(size=(2 * D, 6)))[0].astype(np.float32))
    return pair_of(model)


def shortened() -> EncoderPair:
    pair, axes = plain(), np.eye(D, 3, dtype=np.float32)
    image, text = project_encoder(pair.image_encoder, axes), project_encoder(pair.text_encoder, axes)
    return replace(pair, image_encoder=image, text_encoder=text)


def of_features() -> EncoderPair:
    x = keras.Input((5,), name="features")
    image = keras.Model(x, keras.layers.UnitNormalization()(keras.layers.Dense(D)(x)), name="image_encoder")
    return replace(plain(), image_encoder=image)


def by_onnx_runtime(file: Path, batch: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(["embedding"], {session.get_inputs()[0].name: batch})[0]


def by_openvino(file: Path, batch: np.ndarray) -> np.ndarray:
    model = openvino.compile_model(openvino.Core().read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return model(batch)[0]


@pytest.mark.parametrize("make", [plain, averaged, with_images_to_recall, ensemble, shortened, of_features])
def test_other_runtimes_give_the_embeddings_of_the_model(make, tmp_path):
    pair = make()
    write_onnx(tmp_path, pair)
    ids = VOCABULARY.encode(["a dog on a bike", "the red man", "runs"])
    pixels = RANDOM.uniform(0, 255, (3, *pair.image_encoder.input.shape[1:])).astype(np.float32)
    for name, side, batch in (("text", pair.text_encoder, ids), ("image", pair.image_encoder, pixels)):
        live = side(batch)
        for engine in (by_onnx_runtime, by_openvino):
            given = engine(tmp_path / f"{name}_encoder.onnx", batch)
            np.testing.assert_allclose(given, live, atol=1e-5)
            np.testing.assert_allclose(np.linalg.norm(given, axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(engine(tmp_path / f"{name}_encoder.onnx", batch[:1]), live[:1], atol=1e-5)
    kernels = [t.dims for t in onnx.load(tmp_path / "image_encoder.onnx").graph.initializer if len(t.dims) == 4]
    # Once, though several views pass through them; the members of the toy ensemble have equal backbones.
    assert kernels == ([] if pair.features else [[7, 3, 3, 3]])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX files of `plain`."""
    out = tmp_path_factory.mktemp("onnx")
    write_onnx(out, plain())
    return out


def test_the_files_say_what_they_take(exported):
    text, image = onnx.load(exported / "text_encoder.onnx"), onnx.load(exported / "image_encoder.onnx")
    inside = {entry.key: entry.value for entry in text.metadata_props}
    beside = json.loads((exported / "text_encoder.onnx.json").read_text())
    assert inside["contract"] == beside["contract"] == plain().contract
    assert inside["tokenizer.txt"] == (exported / "tokenizer.txt").read_text()
    assert inside["vocabulary.txt"] == (exported / "vocabulary.txt").read_text()
    assert beside["input"]["ids"] == {"dtype": "int32", "shape": ["batch", LENGTH]}
    assert {"tf2onnx", "onnx", "tensorflow"} <= beside["packages"].keys() and beside["parity"]["min_cosine"] > 0.99999
    of_image = json.loads(next(entry.value for entry in image.metadata_props if entry.key == "settings"))
    assert of_image["range"] == [0, 255] and of_image["size"] == SIZE and of_image["contract"] == inside["contract"]
    assert {opset.domain: opset.version for opset in text.opset_import}[""] == 17
    assert {node.domain for model in (text, image) for node in model.graph.node} == {""}, "standard operators only"


def test_the_examples_hold_for_the_tokenizer_of_apps_and_the_files(exported):
    """What an implementation in another language checks: text to ids to embedding, and image file to embedding."""
    spec = importlib.util.spec_from_file_location("app_tokenizer", EDGE / "tokenizer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tokenizer = module.Tokenizer(exported)
    examples = json.loads((exported / "examples.json").read_text())
    assert len(examples["texts"]) >= 5 and examples["contract"] == plain().contract
    for example in examples["texts"]:
        assert list(tokenizer.encode(example["text"])) == example["ids"]
        given = by_onnx_runtime(exported / "text_encoder.onnx", np.array([example["ids"]], np.int32))
        np.testing.assert_allclose(given[0], example["embedding"], atol=1e-5)
    pixels = load_image((exported / examples["image"]["file"]).read_bytes(), size=SIZE, fit="stretch")
    given = by_onnx_runtime(exported / "image_encoder.onnx", np.asarray(pixels)[None])
    np.testing.assert_allclose(given[0], examples["image"]["embedding"], atol=1e-5)


@pytest.mark.parametrize("encoder", ["text", "image"])
def test_a_bad_conversion_is_refused_and_nothing_is_written(encoder, tmp_path, monkeypatch):
    right = onnx_export.convert_onnx

    def wrong(model: keras.Model, **settings: Any) -> bytes:
        content = right(model, **settings)
        if model.name != f"{encoder}_encoder":
            return content
        damaged = onnx.load_from_string(content)
        weights = max(damaged.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
        values = onnx.numpy_helper.to_array(weights) * np.float32(1.01) + np.float32(0.01)
        weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
        return damaged.SerializeToString()

    monkeypatch.setattr(onnx_export, "convert_onnx", wrong)
    with pytest.raises(ParityError, match=rf"{encoder}_encoder.onnx: after reloading, .* differs from the live model"):
        write_onnx(tmp_path, plain())
    assert list(tmp_path.iterdir()) == []


def test_an_operation_without_a_counterpart_is_named(tmp_path):
    class Bessel(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return tf.math.bessel_i0(x)

    x = keras.Input((5,), name="features")
    y = keras.layers.UnitNormalization()(Bessel()(keras.layers.Dense(D)(x)))
    with pytest.raises(ExportError, match=r"image_encoder cannot be converted to ONNX \(.*BesselI0.*--to saved_model"):
        write_onnx(tmp_path, replace(plain(), image_encoder=keras.Model(x, y, name="image_encoder")))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("shallow_backbone")
def test_the_command_exports_a_run(small_run, small_onnx):
    folder, output = small_onnx / "whole", json.loads((small_onnx / "whole.json").read_text())
    names = {"text_encoder", "image_encoder"}
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {
        *(f"{name}.onnx{ending}" for name in names for ending in ("", ".json")),
        *("README.md", "tokenizer.txt", "vocabulary.txt", "examples.json", "example.png"),
    }
    assert all(f"/whole/{name}.onnx: " in output["out"] for name in names)
    assert 'license: "apache-2.0"' in (folder / "README.md").read_text(encoding="utf-8")
    _, pair = load_pair(small_run)
    ids = pair.vocabulary.encode(["a dog on a bike"])
    given = by_onnx_runtime(folder / "text_encoder.onnx", ids)
    np.testing.assert_allclose(given, pair.text_encoder(ids), atol=1e-5)
    assert "tf2onnx" not in output["err"] and "Optimizer" not in output["err"], "its log stays off the screen"


def test_the_command_exports_shorter_embeddings(small_onnx):
    settings = json.loads((small_onnx / "pca" / "image_encoder.onnx.json").read_text())
    assert settings["output"]["embedding"]["shape"] == ["batch", 6] and settings["cut"]["to"] == 6
    assert "PCA from 16 to 6 dimensions" in json.loads((small_onnx / "pca.json").read_text())["out"]


def test_a_missing_extra_is_named_before_anything_is_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "tf2onnx" else importlib.util.find_spec(name))
    assert export.main(["no_run", str(tmp_path), "--to", "onnx"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "needs tf2onnx" in line and "pip install 'itembed_tf[onnx]'" in line


def test_the_snippets_of_the_documentation_run(exported, small_dataset, tmp_path, monkeypatch, capsys):
    (tmp_path / "exports").mkdir()
    (tmp_path / "my_photos").mkdir()
    (tmp_path / "exports" / "onnx").symlink_to(exported)
    (tmp_path / "my_photos" / "beach.jpg").write_bytes((small_dataset / "0.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text(encoding="utf-8")
    exec("".join(re.findall(r"```python\n(.*?)```", page, re.S)), {})
    similarities, shape = capsys.readouterr().out.splitlines()
    assert -1.0001 <= float(similarities.strip("[]")) <= 1.0001 and shape == f"(1, {D})"


def test_an_index_is_not_for_onnx(tmp_path, capsys):
    with pytest.raises(SystemExit):
        export.main(["run", str(tmp_path), "--to", "onnx", "--index", "photos.index"])
    assert "--index is for --to search, and for --to litert" in capsys.readouterr().err
