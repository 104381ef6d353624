"""The weights that a run keeps are the best by the direction that its protocol counts, and metrics.json agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itembed_tf.config import load_config
from itembed_tf.data.batches import Items
from itembed_tf.pipeline import stages, summaries, training_data
from itembed_tf.pipeline.stages import continues
from itembed_tf.pipeline.steps import training_steps
from itembed_tf.text import Vocabulary
from itembed_tf.training.run_directory import write_metrics
from itembed_tf.training.run_start import start_run, with_choices_of_run
from itembed_tf.training.state import EpochEntry, RunState, StageState
from itembed_tf.training.train_set import TrainSet
from tests.support.toy_model import dual_path


def table(image: float, text: float) -> dict[str, Any]:
    """A retrieval table with equal recalls in each direction."""
    recalls = {"image_query": image, "text_query": text}
    directions = {query: {f"R@{k}": value for k in (1, 5, 10)} for query, value in recalls.items()}
    return {**directions, "rsum": 3 * (image + text)}


def history(*tables: dict[str, Any], stage: str = "instance") -> list[EpochEntry]:
    return [EpochEntry(stage, number, 1.0, 2.0, 0.0, {}, val) for number, val in enumerate(tables, 1)]


TABLES = [table(60.0, 20.0), table(10.0, 30.0), table(90.0, 25.0)]
SELECTED = [("cuhk-pedes", TABLES[1]), ("icfg-pedes", TABLES[1]), ("rstpreid", TABLES[1]), ("folder", TABLES[2])]


@pytest.mark.parametrize(("dataset", "selected"), SELECTED, ids=lambda value: value if isinstance(value, str) else "")
def test_person_search_selects_the_best_weights_for_text_queries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dataset: str, selected: dict[str, Any]
) -> None:
    arguments: dict[str, Any] = {}
    monkeypatch.setattr(stages, "train_stage", lambda model, stage, **given: arguments.update(given) or [])
    config = load_config(None, [f"dataset.name={dataset}", "stages.0.cached_views=0"])
    items = Items(["0", "1"], np.arange(2, dtype=np.int32), ["red", "blue"], np.arange(2, dtype=np.int32))
    empty = Items([], np.zeros(0, np.int32), [], np.zeros(0, np.int32))
    vocabulary = Vocabulary(("red", "blue"), tokenizer="words", lowercase=True, length=4)
    train = TrainSet(items, vocabulary.encode(items.captions), np.arange(2, dtype=np.int32))
    stages.run_stages(config, tmp_path, dual_path(), vocabulary, train, empty, None, training_steps(config))
    assert max(TABLES, key=arguments["selection_score"]) == selected
    (summary,) = summaries.stage_summaries(config, [history(*TABLES)])
    assert summary["val"] == selected, "metrics.json has the figures of the selected weights"


def test_a_stage_that_made_the_weights_worse_reports_those_of_its_initial_weights() -> None:
    stage = '{name="%s", epochs=1}'
    config = load_config(None, [f"stages=[{stage % 'I'}, {stage % 'II'}, {{name='III', epochs=1, keep='last'}}]"])
    histories = [history(TABLES[2]), history(TABLES[0]), history(TABLES[1])]
    found = summaries.stage_summaries(config, histories)
    assert [summary["val"] for summary in found] == [TABLES[2], TABLES[2], TABLES[1]]


def test_a_continued_run_says_where_it_continues() -> None:
    config = load_config(None, ['stages=[{name="I", epochs=2}, {name="II", epochs=3}]'])
    first = history(*TABLES[:2], stage="I")
    assert continues(config, RunState([], StageState(epoch=1, step=11))) == "continues stage I at epoch 2, step 12"
    assert continues(config, RunState([first], StageState())) == "continues stage II at epoch 1, step 1"
    assert continues(config, RunState([first], StageState(epoch=3))) == "continues at the end of stage II"
    assert continues(config, RunState([first, first], None)) == "continues after the last stage"


def test_auto_tokenizer_is_chosen_once_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = load_config(None, ["dataset.name=folder"])
    assert config.text.tokenizer == "auto"
    assert with_choices_of_run(tmp_path, config) == config
    start_run(tmp_path, config)
    chosen = training_data.choose_tokenizer(config, tmp_path, ["ein schöner Hund", "zwei Hunde"], None)
    assert capsys.readouterr().out.startswith('tokenizer: "unicode", as 20.0 % of the words')
    assert load_config(tmp_path / "config.toml") == chosen
    assert chosen.text.tokenizer == "unicode"
    assert with_choices_of_run(tmp_path, config) == config, "nothing is trained yet: the captions may change"
    write_metrics(tmp_path, {"schema": 1})
    continued = with_choices_of_run(tmp_path, config)
    assert continued == chosen
    assert start_run(tmp_path, continued), "the same command continues the run"
    assert training_data.choose_tokenizer(continued, tmp_path, ["an English caption"], None) == chosen
