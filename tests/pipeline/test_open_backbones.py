"""Runs on features from a file and on a .keras file: trained, evaluated, loaded and exported without the originals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import itembed_tf
from benchmarks.backbones import Form, config_of
from benchmarks.tiny_backbones import write_features, write_network
from itembed_tf.config import ConfigError, check_config, load_config
from itembed_tf.data.feature_file import read_features
from itembed_tf.data.readers import image_ids, read_dataset
from itembed_tf.errors import UserError
from itembed_tf.evaluation.evaluate import evaluate_run
from itembed_tf.exporting.litert_export import export_litert
from itembed_tf.index.encoders import pack_encoders, store_image_encoder
from itembed_tf.models.network import BackboneError
from itembed_tf.pipeline.train import train
from itembed_tf.training.build import load_model
from itembed_tf.training.run_directory import open_run

pytestmark = pytest.mark.usefixtures("deterministic_ops_end")


@pytest.fixture(scope="module")
def features(drawn: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_features(tmp_path_factory.mktemp("features") / "features.npy", drawn)


def write_config(folder: Path, drawn: str, tower: str) -> Path:
    file = folder / "config.toml"
    file.write_text(config_of(Form("", tower), drawn), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def run(drawn: str, features: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("on_features")
    config = load_config(write_config(folder, drawn, f'features = "{features}"'))
    check_config(config)
    assert train(config, folder / "run")["finished"]
    return folder / "run"


def test_the_image_encoder_takes_features_and_says_so(run: Path, features: str, drawn: str) -> None:
    contract = json.loads((run / "encoders" / "encoders.json").read_text(encoding="utf-8"))
    assert contract["image"] == {"features": 24}
    signature = contract["encoders"]["image_encoder"]["signatures"]["serving_default"]
    assert signature["inputs"] == {"features": {"dtype": "float32", "shape": ["batch", 24]}}
    encoder = tf.saved_model.load(str(run / "encoders" / "image_encoder" / "1")).signatures["serving_default"]
    rows = np.load(features)[:3]
    exported = encoder(features=tf.constant(rows))["embedding"]
    model = itembed_tf.load(run)
    assert np.allclose(model.embed_features(rows), exported, atol=1e-6)
    assert np.allclose(itembed_tf.load(run / "encoders").embed_features(rows), exported, atol=1e-6)
    with pytest.raises(ValueError, match="use embed_features"):
        model.embed_images([b""])
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be finite"):
        encoder(features=tf.constant(np.full((2, 24), np.nan, np.float32)))


@pytest.mark.filterwarnings("ignore:the dev split has changed")
def test_evaluation_reads_the_features_and_not_the_images(run: Path, drawn: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(drawn, copy)
    for image in (copy / "Images").iterdir():
        image.write_bytes(b"no image")
    table = evaluate_run(run, "dev", [f'dataset.root="{copy}"']).to_json()
    assert table["rsum"] == json.loads((run / "metrics.json").read_text(encoding="utf-8"))["dev"]["rsum"]


def test_litert_takes_features_and_an_index_refuses_them(run: Path, tmp_path: Path) -> None:
    export = export_litert(run, tmp_path / "edge", text=(), image=["float32", "int8"], accept_loss=True)
    assert np.allclose(export.files[0].embeddings, export.dev.live.images, atol=1e-5)
    settings = json.loads((tmp_path / "edge" / "image_encoder.json").read_text(encoding="utf-8"))
    assert settings["input"] == {"features": {"dtype": "float32", "shape": [1, 24]}} and "range" not in settings
    for refused in (lambda: pack_encoders(run / "encoders"), lambda: store_image_encoder(run / "encoders", tmp_path)):
        with pytest.raises(UserError, match="takes 24 features of an image, not image files"):
            refused()


def test_features_that_have_changed_end_a_continued_run(
    features: str, drawn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from itembed_tf.pipeline import train as module

    file = tmp_path / "mine.npy"
    file.write_bytes(Path(features).read_bytes())
    file.with_suffix(".txt").write_bytes(Path(features).with_suffix(".txt").read_bytes())
    config = load_config(write_config(tmp_path, drawn, f'features = "{file}"'))
    monkeypatch.setattr(module, "finish_run", lambda *_, **__: {})
    train(config, tmp_path / "run")
    np.save(file, np.load(file) * 2)
    with pytest.raises(UserError, match=r"mine\.npy is not the one with which this run began"):
        train(config, tmp_path / "run")


def test_a_run_on_a_keras_file_is_loaded_without_it(
    drawn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from itembed_tf.pipeline import train as module

    file = Path(write_network(tmp_path / "tiny.keras"))
    config = load_config(write_config(tmp_path, drawn, f'backbone = "file:{file}"\npixels = "-1..1"'))
    kept = []

    def end(config, path, *_, model, **__):  # type: ignore[no-untyped-def]
        from itembed_tf.training.run_directory import save_weights, write_metrics

        save_weights(path, model)
        write_metrics(path, {"finished": True, "classes": 24})
        kept.append(model.get_weights())
        return {}

    monkeypatch.setattr(module, "finish_run", end)
    train(config, tmp_path / "run")
    file.unlink()
    loaded = load_model(open_run(tmp_path / "run"))
    assert all(np.array_equal(one, other) for one, other in zip(kept[0], loaded.get_weights(), strict=True))


def test_wrong_backbones_are_refused_before_anything_is_written(drawn: str, tmp_path: Path) -> None:
    file = write_network(tmp_path / "tiny.keras")
    tower = f'backbone = "file:{file}"\npixels = "-1..1"\nlevels = ["block9"]'
    with pytest.raises(ValueError, match=r"image_tower\.levels: no layer or block 'block9'"):
        train(load_config(write_config(tmp_path, drawn, tower)), tmp_path / "run")
    tower = f'backbone = "file:{file}"\npixels = "0..255"'
    with pytest.raises(BackboneError, match="trained on another range"):
        train(load_config(write_config(tmp_path, drawn, tower)), tmp_path / "run")
    assert not (tmp_path / "run" / "config.toml").exists()


@pytest.mark.parametrize(
    ("tower", "message"),
    [
        ('backbone = "keras:ConvNextTiny"', "did you mean 'ConvNeXtTiny'"),
        ('backbone = "keras:Xception"', "the minimum of keras:Xception is 71 pixels"),
        ('backbone = "keras:MobileNet"\npixels = "0..1"', "would be ignored"),
        ('backbone = "keras:MobileNet"\nweights = "a.pth"', r"loads \.h5 files"),
        ('backbone = "file:a.keras"', r"image_tower\.pixels = .* say what the network of the file takes"),
        ('backbone = "file:a.h5"\npixels = "0..1"', r"must be a \.keras file"),
        ('backbone = "file:gone.keras"\npixels = "0..1"', "is not a file"),
        ('backbone = "keras_hub:./gone"', "is not a folder"),
        ('features = "a.npz"', r"must be a \.npy file"),
        ('features = "gone.npy"', "is not a file"),
        ('features = "x.npy"\nbackbone = "resnet50"', "would be ignored"),
    ],
)
def test_settings_that_cannot_work_are_refused(tower: str, message: str, drawn: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        check_config(load_config(write_config(tmp_path, drawn, tower)))


def test_what_changes_images_is_refused_with_features(features: str, drawn: str, tmp_path: Path) -> None:
    file = write_config(tmp_path, drawn, f'features = "{features}"')
    for override, message in {
        "image.size=96": "would be ignored",
        "augmentation.flip=false": "would be ignored",
        "evaluation.flip=true": "one row for an image; set evaluation",
        "stages.0.cached_views=4": "set cached_views = 1",
        'stages.0.freeze=["backbone", "backbone_batch_norm"]': "is not a part of this model",
    }.items():
        with pytest.raises(ConfigError, match=message):
            check_config(load_config(file, [override]))
    groups = read_dataset(name="flickr8k", root=drawn, splits=("dev",))
    assert np.array_equal(
        read_features(features, image_ids(groups))[0], np.load(features)[_row(features, groups[0].id)]
    )


def _row(features: str, image: str) -> int:
    return Path(features).with_suffix(".txt").read_text(encoding="utf-8").splitlines().index(image)
