"""The two-branch benchmark: settings of the rows, verdict, and a quick run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import two_branch
from benchmarks.two_branch import CONFIG, KINDS, SYSTEMS, WITH, WITHOUT, folder_of, measure, settings
from itembed_tf.config import load_config
from itembed_tf.pipeline import outputs
from itembed_tf.pipeline import train as pipeline

ROWS = [(kind, system) for kind in KINDS for system in SYSTEMS]


@pytest.mark.parametrize(("kind", "system"), ROWS)
def test_settings_of_every_row_match_its_name(kind, system):
    config = load_config(CONFIG, settings(kind, system))
    stage = config.stages[0]
    assert config.sentence.kind == kind and (config.model.start == "cca") == (system in ("CCA", "from CCA"))
    assert (stage.epochs == 0) == (system == "CCA")
    if system in (WITH, WITHOUT):
        assert ("structure_text" in stage.losses) == (system == WITH) and "topk_image" in stage.losses


def test_rows_with_and_without_structure_differ_only_in_that_term():
    for kind in KINDS:
        one, two = (load_config(CONFIG, settings(kind, system)) for system in (WITHOUT, WITH))
        losses = dict(two.stages[0].losses)
        del losses["structure_text"]
        assert losses == one.stages[0].losses
        two.stages[0].losses.pop("structure_text")
        assert one == two


def fake_training(monkeypatch: pytest.MonkeyPatch, best: tuple[str, str], seconds: float) -> None:
    """Replace training by runs whose figures make `best` the best row."""

    def train(run: Path, config: Path, overrides: Any) -> None:
        run.mkdir(parents=True)
        one = 33.0 if run.name.startswith(folder_of(Path(), *best, 0).name[:-1]) else 20.0
        rank = {"R@1": one}
        dev = {"image_query": rank, "text_query": {"R@1": one - 10}, "rsum": 9 * one}
        metrics = {"finished": True, "dev": dev, "stages": [{"seconds": seconds}]}
        (run / "metrics.json").write_text(json.dumps(metrics))
        (run / "weights").mkdir()

    monkeypatch.setattr(two_branch, "train", train)


@pytest.mark.parametrize(
    ("best", "seconds", "bar", "status"),
    [
        (("mean", "CCA"), 60.0, (24.8, 20.3), 0),
        (("hglmm", WITH), 60.0, (24.8, 23.0), 1),
        (("hglmm", WITH), 60.0, (33.0, 20.3), 1),
        (("hglmm", WITH), 301.0, (24.8, 20.3), 1),
    ],
)
def test_verdict_uses_the_best_row_and_the_longest_training(monkeypatch, tmp_path, capsys, best, seconds, bar, status):
    fake_training(monkeypatch, best, seconds)
    assert measure(tmp_path, list(KINDS), range(3), [], bar, 5.0) == status
    output = capsys.readouterr().out
    assert f"best: {best[0]}, {best[1]}; target 31.0 / 21.3" in output
    assert output.splitlines()[-1].startswith(f"two_branch: dev R@1 33.0 / 23.0, {seconds / 60:.1f} minutes (bar above")
    expected = "+26.0 ± 0.0; paper above: agrees" if best[1] == WITH else "+0.0 ± 0.0; paper above: undecided"
    assert f"| hglmm: with the structure term against without | {expected} |" in output
    assert f"| {WITH}: hglmm against mean | {expected} |" in output
    assert not (folder_of(tmp_path, *best, 0) / "weights").exists()


@pytest.mark.benchmark
def test_quick(capsys, monkeypatch, shallow_backbone, deterministic_ops_end):
    """The rows are trained in this process, without ImageNet weights and without what the benchmark throws away."""
    for step in ("write_saved_models", "write_litert_text_encoder", "write_report"):
        monkeypatch.setattr(outputs, step, lambda *_, **__: None)

    def train(run: Path, config: Path, overrides: Any) -> None:
        pipeline.train(load_config(config, [*overrides, "image_tower.weights=none"]), run)

    monkeypatch.setattr(two_branch, "train", train)
    assert two_branch.main(["--quick"]) == 0
    output = capsys.readouterr().out
    assert "| hglmm | CCA |" in output and "one seed" in output
