"""Checkpoints: saving, loading, restoring by name, and files that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from itembed_tf.training.checkpoints import (
    Checkpoint,
    checkpoint_config,
    checkpoint_files,
    drop_checkpoint,
    load_checkpoint,
    named_variables,
    restore,
    save_checkpoint,
    values,
    with_prefix,
)
from itembed_tf.training.errors import RunError
from itembed_tf.training.state import EpochEntry, RunState, StageState
from tests.support.toy_model import dual_path

ENTRY = EpochEntry("I", 1, 2.5, 40.0, 1e-3, {"loss": 3.0}, {"rsum": 50.0})


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    stage = StageState(1, 3, 24, 1.5, {"loss": 9.0}, 50.0, [ENTRY])
    state = RunState([[ENTRY, EpochEntry("I", 2, 2.0, 50.0, 0.0, {"loss": 2.0})]], stage)
    arrays = {"model/conv/kernel": np.arange(6.0).reshape(2, 3), "averaged_steps": np.float32(3)}
    assert load_checkpoint(tmp_path) is None
    save_checkpoint(tmp_path, Checkpoint(state, arrays))
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None and loaded.state == state
    assert loaded.arrays.keys() == arrays.keys()
    assert all(np.array_equal(loaded.arrays[name], array) for name, array in arrays.items())
    assert with_prefix(arrays, "model").keys() == {"model/conv/kernel"}
    drop_checkpoint(tmp_path)
    assert load_checkpoint(tmp_path) is None


def test_checkpoint_of_version_0_1_0_is_refused_with_a_remedy(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints" / "latest.npz"
    file.parent.mkdir()
    with file.open("wb") as out:
        np.savez(out, state=np.array(json.dumps({"stage": 0})), a00000=np.zeros(3), a00001=np.zeros(3))
    with pytest.raises(
        RunError, match=r"Finish the run with version 0\.1\.0, or start it again in a new run directory"
    ):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.95])
def test_a_cut_checkpoint_is_refused_by_name(tmp_path: Path, part: float) -> None:
    save_checkpoint(tmp_path, Checkpoint(RunState(), {"model/a": np.arange(2000.0)}))
    (file,) = checkpoint_files(tmp_path)
    file.write_bytes(file.read_bytes()[: int(part * file.stat().st_size)])
    with pytest.raises(RunError, match=rf"{file} is damaged .*: restore it from a copy, or remove the folder"):
        load_checkpoint(tmp_path)


def test_a_checkpoint_without_state_is_refused_by_name(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Checkpoint(RunState(), {}))
    np.savez(checkpoint_files(tmp_path)[0], a=np.zeros(2))
    with pytest.raises(RunError, match=r"checkpoint-000001.npz is damaged \('state'\)"):
        load_checkpoint(tmp_path)


def test_a_checkpoint_of_an_earlier_version_has_no_checksums() -> None:
    state = RunState([], None, {"groups": "abc"})
    assert RunState.from_json(state.to_json()) == state
    before = {key: value for key, value in state.to_json().items() if key != "data"}
    assert RunState.from_json(before).data == {}


def test_failed_save_keeps_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, Checkpoint(RunState(), {"model/a": np.ones(2)}))

    def full(*arguments: object, **arrays: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(tmp_path, Checkpoint(RunState(), {"model/a": np.zeros(2)}))
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None and loaded.arrays["model/a"].tolist() == [1, 1]


def test_variable_names_do_not_depend_on_earlier_models() -> None:
    """Keras numbers the seed generators of dropout layers per process."""
    names = [list(named_variables("model", m.variables, m)) for m in (dual_path(dropout=0.3), dual_path(dropout=0.3))]
    assert names[0] == names[1] and len(set(names[0])) == len(names[0])
    assert "model/dropout/seed_generator_state" in names[0]


def _model_with_two_stems(first: float) -> keras.Model:
    """Two towers with a layer of the same name, like "stem" in the CNN and in the text tower."""
    towers = []
    for side, value in (("image", first), ("text", first + 1)):
        x = keras.Input((2,), name=side)
        stem = keras.layers.Dense(2, name="stem", use_bias=False, kernel_initializer=keras.initializers.Constant(value))
        towers.append(keras.Model(x, stem(x), name=f"{side}_tower"))
    inputs = [tower.input for tower in towers]
    return keras.Model(inputs, [tower(x) for tower, x in zip(towers, inputs)])


def test_layers_with_the_same_name_in_two_towers_are_distinguished() -> None:
    model, other = _model_with_two_stems(1.0), _model_with_two_stems(8.0)
    named = named_variables("model", model.variables, model)
    assert list(named) == ["model/image_tower/stem/kernel", "model/text_tower/stem/kernel"]
    restore(named_variables("model", other.variables, other), dict(reversed(values(named).items())))
    assert [float(np.mean(v)) for v in other.get_weights()] == [1.0, 2.0]


def test_duplicate_paths_in_the_optimizer_state_are_numbered() -> None:
    model = _model_with_two_stems(1.0)
    optimizer = keras.optimizers.SGD(momentum=0.9)
    optimizer.build(model.trainable_variables)
    names = list(named_variables("optimizer", optimizer.variables))
    assert len(set(names)) == len(optimizer.variables) and names[-1] == f"{names[-2]}#2"
    assert len(named_variables("average", model.trainable_variables)) == 2


@pytest.mark.parametrize("jit", [False, True])
def test_values_are_not_copied_and_stay_what_they_were(jit: bool) -> None:
    """A copy of weights and moments for each checkpoint would be 16 GB for a million classes of 2,048 dimensions."""
    variable = keras.Variable(np.ones((64, 64), np.float32), name="weights")
    moments = tf.Variable(np.ones((64, 64), np.float32))
    arrays = values({"model/weights": variable, "average": moments})
    for array, now in zip(arrays.values(), (variable, moments), strict=True):
        assert np.shares_memory(array, np.asarray(tf.convert_to_tensor(now)))

    @tf.function(jit_compile=jit)
    def step() -> None:
        variable.assign_sub(0.5 * variable)
        moments.assign_add(moments)

    for _ in range(2):
        step()
    assert variable.numpy()[0, 0] == 0.25 and moments.numpy()[0, 0] == 4.0
    moments.scatter_update(tf.IndexedSlices(tf.zeros((1, 64)), [3]))  # as a sampled classifier's step does
    assert all(np.array_equal(array, np.ones((64, 64))) for array in arrays.values())


def test_variables_are_restored_by_name_not_by_order() -> None:
    model, other = dual_path(), dual_path()
    for number, variable in enumerate(model.variables):
        variable.assign(np.full(variable.shape, number))
    arrays = values(named_variables("model", model.variables, model))
    restore(named_variables("model", other.variables, other), dict(reversed(arrays.items())))
    for one, two in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


def test_the_newest_checkpoints_are_kept_and_a_damaged_one_falls_back_to_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        save_checkpoint(tmp_path, Checkpoint(RunState(), {"model/a": np.full(2000, number)}), keep=3)
    files = checkpoint_files(tmp_path)
    assert [file.name for file in files] == [f"checkpoint-{number:06d}.npz" for number in (5, 4, 3)]
    for file in files[:2]:
        file.write_bytes(file.read_bytes()[:-100])
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None and loaded.arrays["model/a"][0] == 2
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith(f"warning: {files[0]} is damaged")
    assert lines[0].endswith("the run continues from the one before, checkpoint-000003.npz")
    files[2].write_bytes(b"")
    with pytest.raises(RunError, match=r"checkpoint-000005.npz is damaged .*, and so are the 2 before it: restore"):
        load_checkpoint(tmp_path)


def test_the_checkpoint_of_an_earlier_version_is_continued_and_then_dropped(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Checkpoint(RunState(), {"model/a": np.zeros(1)}))
    checkpoint_files(tmp_path)[0].rename(tmp_path / "checkpoints" / "latest.npz")
    assert load_checkpoint(tmp_path) is not None
    save_checkpoint(tmp_path, Checkpoint(RunState(config="seed = 7"), {}), keep=1)
    assert [file.name for file in checkpoint_files(tmp_path)] == ["checkpoint-000001.npz"]
    assert checkpoint_config(tmp_path) == "seed = 7"
