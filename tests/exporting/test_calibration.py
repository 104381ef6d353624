"""The calibration of an export: measured with the exported encoders, taken from the run, or left out with a reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import itembed_tf
from itembed_tf.config import arguments
from itembed_tf.data.batches import flatten
from itembed_tf.data.readers import read_dataset
from itembed_tf.evaluation.evaluate import evaluate_run_corrected
from itembed_tf.export_layout import CONTRACT_FILE, ENCODERS
from itembed_tf.exporting import EncoderPair, export_saved_models, load_pair, read_contract, saved_model_export
from itembed_tf.exporting import calibration as module
from itembed_tf.exporting.saved_model import SavedModels
from itembed_tf.retrieval import CALIBRATION_FILE, read_calibration
from itembed_tf.training.run_directory import open_run

pytestmark = pytest.mark.usefixtures("shallow_backbone")


@pytest.fixture(scope="module")
def exported(small_run: Path, small_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run with its exported encoders, whose calibration was measured on its eight dev groups."""
    run = shutil.copytree(small_run, tmp_path_factory.mktemp("exported") / "run")
    shutil.copytree(small_export, run / "encoders")
    return run


def test_banks_are_embeddings_of_train_by_the_exported_encoders(exported: Path) -> None:
    contract = read_contract(exported / "encoders").contract
    calibration = read_calibration(exported / "encoders", contract)
    assert calibration is not None
    train = flatten(read_dataset(**{**arguments(open_run(exported).config.dataset), "splits": ("train",)}))
    model = itembed_tf.load(exported / "encoders")
    for side, live, groups in (
        (calibration.images, model.embed_images(train.images), train.image_groups),
        (calibration.captions, model.embed_texts(train.captions), train.caption_groups),
    ):
        assert side.groups.tolist() == groups.tolist()
        np.testing.assert_allclose(side.vectors, live, atol=1e-3)
    assert calibration.figures["gallery"] == {"images": 8, "captions": 8}


def test_evaluation_of_the_run_has_a_corrected_table_unless_the_encoders_are_changed(exported: Path) -> None:
    plain, corrected = evaluate_run_corrected(exported, "dev")
    assert corrected is not None and corrected.name == f"{plain.name} hubness-corrected"
    assert corrected.gallery == plain.gallery
    assert evaluate_run_corrected(exported, "dev", ["evaluation.flip=false"])[1] is None
    names = sorted(file.name for file in (exported / "ranks").iterdir())
    assert names == ["dev_whole.npz", "hubness_corrected"], "ranks of the corrected table have a folder of their own"


@pytest.fixture
def copied_models(small_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export copies the SavedModels of `small_export` in place of writing them."""

    def copy(out: Path, pair: EncoderPair, **_: object) -> SavedModels:
        for name in ENCODERS:
            shutil.copytree(small_export / name, Path(out) / name)
        shutil.copy(small_export / CONTRACT_FILE, out)
        return SavedModels(Path(out), read_contract(out))

    monkeypatch.setattr(saved_model_export, "write_saved_models", copy)


@pytest.mark.usefixtures("copied_models")
def test_another_export_of_the_same_encoders_takes_it_from_the_run(exported: Path, tmp_path: Path) -> None:
    export = export_saved_models(exported, tmp_path / "again", overrides=["dataset.root=gone"])
    assert export.calibration == f"{CALIBRATION_FILE}: that of {exported}"
    files = [folder / CALIBRATION_FILE for folder in (exported / "encoders", tmp_path / "again")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.usefixtures("copied_models")
def test_without_the_dataset_other_encoders_have_none(exported: Path, tmp_path: Path) -> None:
    shutil.copy(exported / "encoders" / CALIBRATION_FILE, tmp_path)  # of an earlier version of the export
    export = export_saved_models(exported, tmp_path, overrides=["evaluation.flip=false", "dataset.root=gone"])
    assert export.calibration.startswith(f"no {CALIBRATION_FILE}, which needs train and dev of the run: ")
    assert "dataset.root = 'gone'" in export.calibration
    assert not (tmp_path / CALIBRATION_FILE).exists()


def test_a_small_dev_and_a_switch_leave_it_out(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SMALLEST_DEV", 9)
    _, pair = load_pair(small_run)
    line = module.calibration_of_export(small_run, pair)[1]
    assert line == f"no {CALIBRATION_FILE}: dev has fewer than 9 groups to measure it on"
    run = shutil.copytree(small_run, tmp_path / "run")
    config = run / "config.toml"
    config.write_text(config.read_text().replace("rows = 4096", "rows = 0"))
    line = module.calibration_of_export(run, pair)[1]
    assert line == f"no {CALIBRATION_FILE}: calibration.rows = 0 in the config of the run"


def test_the_command_evaluate_has_the_corrected_table_apart_from_the_plain_one(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from itembed_tf.evaluate import main

    assert main([str(exported), "--json"]) == 0
    block = json.loads(capsys.readouterr().out)
    assert block["hubness_corrected"]["name"] == f"{block['name']} hubness-corrected"
