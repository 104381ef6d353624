"""The choice between the full and the sampled softmax: bytes by hand, free memory within a limit, what is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from itembed_tf.config import Config, load_config
from itembed_tf.training import class_memory
from itembed_tf.training.class_memory import choose_softmax, free_memory, full_bytes, held_bytes

STAGE = 'stages=[{name="I", batch_size=10, optimizer="%s", keep="last"%s}]'


def config(optimizer: str = "sgd", more: str = "", *overrides: str) -> Config:
    return load_config(None, ["embedding_size=100", STAGE % (optimizer, more), *overrides])


def test_bytes_of_the_classes_by_hand() -> None:
    """Of 1,000 classes x 100 float32 values, 0.4 MB: weights and moments; gradients, average and logits of 20 rows."""
    one = 4 * 1000 * 100
    for settings, held, dense in (
        (config("sgd"), 2, 9),
        (config("sgd", ", momentum=0"), 1, 9),
        (config("adamw", ", average=0.9"), 3, 10),
        (load_config(None, ["embedding_size=100", 'stages=[{name="I", batch_size=10, optimizer="adam"}]']), 4, 9),
    ):
        stage = settings.stages[0]
        assert held_bytes(settings, stage, 1000) == held * one
        assert full_bytes(settings, stage, 1000) == (held + dense) * one + 3 * 4 * 1000 * 20


def test_full_where_half_of_the_memory_is_enough_and_sampled_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config()
    need = full_bytes(settings, settings.stages[0], 50_000)  # 0.19 GB
    monkeypatch.setattr(class_memory, "free_memory", lambda: 2 * need)
    chosen, line = choose_softmax(settings, 50_000)
    assert chosen.model.softmax == "full"
    assert (
        line == 'softmax: full, over 50,000 classes, which need 0.2 GB of 0.5 GB free memory (model.softmax = "auto")'
    )
    monkeypatch.setattr(class_memory, "free_memory", lambda: 2 * need - 2)
    chosen, line = choose_softmax(config("sgd", "", "model.sampled_classes=500"), 50_000)
    assert (chosen.model.softmax, chosen.model.sampled_classes) == ("sampled", 500)
    assert line.startswith("softmax: sampled, 500 classes a step: all are 50,000, which need 0.2 GB of 0.5 GB")
    assert choose_softmax(chosen, 50_000) == (chosen, "")
    assert choose_softmax(config("sgd", ", jit=true"), 50_000)[0].model.softmax == "full", "XLA cannot sample"
    monkeypatch.setattr(class_memory, "free_memory", lambda: 10_000_000)
    with pytest.raises(ValueError, match=r"50,000 classes need 0.0 GB .* lower embedding_size, set classes.clusters"):
        choose_softmax(settings, 50_000)


def test_free_memory_is_that_within_the_limit_of_the_cgroup(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = free_memory()
    assert 1e8 < whole < 1e14
    files = {"memory.max": "3000000\n", "memory.current": "1000000\n"}
    read = Path.read_text

    def text(path: Path, *arguments: str, **settings: str) -> str:
        return files[path.name] if path.name in files else read(path, *arguments, **settings)

    monkeypatch.setattr(Path, "read_text", text)
    assert free_memory() == 2_000_000
    files["memory.max"] = "max\n"
    assert free_memory() > 1e8


def test_sharded_where_the_share_of_a_device_fits_and_all_classes_do_not() -> None:
    settings = config()
    need = full_bytes(settings, settings.stages[0], 50_000)
    chosen, line = choose_softmax(settings, 50_000, free=need, replicas=2)
    assert chosen.model.softmax == "sharded"
    assert line.startswith("softmax: sharded, 50,000 classes, ") and "each of 2 replicas needs 0.1 GB" in line
    assert choose_softmax(settings, 50_000, free=need)[0].model.softmax == "sampled"
    assert choose_softmax(settings, 50_000, free=2 * need, replicas=2)[0].model.softmax == "full"
    assert choose_softmax(settings, 50_000, free=need // 2, replicas=2)[0].model.softmax == "sampled"
