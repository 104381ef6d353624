"""An ensemble: the mean of its members, trained one by one, continued after a kill, evaluated and exported as one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itembed_tf.config import (
    Config,
    ConfigError,
    check_settings,
    distinct_backbones,
    dump_config,
    load_config,
    member_configs,
)
from itembed_tf.evaluation.embeddings import Embeddings, embed_split
from itembed_tf.evaluation.evaluate import evaluate_run
from itembed_tf.exporting import load_pair, write_litert_text_encoder
from itembed_tf.exporting.pca import principal_axes
from itembed_tf.pipeline import members, train
from itembed_tf.pipeline.summaries import stage_summaries
from itembed_tf.training.run_directory import open_run, save_weights, write_metrics
from tests.conftest import two_stages
from tests.support.small_run import SMALL, dataset_settings

TRAINING = [
    "stages.0.epochs=1",
    "stages.0.batch_size=4",
    "stages.0.cached_views=2",
    "stages.0.average=0.0",
    "evaluation.batch_size=8",
    "max_broken_percent=0",
]
MEMBERS = [
    "members=2",
    "members.1.text_tower.blocks=[0]",
    'members.1.image_tower.levels=["block1"]',
    "members.1.embedding_size=8",
]


def settings(dataset: Path) -> Config:
    return load_config(None, [*SMALL, *dataset_settings(dataset), *TRAINING, *MEMBERS])


def only_weights(
    config: Config, path: Path, vocabulary: object, by_split: object, histories: Any, skipped: object, **rest: Any
) -> dict[str, Any]:
    """As `finish_run`, without exports, calibration and report, which know nothing of members."""
    save_weights(path, rest["model"])
    metrics = {"schema": 1, "finished": True, "classes": 8, "stages": stage_summaries(config, histories)}
    write_metrics(path, metrics)
    return metrics


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("ITEMBED_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def ensemble(small_dataset: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of two members that was killed after the first, and continued."""
    config, run = settings(small_dataset), tmp_path_factory.mktemp("ensemble") / "run"
    with two_stages(), pytest.MonkeyPatch.context() as patch:
        trained = members.train_encoders
        calls = []

        def killed_in_the_second(*args: object, **kwargs: object) -> object:
            calls.append(args)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return trained(*args, **kwargs)  # type: ignore[arg-type]

        patch.setattr(members, "train_encoders", killed_in_the_second)
        patch.setattr(train, "finish_run", only_weights)
        with pytest.raises(KeyboardInterrupt):
            train.train(config, run)
        assert train.train(config, run)["finished"]
        assert [call[1].name for call in calls] == ["1", "2", "2"], "the finished member is not trained again"
        yield run


def test_cosines_are_the_mean_of_the_members(ensemble: Path) -> None:
    _, _, _, of_all = embed_split(open_run(ensemble), "dev")
    single = [embed_split(open_run(ensemble / "members" / str(number)), "dev")[3] for number in (1, 2)]
    assert of_all.images.shape == (8, 16), "embedding_size of the config"
    mean = np.mean([each.images @ each.captions.T for each in single], axis=0)
    # Not equal: PCA leaves 16 of 24 dimensions, and views are averaged after each member's unit length.
    assert np.corrcoef(mean.ravel(), (of_all.images @ of_all.captions.T).ravel())[0, 1] > 0.95


def test_metrics_and_members(ensemble: Path) -> None:
    metrics = json.loads((ensemble / "metrics.json").read_text())
    assert [stage["name"] for stage in metrics["stages"]] == ["I, member 1", "I, member 2"]
    dev = [stage["val"]["rsum"] for stage in metrics["stages"]]
    assert evaluate_run(ensemble / "members" / "2", "dev").to_json()["rsum"] == dev[1], "a member is a run of its own"
    assert not list((ensemble / "members").glob("*/checkpoints/*"))


def test_the_text_encoder_of_an_ensemble_is_one_litert_file(ensemble: Path, tmp_path: Path) -> None:
    _, pair = load_pair(ensemble)
    assert pair.embedding_size == 16
    write_litert_text_encoder(tmp_path, pair)  # compares the file with the model
    assert list(tmp_path.glob("**/*.tflite"))


def test_without_dimensions_lost_the_mean_is_exact(ensemble: Path, small_dataset: Path) -> None:
    from itembed_tf.models.dual_path import encoder
    from itembed_tf.models.ensemble import ensemble_model, project_ensemble
    from itembed_tf.training.build import load_model

    models = [load_model(open_run(ensemble / "members" / str(number))) for number in (1, 2)]
    whole = ensemble_model(models, [0, 1], embedding_size=24)
    project_ensemble(whole, np.eye(24, dtype=np.float32))
    pixels = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
    ids = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 7], [8, 0, 0, 0, 0]], np.int32)

    def cosines(model: object) -> np.ndarray:
        image, text = encoder(model, "image"), encoder(model, "text")  # type: ignore[arg-type]
        return image(pixels).numpy() @ text(ids).numpy().T

    np.testing.assert_allclose(cosines(whole), np.mean([cosines(model) for model in models], axis=0), atol=2e-6)


def test_members_with_equal_features_share_a_backbone() -> None:
    lite1 = 'members.1.image_tower={backbone="efficientnet-lite1", weights="imagenet"}'
    config = load_config(None, ["members=3", lite1, "members.2.embedding_size=8"])
    towers, number_of = distinct_backbones(config)
    assert ([tower.backbone for tower in towers], number_of) == (
        ["efficientnet-lite0", "efficientnet-lite1"],
        [0, 1, 0],
    )
    random = load_config(None, ["members=2", "image_tower.weights=none"])
    assert distinct_backbones(random)[1] == [0, 1], "random weights differ by the seed"
    trained = load_config(None, ["members=2", "stages.0.freeze=[]", "stages.0.cached_views=0"])
    assert distinct_backbones(trained)[1] == [0, 1]


def test_a_dumped_config_is_read_back(tmp_path: Path) -> None:
    config = load_config(None, ["members=3", "seed=2", "members.1.text_tower.blocks=[1, 1]"])
    seeds = [member.seed for member in member_configs(config)]
    assert seeds == [200, 201, 202]
    assert member_configs(config)[1].text_tower.blocks == (1, 1)
    file = tmp_path / "config.toml"
    file.write_text(dump_config(config))
    assert load_config(file) == config


REFUSED = {
    "members.0.text_tower.width=0.001": "members.0.text_tower.width = 0.001: must be 0.02 to 16",
    "members.0.image_tower.backbon='x'": "members.0.image_tower.backbon",
    "members=-1": "write their number, 0 to 16",
    "members.7.embedding_size=8": "members.7: this config has members 0 to 1",
    "embedding_size=5000": "together, the maximum",
    "members.1.word_vectors.extra_words=9": "would change the vocabulary",
}


@pytest.mark.parametrize("override", REFUSED)
def test_refused(override: str) -> None:
    with pytest.raises(ConfigError, match=REFUSED[override].replace("[", r"\[")):
        overrides = ["members=2", "members.0.embedding_size=2048", "members.1.embedding_size=2048"]
        check_settings(load_config(None, [*overrides, override]))


def test_an_ensemble_of_few_images_keeps_all_that_train_has() -> None:
    """Three embeddings of ten dimensions, brought to six: their dot products stay."""
    rows = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)
    axes, kept = principal_axes(Embeddings(rows[:2], rows[2:]), 6)
    assert axes.shape == (10, 6) and kept == pytest.approx(100)
    np.testing.assert_allclose((rows @ axes) @ (rows @ axes).T, rows @ rows.T, atol=1e-4)
    np.testing.assert_allclose(axes.T @ axes, np.eye(6), atol=1e-5)
