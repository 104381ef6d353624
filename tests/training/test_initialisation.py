"""Initialisation with CCA: zero epochs give the CCA baseline, and training keeps it unless it finds better weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itembed_tf.config import Config, arguments, load_config
from itembed_tf.data.batches import Items, flatten
from itembed_tf.data.readers import read_dataset
from itembed_tf.models.dual_path import encoder
from itembed_tf.pipeline import train
from itembed_tf.training.build import load_model
from itembed_tf.training.frozen_outputs import caption_features, image_features
from itembed_tf.training.initialisation import _all_pairs
from itembed_tf.training.run_directory import open_run
from tests.support.toy_model import dual_path

pytestmark = pytest.mark.usefixtures("deterministic_ops_end", "shallow_backbone", "without_exports")
CONFIG = Path(__file__).parents[2] / "configs" / "flickr8k_spe.toml"


def config(drawn: str, *more: str) -> Config:
    small = [
        f'dataset.root="{drawn}"',
        "embedding_size=5",
        "image.size=32",
        "image_tower.weights=none",
        "image_tower.head=fc",
        "text_tower.head=fc",
        "text_tower.word_width=6",
        "word_vectors.source=skip-gram",
        "sentence.kind=mean",
        "sentence.size=0",
        "model.start=cca",
        "cca.regularisation=0.01",
        "stages.0.batch_size=8",
        "stages.0.cached_views=2",
        "stages.0.epochs=0",
    ]
    return load_config(CONFIG, [*small, *more])


@pytest.fixture(scope="module")
def run(
    drawn: str,
    shallow_backbone: None,
    without_exports: None,
    tmp_path_factory: pytest.TempPathFactory,
    own_cache: None,
) -> Path:
    path = tmp_path_factory.mktemp("cca") / "run"
    assert train.train(config(drawn), path)["finished"]
    return path


def test_run_with_zero_epochs_equals_cca(run, drawn):
    """Cosines of the encoders equal those of textbook CCA on all rows, with views averaged."""
    settings, opened = config(drawn), open_run(run)
    model, groups = load_model(opened), read_dataset(**arguments(settings.dataset))
    items = flatten([group for group in groups if group.split == "train"])
    ids = opened.vocabulary.encode(items.captions)
    views = image_features(settings, model, items, 2, mirror=True)
    x, y = np.mean(views, axis=0, dtype=np.float64), np.asarray(caption_features(model, ids), np.float64)
    rows = [x[items.caption_groups], y]  # every group is one image
    means = [side.mean(axis=0) for side in rows]
    c = [side - mean for side, mean in zip(rows, means, strict=True)]
    whiten = []
    for side in c:
        values, axes = np.linalg.eigh(side.T @ side / len(side))
        whiten.append(axes / np.sqrt(np.maximum(values, 0) + 0.01 * values[-1] + 1e-8) @ axes.T)
    left, correlations, right = np.linalg.svd(whiten[0] @ (c[0].T @ c[1] / len(rows[0])) @ whiten[1])
    maps = [whiten[0] @ left[:, :5] * correlations[:5], whiten[1] @ right[:5].T * correlations[:5]]
    expected = [unit((side - mean) @ to) for side, mean, to in zip((x, y), means, maps, strict=True)]
    images = unit(sum(np.asarray(model.on_features.get_layer("image_head")(np.array(view))) for view in views))
    captions = np.asarray(encoder(model, "text")(ids))
    np.testing.assert_allclose(images @ captions.T, expected[0] @ expected[1].T, atol=1e-4)
    assert correlations[0] > 0.3  # the captions describe the images
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert "rsum" in page


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_training_keeps_the_cca_weights_if_they_are_best(drawn, tmp_path, run, monkeypatch):
    """With a learning rate that destroys the weights, those from CCA are kept."""
    monkeypatch.setattr(train, "finish_run", lambda *_, model, **__: {"kept": model.get_weights()})
    settings = config(drawn, "stages.0.epochs=1", "stages.0.learning_rate=100")
    kept = train.train(settings, tmp_path / "run")["kept"]
    for one, two in zip(load_model(open_run(run)).get_weights(), kept, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "more",
    [["image_tower.head=fc-bn"], ["text_tower.head=variant"], ["text_tower.variant=wide", "text_tower.head=fc-bn"]],
)
def test_nonlinear_heads_are_refused(drawn, tmp_path, more):
    with pytest.raises(ValueError, match=r'model.start = "cca": gives linear maps .* image_tower.head = "fc"'):
        train.train(config(drawn, *more), tmp_path / "run")


def test_embedding_size_above_the_number_of_directions_is_refused(drawn, tmp_path):
    with pytest.raises(
        ValueError,
        match="embedding_size = 7: CCA of 1280 image and 6 sentence dimensions has a maximum of 6 directions",
    ):
        train.train(config(drawn, "embedding_size=7"), tmp_path / "other")


def test_dual_path_model_with_a_classifier_refuses_cca():
    with pytest.raises(ValueError, match=r"or model\.start = .random."):
        dual_path(start="cca")


def test_every_image_is_paired_with_every_caption_of_its_group():
    items = Items(["a", "b", "c"], np.array([0, 0, 2]), list("stuvw"), np.array([0, 0, 1, 2, 2]))
    images, captions = _all_pairs(items)
    assert list(zip(images, captions, strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 3), (2, 4)]
