"""`itembed analyze` on a run directory."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itembed_tf import analyze as program
from itembed_tf.config import dump_config, load_config
from itembed_tf.pipeline import analyze as pipeline
from itembed_tf.text import Vocabulary
from itembed_tf.training.build import build_model
from itembed_tf.training.run_directory import save_weights, write_metrics
from tests.support.images import image_bytes

pytestmark = pytest.mark.usefixtures("shallow_backbone")
WORDS = ("blue", "circle", "on", "paper", "red", "square", "the", "white")
CAPTIONS = ("The red square, on white paper!", "a blue circle")


@pytest.fixture(scope="module")
def finished(shallow_backbone: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run directory with a small model that was never trained."""
    place = tmp_path_factory.mktemp("analyze")
    (place / "images").mkdir()
    rows = []
    for number in range(6):
        (place / "images" / f"{number}.png").write_bytes(image_bytes(20 * number))
        rows += [(f"{number}.png", caption, "dev") for caption in CAPTIONS]
    with (place / "images" / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "caption", "split"), *rows])
    settings = {"dataset.name": '"folder"', "dataset.root": json.dumps(str(place / "images")), "image.size": "32"}
    settings |= {
        "text.length": "8",
        "text.tokenizer": "words",
        "image_tower.weights": '"none"',
        "image_tower.levels": "[]",
        "embedding_size": "16",
    }
    settings |= {"text_tower.width": "0.05", "text_tower.blocks": "[1]"}
    settings |= {"text_tower.word_width": "8", "text_tower.stem": "0"}
    config, run = load_config(None, [f"{key}={value}" for key, value in settings.items()]), place / "run"
    run.mkdir()
    (run / "config.toml").write_text(dump_config(config))
    Vocabulary(WORDS, tokenizer="words", lowercase=True, length=8).save(run / "vocabulary.txt")
    save_weights(run, build_model(config, vocabulary_size=len(WORDS) + 1, classes=4))
    write_metrics(run, {"schema": 1, "dataset": "folder", "finished": True, "classes": 4, "stages": []})
    return run


def test_the_program_writes_a_page_and_a_json_file(finished: Path, tmp_path: Path, capsys: Any) -> None:
    before = sorted(finished.rglob("*"))
    assert program.main([str(finished), str(tmp_path / "out")]) == 0
    assert sorted(finished.rglob("*")) == before  # nothing is written into the run
    results = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert results["split"] == "dev" and results["gallery_images"] == 6 and 0 <= results["overlap"]["S"] <= 1
    assert sum(results["overlap"]["matching"]) == 12 and sum(results["overlap"]["other"]) == 60
    assert results["words"]["captions"] == 12 and len(results["examples"]) == 6
    # The run was never trained and its weights come from the seed, so before and after are equal.
    np.testing.assert_allclose(
        results["similarity"]["before"]["scores"], results["similarity"]["after"]["scores"], atol=2e-4
    )
    page = (tmp_path / "out" / "index.html").read_text()
    for title in ("Similarity of pairs", "Word importance", "Before and after training", "text → image"):
        assert title in page, title
    printed = capsys.readouterr().out
    assert f"overlap S = {results['overlap']['S']:.4f} of 12 matching and 60 other pairs" in printed
    assert str(tmp_path / "out" / "index.html") in printed and "next:" in printed


def test_the_default_output_folder_is_in_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(program, "run_config", lambda *arguments: None)
    monkeypatch.setattr(pipeline, "analyze_run", lambda *arguments: calls.append(arguments) or {}["none"])
    with pytest.raises(KeyError, match="none"):
        program.main(["runs/mine", "--split", "test", "--set", "dataset.root=moved"])
    assert calls == [("runs/mine", Path("runs/mine/analysis/test"), "test", 2000, ["dataset.root=moved"])]


def test_errors_name_the_run_the_split_and_the_option(finished: Path, tmp_path: Path, capsys: Any) -> None:
    assert program.main([str(tmp_path / "nothing"), str(tmp_path / "out")]) == 1
    assert "is not a run directory" in capsys.readouterr().err
    assert program.main([str(finished), str(tmp_path / "out"), "--split", "test"]) == 1
    assert "test" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        program.main([str(finished), str(tmp_path / "out"), "--captions", "0"])
    assert "--captions" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
