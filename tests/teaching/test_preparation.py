"""Which runs can be taught."""

from __future__ import annotations

import pytest

from itembed_tf.config import load_config
from itembed_tf.teaching.preparation import cannot_be_taught


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("embedding_size=512", ""),
        ('text_tower.variant="features"', "fixed sentence features"),
        ("memory.rows=100", "memory.rows = 100"),
    ],
)
def test_runs_whose_text_encoder_is_more_than_its_tower_say_why_not(setting: str, reason: str) -> None:
    found = cannot_be_taught(load_config(None, [setting]))
    assert reason in found and bool(found) == bool(reason)
