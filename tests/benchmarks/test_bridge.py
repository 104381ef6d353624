"""The benchmark of the bridge: curves of drawn encoders, the verdict, and its quick form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import bridge
from benchmarks.bridge import Curve, Embedded, measure
from itembed_tf.evaluation.calibration import Side
from itembed_tf.index.bridge import Bridge, unit


def drawn(rotation: np.ndarray, noise: float) -> Embedded:
    """Embeddings of 300 train and 100 dev images and their captions, rotated."""
    random = np.random.default_rng(0)
    images = random.normal(size=(400, 16)).astype(np.float32)
    captions = images + 0.6 * random.normal(size=(400, 16))
    seen = images + noise * np.random.default_rng(1).normal(size=(400, 16))
    rotated = [unit((side @ rotation).astype(np.float32)) for side in (seen, captions)]
    groups = np.arange(100)
    return Embedded(rotated[0][:300], rotated[1][:300], Side(rotated[0][300:], groups), Side(rotated[1][300:], groups))


def test_a_rotated_space_costs_nothing_and_a_noisy_one_little():
    rotation, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(16, 16)))
    new = drawn(np.eye(16), 0.0)
    same = measure(drawn(rotation, 0.0), new, sizes=(100, 300))
    assert same.old == pytest.approx(same.new, abs=1) and same.bridges[300][1] == pytest.approx(same.new, abs=1)
    noisy = measure(drawn(rotation, 0.5), new, sizes=(100, 300, 1000))
    assert list(noisy.bridges) == [100, 300] and 0.5 * noisy.new < noisy.bridges[100][1] < noisy.new
    assert noisy.shares[0.0] == noisy.bridges[300][1] and noisy.shares[1.0] == noisy.new


def curve(first: float, third: float, shares: tuple[float, ...] = (280.0, 290.0, 300.0)) -> Curve:
    learned = Bridge(np.eye(2, dtype=np.float32), np.zeros(2, np.float32), "ridge", 0.1, 0.3, 1, 0.9, 0.5, 1)
    values = {1000: (learned, first), 3000: (learned, third)}
    return Curve(285.0, 300.0, values, dict(zip((0.0, 0.5, 1.0), shares)))


def test_the_bars():
    good = {"seed": curve(276.0, 280.0), "backbone": curve(277.0, 286.0)}
    assert bridge.report(good) == 0
    for wrong in (
        {"seed": curve(275.0, 280.0)},
        {"backbone": curve(276.0, 286.0)},
        {"backbone": curve(277.0, 285.0)},
        {"seed": replace(good["seed"], shares={0.0: 280.0, 0.5: 278.0, 1.0: 300.0})},
    ):
        assert bridge.report(good | wrong) == 1


@pytest.mark.benchmark
def test_quick_form(capsys: pytest.CaptureFixture[str]):
    assert bridge.main(["--quick"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "bridge: 2 curves (bar 2 curves) ok"
