"""Estimated time of the stages that have not started, against sums by hand."""

from __future__ import annotations

import pytest

from itembed_tf.config import load_config
from itembed_tf.pipeline.time_left import COMPILATION, OUTPUTS, image_seconds, seconds_after_stage
from tests.support.toy_model import dual_path

CACHED = '{name="I", epochs=20, cached_views=2}'
DECODED = '{name="II", epochs=3, freeze=[]}'


def test_a_stage_that_trains_the_backbone_costs_three_forward_passes_an_image() -> None:
    config = load_config(None, [f"stages=[{CACHED}, {DECODED}]"])
    after_first = seconds_after_stage(config, 0, 1000, 0.01, 10.0)
    assert after_first == pytest.approx(OUTPUTS + COMPILATION + 3 * (10.0 + 1000 * 3 * 0.01))
    assert seconds_after_stage(config, 1, 1000, 0.01, 40.0) == OUTPUTS


def test_a_stage_of_the_same_kind_takes_as_long_an_epoch() -> None:
    config = load_config(None, [f"stages=[{CACHED}, {CACHED}]"])
    assert seconds_after_stage(config, 0, 1000, 0.01, 10.0) == OUTPUTS + COMPILATION + 20 * 10.0


def test_the_forward_pass_is_measured_only_where_an_estimate_needs_it() -> None:
    model = dual_path()
    cached, decoded = load_config(None, [f"stages=[{CACHED}, {DECODED}]"]).stages
    assert image_seconds([cached, decoded], model) > 0.0
    for stages in ([cached], [decoded], []):
        assert image_seconds(stages, model) == 0.0
