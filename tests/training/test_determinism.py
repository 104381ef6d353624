"""The setting determinism: what it switches, and what happens where an operation has no deterministic kernel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.python.framework.config import is_op_determinism_enabled

from benchmarks.tiny_runs import Place, write_data
from itembed_tf.config import Config
from itembed_tf.training import losses
from itembed_tf.training.determinism import set_determinism

pytestmark = pytest.mark.usefixtures("deterministic_ops_end")


@pytest.mark.parametrize("choice", ["on", "off", "auto"])  # in one process: each must undo the one before
def test_the_setting_holds_for_the_process(choice: str) -> None:
    config = set_determinism(replace(Config(), determinism=choice))
    assert is_op_determinism_enabled() == (choice != "off")
    assert config.determinism == ("on" if choice == "auto" else choice)


def test_auto_is_off_on_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert set_determinism(Config()).determinism == "off"
    assert not is_op_determinism_enabled()
    assert capsys.readouterr().out.startswith("determinism: off, as this machine has a GPU")


def test_an_operation_without_a_deterministic_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tf.timestamp has none on any device. The run ends with one line, and continues without determinism."""
    place = Place(tmp_path)
    write_data(place.data)
    place.write_config(features=True)
    infonce = losses.LOSSES["infonce"]

    def timed(*pairs: Any, **settings: Any) -> tf.Tensor:
        return infonce(*pairs, **settings) + 0.0 * tf.cast(tf.timestamp(), tf.float32)

    monkeypatch.setitem(losses.LOSSES, "infonce", timed)
    code, output = place.train("--set", "stages.0.losses.infonce=1.0")
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert code == 1 and len(errors) == 1 and "Traceback" not in output
    assert "Timestamp cannot be called when determinism is enabled" in errors[0]
    assert "--set determinism=off" in errors[0] and "{{" not in errors[0]
    code, output = place.train("--set", "stages.0.losses.infonce=1.0", "--set", "determinism=off")
    assert code == 0, output
    assert 'determinism is "off" now, and was "on": the run is the same' in output
    assert 'determinism = "off"' in (place.run / "config.toml").read_text(encoding="utf-8")
