"""The benchmarks of the hubness correction and of the bands: what they measure on drawn encoders, their quick forms."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import bands, hubness
from benchmarks.calibrated import Calibrated, Dev, halves
from itembed_tf.evaluation.calibration import calibrate
from tests.support.drawn_embeddings import sides


@pytest.fixture(scope="module")
def drawn() -> Calibrated:
    images, captions = sides(400, 1)
    calibration = calibrate("c", *sides(400, 0), images, captions, np.ones((1200, 2), int))
    return Calibrated(None, calibration, Dev(images, captions, [""] * 1200))  # type: ignore[arg-type]


def test_halves_share_no_group(drawn: Calibrated):
    for one, other in halves(drawn.dev, 2):
        assert len(one[0].groups) == len(other[0].groups) == 200
        assert not set(one[0].groups) & set(other[0].groups) and set(one[0].groups) == set(one[1].groups)


def test_a_gain_on_the_other_half(drawn: Calibrated, capsys: pytest.CaptureFixture[str]):
    gain = hubness.measure(drawn, repeats=2)
    assert gain.text[1] > gain.text[0] + 10 and abs(gain.image[1] - gain.image[0]) < 5  # captions have no hubs here
    better = hubness.Gain(text=(100.0, 110.0), image=(100.0, 103.0))
    assert hubness.report({"better": better}, 13.0) == 0 and capsys.readouterr().out.endswith("ok\n")
    assert hubness.report({"better": better}, 13.1) == 1
    worse = hubness.Gain(text=(100.0, 130.0), image=(100.0, 99.0))
    assert worse.gain == 29 and hubness.report({"worse": worse}, 12.0) == 1, "one direction is worse"


def test_bands_keep_their_promise_and_a_wrong_promise_is_seen(drawn: Calibrated, monkeypatch: pytest.MonkeyPatch):
    kept = bands.promises(drawn, "text_to_image", repeats=2)
    assert {each.name for each in kept} > {"weak"} and max(each.gap for each in kept) < 5
    honest = bands.measured_bands

    def boasting(*args):
        return tuple(type(band)(band.name, band.threshold, band.hits, band.hits) for band in honest(*args))

    monkeypatch.setattr(bands, "measured_bands", boasting)
    assert max(each.gap for each in bands.promises(drawn, "text_to_image", repeats=2)) > 20


def test_absence_is_a_share_of_pairs(drawn: Calibrated):
    assert 0.5 < bands.absence(drawn) < 1
    assert bands.false_alarms(drawn, repeats=2) == pytest.approx(1.0, abs=1.0)


@pytest.mark.benchmark
@pytest.mark.parametrize("module", [hubness, bands], ids=lambda module: module.__name__)
def test_quick_form(module, capsys: pytest.CaptureFixture[str]):
    assert module.main(["--quick"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("ok")
