"""The files of a run directory: damaged ones are refused by name, and data that was moved is continued."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from itembed_tf.config import dump_config, load_config
from itembed_tf.training.build import load_model
from itembed_tf.training.checkpoints import Checkpoint, save_checkpoint
from itembed_tf.training.errors import RunError
from itembed_tf.training.run_directory import open_run, read_classes, read_metrics, read_skipped
from itembed_tf.training.run_start import check_same_config, restore_config, start_run
from itembed_tf.training.state import RunState

pytestmark = pytest.mark.usefixtures("shallow_backbone")


@pytest.fixture
def run(small_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_run, tmp_path / "run")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def swap_words(file: Path) -> None:
    first, second, *others = file.read_text().splitlines()
    file.write_text("\n".join([second, first, *others]) + "\n")


def shorten(file: Path) -> None:
    file.write_text("\n".join(file.read_text().splitlines()[:-1]) + "\n")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("weights/final.weights.h5", cut),
        ("weights/final.weights.h5", Path.unlink),
        ("metrics.json", cut),
        ("metrics.json", lambda file: file.write_text("[]")),
        ("metrics.json", lambda file: file.write_text('{"finished": true}')),
        ("vocabulary.txt", shorten),
    ],
)
def test_a_damaged_file_of_a_finished_run_is_refused_by_name(
    run: Path, name: str, damage: Callable[[Path], object]
) -> None:
    damage(run / name)
    with pytest.raises(RunError) as refused:
        load_model(open_run(run))
    message = str(refused.value)
    assert Path(name).name in message and "restore it from a copy" in message.lower() and "\n" not in message


def test_a_vocabulary_other_than_that_of_the_training_is_refused(run: Path) -> None:
    metrics = read_metrics(run)
    text = (run / "metrics.json").read_text()
    (run / "metrics.json").write_text(text.replace("{", f'{{"vocabulary": "{open_run(run).vocabulary.checksum()}",', 1))
    load_model(open_run(run), classes=metrics["classes"])
    swap_words(run / "vocabulary.txt")
    with pytest.raises(RunError, match=r"vocabulary.txt is not the one of the training"):
        load_model(open_run(run))


def test_damaged_files_that_can_be_computed_again_say_so(tmp_path: Path) -> None:
    assert read_skipped(tmp_path) is None and read_classes(tmp_path) is None
    for content in ('[{"image": "a', '[{"file": "a"}]', "{}"):
        (tmp_path / "skipped.json").write_text(content)
        with pytest.raises(RunError, match=r"skipped.json is damaged .* Remove it"):
            read_skipped(tmp_path)
    for content in ("[1, 2", '["a"]', "7"):
        (tmp_path / "classes.json").write_text(content)
        with pytest.raises(RunError, match=r"classes.json is damaged .* Remove it"):
            read_classes(tmp_path)


def test_a_stopped_run_whose_data_was_moved_is_continued_and_another_config_is_not(tmp_path: Path) -> None:
    def config(*more: str):
        return load_config(None, ["dataset.name=folder", *more])

    run = tmp_path / "run"
    assert not start_run(run, config("dataset.root=a"))
    save_checkpoint(run, Checkpoint(RunState(), {}))
    with pytest.raises(
        RunError, match=r"of a run with other settings"
    ):  # of an earlier version, without a record of its data
        start_run(run, config("dataset.root=b"))
    (run / "data.json").write_text("{}")
    assert start_run(run, config("dataset.root=b"))
    assert open_config(run) == config("dataset.root=b")
    with pytest.raises(RunError, match=r"other settings: seed is 7 now, and was 0\. Give the same settings"):
        start_run(run, config("dataset.root=b", "seed=7"))
    stage = 'stages=[{name="I", epochs=24, losses={infonce=1.0}%s}]'
    other = config("dataset.root=b", stage % ", learning_rate=0.5")
    with pytest.raises(RunError, match=r"stages.0.learning_rate is 0.5 now, and was 0.001"):
        start_run(run, other)


def test_settings_that_do_not_change_the_run_may_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, before = tmp_path / "run", load_config(None, ["evaluation.batch_size=64"])
    start_run(run, before)
    save_checkpoint(run, Checkpoint(RunState(config=dump_config(before)), {}))
    now = dataclasses.replace(
        load_config(None, ["evaluation.batch_size=8"]),
        stages=tuple(dataclasses.replace(stage, checkpoint_minutes=9.0, checkpoints=1) for stage in before.stages),
    )
    assert start_run(run, now) and open_config(run) == now
    assert "evaluation.batch_size is 8 now, and was 64: the run is the same" in capsys.readouterr().out
    check_same_config(run, dump_config(before), now)


def test_a_checkpoint_of_another_run_is_refused_and_a_lost_config_restored(tmp_path: Path) -> None:
    config = load_config(None, ["seed=7"])
    start_run(tmp_path, config)
    save_checkpoint(tmp_path, Checkpoint(RunState(config=dump_config(config)), {}))
    for damage in (Path.unlink, cut):
        damage(tmp_path / "config.toml")
        restore_config(tmp_path)
        assert open_config(tmp_path) == config
    with pytest.raises(RunError, match=r"the checkpoint in .* is of a run with other settings: seed is 0 now"):
        check_same_config(tmp_path, dump_config(config), load_config(None))


def open_config(run: Path):
    return load_config(run / "config.toml")
