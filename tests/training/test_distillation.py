"""The distillation loss against a hand-worked value and plain loops, and its gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from itembed_tf.training.distillation import distillation_loss

E1, E2 = [1.0, 0.0], [0.0, 1.0]


def unit(random: np.random.Generator, rows: int, width: int) -> np.ndarray:
    matrix = random.normal(size=(rows, width)).astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def test_by_hand() -> None:
    # By the teacher cosines 1 on the diagonal and 0 off it; temperature 1 / ln 3: each softmax is (3/4, 1/4).
    # All of ours are equal: (1/2, 1/2). Each divergence is 3/4 ln(3/2) + 1/4 ln(1/2).
    loss = distillation_loss([E1, E1], [E1, E1], [E1, E2], [E1, E2], temperature=1 / math.log(3))
    assert float(loss) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), rel=1e-5)


def test_against_plain_loops() -> None:
    random = np.random.default_rng(1)
    image, text, teacher_image, teacher_text = (unit(random, 6, width) for width in (5, 5, 9, 9))
    ours, theirs = (np.float64(a @ b.T) / 0.3 for a, b in ((image, text), (teacher_image, teacher_text)))
    total = 0.0
    for one, other in ((theirs, ours), (theirs.T, ours.T)):
        for target, found in zip(np.exp(one), np.exp(other), strict=True):
            target, found = target / target.sum(), found / found.sum()
            total += float((target * np.log(target / found)).sum()) / 6 / 2
    loss = distillation_loss(image, text, teacher_image, teacher_text, temperature=0.3)
    assert loss.dtype == tf.float32 and float(loss) == pytest.approx(total, rel=1e-5)


def test_the_gradient_ends_where_the_cosines_are_those_of_the_teacher() -> None:
    random = np.random.default_rng(2)
    image, text = (tf.constant(unit(random, 4, 3)) for _ in range(2))
    turn = tf.linalg.qr(tf.constant(random.normal(size=(3, 3)).astype(np.float32)))[0]  # the same cosines
    teacher = image @ turn, text @ turn
    with tf.GradientTape() as tape:
        tape.watch(image)
        loss = distillation_loss(image, text, *teacher, temperature=0.05)
    assert float(loss) == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(tape.gradient(loss, image), 0, atol=1e-4)
