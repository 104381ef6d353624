"""The plan of a training: figures by hand, sizes of the towers against the real ones, and the command."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from itembed_tf import plan as program
from itembed_tf.config import Config, load_config
from itembed_tf.training.errors import RunError
from itembed_tf.training.planning import Plan, measured_speeds, plan_training
from itembed_tf.training.tower_size import PARAMETERS, backbone_parameters, text_parameters

STAGE = 'stages=[{name="I", epochs=3, batch_size=10, optimizer="sgd", keep="last", checkpoints=2%s}]'
ROWS = 4 * 50_000 * 1000  # bytes of the class weights


def config(more: str = "", *overrides: str) -> Config:
    return load_config(None, ["embedding_size=1000", STAGE % more, *overrides])


def planned(settings: Config, **changes: Any) -> Plan:
    how: dict[str, Any] = {"images": 50_000, "classes": 50_000, "captions": 50_000, "words": 100, "memory": 10**12}
    return plan_training(settings, **(how | changes))


def parts(plan: Plan) -> dict[str, int]:
    (stage,) = plan.stages
    return {part.name: part.bytes for part in (*stage.held, *stage.step, *stage.save)}


def test_figures_by_hand() -> None:
    plan = planned(config(), images_per_second=[100.0], replicas=2)
    (stage,) = plan.stages
    assert (plan.classes, plan.softmax, plan.fits) == (50_000, "full", True)
    assert (stage.steps_per_epoch, stage.epochs) == (5000, 3)
    assert stage.hours == pytest.approx(3 * 50_000 / 200 / 3600)
    found = parts(plan)
    assert found["class weights"] == found["class moments"] == ROWS
    assert found["class gradients"] == 9 * ROWS
    assert found["logits"] == 3 * 4 * 50_000 * 5 * 2, "5 of 10 images a replica, and as many captions"
    assert stage.peak == sum(found.values()) == plan.peak and not stage.save
    assert 2 * ROWS < plan.checkpoints / 2 < 2.3 * ROWS, "two, of the weights, their moments and the towers"
    assert plan.features == 0


def test_each_of_four_devices_has_its_share_of_a_sharded_classifier() -> None:
    found = parts(planned(config("", "model.softmax=sharded"), replicas=4))
    assert found["class weights"] == found["class moments"] == ROWS / 4
    assert found["class gradients"] == 9 * ROWS / 4
    assert found["logits"] == 3 * 4 * 12_500 * 10 * 2, "the logits of the whole batch for the classes of the device"
    assert found["copy of the classes for a checkpoint"] == 2 * ROWS, "the chief writes all classes"


def test_the_softmax_is_that_which_a_training_chooses() -> None:
    sampled = planned(config(), memory=1_500_000_000)
    assert sampled.softmax == "sampled" and "all are 50,000" in sampled.reason
    assert parts(sampled)["class gradients"] == 6 * 4 * 8192 * 1000
    assert parts(sampled)["copy of the classes for a checkpoint"] == 2 * ROWS
    none = planned(config(", losses={infonce=1.0}", 'model.classifier="none"'))
    assert (none.classes, none.softmax) == (0, "none") and "class weights" not in parts(none)
    assert planned(config("", "classes.clusters=500")).classes == 500
    impossible = planned(config(), memory=100_000_000)
    assert not impossible.fits and "50,000 classes need 0.4 GB" in impossible.reason


def test_features_on_disk_and_what_is_not_known() -> None:
    assert planned(config(", cached_views=2")).features == 50_000 * 1280 * 4 * 2
    assert planned(config(", cached_views=2", 'image_tower.levels=["block3"]')).features is None
    (stage,) = planned(config("", "stages.0.freeze=[]")).stages
    assert stage.unknown == ("activations of the image backbone",)


@pytest.mark.parametrize("variant", ["wide", "paper", "released"])
def test_parameters_of_the_towers_are_about_those_of_the_real_ones(variant: str) -> None:
    """But for biases and the batch norms of words and head."""
    from itembed_tf.training.build import build_model

    settings = load_config(
        None,
        [f'text_tower.variant="{variant}"', "text_tower.width=0.5", "embedding_size=256", 'image_tower.weights="none"'],
    )
    model = build_model(settings, vocabulary_size=400, classes=2, pretrained=False)
    real = model.get_layer("text_tower").count_params()
    assert text_parameters(settings, 400) == pytest.approx(real, rel=0.02)
    if variant == "wide":
        backbone = model.get_layer("image_tower").get_layer("backbone").count_params()
        assert backbone_parameters(settings.image_tower) == pytest.approx(backbone, rel=0.02)


def test_every_backbone_has_its_parameters() -> None:
    from itembed_tf.config.backbones import BACKBONES

    assert PARAMETERS.keys() == BACKBONES.keys()


def test_the_command_prints_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["flickr8k", "--images", "1000000", "--memory", "24", "--images-per-s", "500", "--replicas", "4"]
    assert program.main(words) == 1, "it does not fit"
    out = capsys.readouterr().out
    assert "training images 1,000,000, class rows 1,000,000 x " in out and "softmax: sampled" in out
    assert "does NOT fit into 24.00 GB" in out and "to need less" in out and "4 replicas" in out
    assert program.main(["flickr8k", "--images", "6000", "--memory", "16", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["peak"] < 16e9 and found["index"]["engine"] == "exact" and found["stages"][0]["hours"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images", "0"], "--images: must be above 0, and is 0"),
        (["--images", "10", "--classes", "20"], "one for each class"),
        (["--images", "10", "--memory", "-1"], "--memory: must be above 0"),
        (["--images", "10", "--like", "nowhere"], "give the directory of a finished run"),
    ],
)
def test_wrong_figures_are_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["flickr8k", *words]) in (1, 2)
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_speeds_come_from_a_finished_run(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    file.write_text(json.dumps({"stages": [{"images_per_s": 50.0}, {"images_per_s": 5.0}]}))
    assert measured_speeds(tmp_path) == (50.0, 5.0)
    two = dataclasses.replace(config(), stages=(config().stages[0],) * 2)
    hours = [stage.hours for stage in planned(two, images_per_second=[50.0, 5.0]).stages]
    assert hours[1] == pytest.approx(10 * hours[0])  # type: ignore[operator]
    file.write_text("{}")
    with pytest.raises(RunError, match="no measured speed"):
        measured_speeds(tmp_path)


def test_it_starts_without_tensorflow() -> None:
    code = (
        "import sys; from itembed_tf.cli import main; main(['plan', 'flickr8k', '--images', '9']); "
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0
