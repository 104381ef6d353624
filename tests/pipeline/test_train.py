"""What a run hands to its stages and says of them: the weights kept are the best by the queries that count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itembed_tf.config import load_config
from itembed_tf.data.batches import Items
from itembed_tf.pipeline import outputs as finish
from itembed_tf.pipeline import train
from itembed_tf.text import Vocabulary
from tests.support.toy_model import dual_path


def table(image: float, text: float) -> dict[str, Any]:
    """All recalls of a query alike."""
    ways = {"image_query": image, "text_query": text}
    found = {way: {f"R@{k}": value for k in (1, 5, 10)} for way, value in ways.items()}
    return {**found, "rsum": 3 * (image + text)}


TABLES = [table(60.0, 20.0), table(10.0, 30.0), table(90.0, 25.0)]
KEPT = [("cuhk-pedes", TABLES[1]), ("icfg-pedes", TABLES[1]), ("rstpreid", TABLES[1]), ("folder", TABLES[2])]


@pytest.mark.parametrize(("data_set", "kept"), KEPT, ids=lambda value: value if isinstance(value, str) else "")
def test_person_search_keeps_what_is_best_for_sentences(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data_set: str, kept: dict[str, Any]
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(train, "train_stage", lambda model, **settings: given.update(settings) or [])
    stage = [f"dataset.name={data_set}", "stages.0.cached_views=0"]
    config = load_config(None, stage)
    items = Items(["0", "1"], np.arange(2, dtype=np.int32), ["red", "blue"], np.arange(2, dtype=np.int32))
    none = Items([], np.zeros(0, np.int32), [], np.zeros(0, np.int32))
    vocabulary = Vocabulary(("red", "blue"), tokenizer="words", lowercase=True, length=4)
    train._run_stages(
        config, tmp_path, dual_path(), vocabulary, items, vocabulary.encode(items.captions), np.arange(2), none, None
    )
    assert max(TABLES, key=given["selection_score"]) == kept
    history = [{"seconds": 1.0, "images_per_s": 2.0, "train": {}, "val": val} for val in TABLES]
    (summary,) = finish._stage_summaries(config, [history])
    assert summary["val"] == kept, "metrics.json tells of the weights that were kept"


def test_a_stage_that_made_things_worse_tells_of_the_weights_it_was_given() -> None:
    stage = '{name="%s", epochs=1}'
    config = load_config(None, [f"stages=[{stage % 'I'}, {stage % 'II'}, {{name='III', epochs=1, keep='last'}}]"])
    histories = [
        [{"seconds": 1.0, "images_per_s": 2.0, "train": {}, "val": val}] for val in (TABLES[2], TABLES[0], TABLES[1])
    ]
    assert [stage["val"] for stage in finish._stage_summaries(config, histories)] == [TABLES[2], TABLES[2], TABLES[1]]
