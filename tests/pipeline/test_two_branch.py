"""The two-branch network as a run: each kind of sentence features, killed and continued, exported and compared."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import benchmarks.parity
from itembed_tf.config import Config, load_config
from itembed_tf.data import feature_cache as features
from itembed_tf.exporting import load_pair
from itembed_tf.models.dual_path import encoder, parts, sentence_features
from itembed_tf.pipeline import encoder as pipeline_encoder
from itembed_tf.pipeline import stages, train
from itembed_tf.training.build import load_model
from itembed_tf.training.run_directory import open_run

pytestmark = pytest.mark.usefixtures("deterministic_ops_end", "shallow_backbone")
ROOT = Path(__file__).parents[2]


def config(drawn: str, kind: str, *more: str) -> Config:
    """configs/flickr8k_spe.toml, small."""
    small = [
        f'dataset.root="{drawn}"',
        "embedding_size=32",
        "image.size=32",
        "image_tower.weights=none",
        "image_tower.hidden=48",
        "text_tower.hidden=48",
        "text_tower.word_width=6",
        "word_vectors.source=skip-gram",
        "sentence.components=2",
        "sentence.size=6",
        "stages.0.batch_size=8",
        "stages.0.cached_views=2",
        "stages.0.epochs=3",
    ]
    return load_config(ROOT / "configs" / "flickr8k_spe.toml", [*small, f"sentence.kind={kind}", *more])


def weights_at_the_end(monkeypatch: pytest.MonkeyPatch, settings: Config, path: Path) -> list[np.ndarray]:
    """Train without the outputs after the last stage."""
    monkeypatch.setattr(train, "finish_run", lambda *_, model, **__: {"kept": model.get_weights()})
    return train.train(settings, path)["kept"]


# The weights of the mean of word vectors are a part of those of Fisher vectors.
@pytest.mark.parametrize("kind", ["tf-idf", "hglmm"])
def test_a_killed_run_ends_as_an_undisturbed_one(kind, drawn, tmp_path, monkeypatch):
    settings = config(drawn, kind, "stages.0.checkpoint_minutes=0")
    log_epoch = stages.log_epoch

    def copy_in_epoch_2(*arguments: Any) -> None:
        if arguments[-1].epoch == 2:  # what kill -9 would leave
            shutil.copytree(tmp_path / "whole", tmp_path / "killed")
        log_epoch(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(stages, "log_epoch", copy_in_epoch_2)
        whole = weights_at_the_end(monkeypatch, settings, tmp_path / "whole")

    def again(*_: Any, **__: Any) -> None:
        raise AssertionError("sentence features were fitted again")

    monkeypatch.setattr(pipeline_encoder, "start_weights", again)
    for one, two in zip(whole, weights_at_the_end(monkeypatch, settings, tmp_path / "killed"), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.fixture(scope="module")
def run(drawn: str, shallow_backbone: None, tmp_path_factory: pytest.TempPathFactory, own_cache: None) -> Path:
    """A finished run of Fisher vectors."""
    path = tmp_path_factory.mktemp("two_branch") / "run"
    assert train.train(config(drawn, "hglmm"), path)["finished"]
    return path


def test_the_run_tells_of_itself_and_has_no_classifier(run):
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert "features (hglmm)" in page and "topk image" in page and "Classifier accuracy" not in page
    model = load_model(open_run(run))
    assert set(parts(model)) == {"backbone", "image_head", "text_tower"}
    trained = list(model.get_layer("text_tower").trainable_variables)
    fixed = sentence_features(model).variables
    assert len(trained) == 6 and not {id(v) for v in trained} & {id(v) for v in fixed}
    assert all(np.abs(v.numpy()).max() > 0 for v in fixed if v.name != "laplacian")


def test_what_training_saw_is_what_the_encoder_computes(run):
    """The cached features of the training captions, through the head, are the text encoder's embeddings of the ids."""
    opened = open_run(run)
    model = load_model(opened)
    ids = opened.vocabulary.encode(["a small red box at the left", "at the top is a blue and large box", "", "red"])
    known = features.cached_sentences(sentence_features(model), ids)
    assert isinstance(known, np.memmap) and known.shape == (4, 6)
    out = model.on_features(
        {"image_features": np.zeros((4, 1280), np.float32), "text_features": np.array(known)}, training=False
    )
    np.testing.assert_allclose(out["text_embedding"], encoder(model, "text")(ids), atol=1e-6)


def test_the_saved_model_takes_raw_sentences(run):
    model, pair = load_pair(run)
    served = tf.saved_model.load(str(run / "encoders" / "text_encoder" / "1")).signatures["serving_default"]
    sentences = ["A small RED box, at the left!", "zebra", "at the top is a blue and large box"]
    found = served(text=tf.constant(sentences))
    live = encoder(model, "text")(pair.vocabulary.encode(sentences))
    np.testing.assert_allclose(found["embedding"], live, atol=1e-5)
    assert found["known_words"].numpy().tolist() == [7, 0, 9]


def test_all_float32_backends_give_the_same_embeddings(run, drawn, monkeypatch, capsys):
    monkeypatch.setenv("ITEMBED_FLICKR8K", drawn)
    monkeypatch.setattr(benchmarks.parity, "QUICK", ("float32",))
    own = SimpleNamespace(folder=run / "encoders")  # which the benchmark would export a second time
    monkeypatch.setattr("itembed_tf.exporting.write_saved_models", lambda *_: own)
    assert benchmarks.parity.main([str(run), "--quick"]) == 0
    output = capsys.readouterr().out.splitlines()
    assert output[-1].endswith("recall 0.00 points apart (bar 0.0001, 0) ok")
    assert all(any(line.startswith(name) for line in output) for name in ("LiteRT float32", "ONNX Runtime"))
    # OpenVINO 2026.4 does not read the shapes of Fisher vectors (docs/onnx.md).
    assert any(line.startswith("OpenVINO float32: cannot load these encoders") for line in output)
