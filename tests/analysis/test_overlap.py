"""Overlap S: densities with a known common area, pairs counted one by one, and sampling of a large gallery."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf.analysis import overlap as overlap_module
from itembed_tf.analysis.overlap import Overlap, similarity_overlap


def at(cosines: np.ndarray) -> np.ndarray:
    """Unit vectors in the plane with these cosines to (1, 0)."""
    return np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1).astype(np.float32)


def one_image(matching: np.ndarray, other: np.ndarray, **settings: int) -> Overlap:
    """One image, its own captions at the first cosines and captions of another group at the second."""
    groups = np.repeat([0, 1], [len(matching), len(other)])
    return similarity_overlap(
        at(np.ones(1)), at(np.concatenate([matching, other])), np.zeros(1, int), groups, **settings
    )


def uniform(low: float, high: float, count: int) -> np.ndarray:
    """The centres of equal parts of low to high: a uniform distribution."""
    return low + (np.arange(count) + 0.5) * (high - low) / count


@pytest.mark.parametrize(
    ("matching", "other", "expected"),
    [
        ((0.0, 0.8), (-0.4, 0.4), 0.5),  # half of each overlaps the other
        ((0.0, 0.8), (-0.7, 0.1), 0.125),
        ((0.0, 0.8), (0.2, 0.6), 0.5),  # 0.4 wide at the smaller density 1 / 0.8
        ((0.2, 0.6), (0.2, 0.6), 1.0),
        ((0.2, 0.6), (-0.6, 0.2), 0.0),  # adjacent, without common area
    ],
)
def test_uniform_densities_by_hand(matching: tuple, other: tuple, expected: float) -> None:
    result = one_image(uniform(*matching, 800), uniform(*other, 3200))  # shares matter, numbers of pairs do not
    assert result.s == pytest.approx(expected, abs=0.003)
    assert result.mean_matching == pytest.approx(np.mean(matching), abs=1e-4)
    assert result.mean_other == pytest.approx(np.mean(other), abs=1e-4)


def test_identical_and_separate_distributions() -> None:
    cosines = np.random.default_rng(0).uniform(-1, 1, 500)
    assert one_image(cosines, cosines).s == pytest.approx(1)
    assert one_image(np.array([1.0]), np.array([-1.0])).s == 0  # both ends of the range are inside


def test_overlap_of_two_normal_densities() -> None:
    """Equal width s, means d apart: S = 2 Phi(-d / 2s); at d = 2s that is 0.3173."""
    normal = np.random.default_rng(1).normal(0, 0.1, (2, 200_000))
    result = one_image(normal[0] + 0.2, normal[1])
    assert result.s == pytest.approx(0.3173, abs=0.005)


def test_every_pair_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    images, captions = at(random.uniform(-1, 1, 7)), at(random.uniform(-1, 1, 20))
    image_groups, caption_groups = random.integers(0, 3, 7), random.integers(0, 4, 20)
    matching, other = [], []
    for i in range(7):
        for c in range(20):
            score = float(images[i] @ captions[c])
            (matching if image_groups[i] == caption_groups[c] else other).append(score)
    for block in (1, 45, 10_000):  # the number of rows per block does not matter
        monkeypatch.setattr(overlap_module, "BLOCK", block)
        result = similarity_overlap(images, captions, image_groups, caption_groups, bins=8)
        assert result.matching.tolist() == np.histogram(matching, 8, (-1, 1))[0].tolist()
        assert result.other.tolist() == np.histogram(other, 8, (-1, 1))[0].tolist()
        assert result.mean_matching == pytest.approx(np.mean(matching), abs=1e-5)
        assert result.mean_other == pytest.approx(np.mean(other), abs=1e-5)
    assert [share.sum() for share in result.shares] == pytest.approx([1, 1])
    assert result.edges.tolist() == np.linspace(-1, 1, 9).tolist()


def test_large_gallery_is_sampled_by_image() -> None:
    images, captions = np.tile(at(np.ones(1)), (50, 1)), np.tile(at(np.ones(1)), (100, 1))
    groups = np.arange(50)
    sampled = similarity_overlap(images, captions, groups, np.repeat(groups, 2), sample=10)
    assert (sampled.matching.sum(), sampled.other.sum()) == (20, 980)  # ten images with every caption
    again = similarity_overlap(images, captions, groups, np.repeat(groups, 2), sample=10)
    assert again.matching.tolist() == sampled.matching.tolist()


def test_s_is_nan_without_pairs_of_a_kind() -> None:
    none = np.zeros(0)
    assert np.isnan(one_image(uniform(0, 1, 5), none).s)
    assert np.isnan(one_image(none, uniform(0, 1, 5)).s)
    empty = np.zeros((0, 2), np.float32)
    assert np.isnan(similarity_overlap(empty, empty, none, none).s)


def test_vectors_that_are_not_unit_length_are_refused() -> None:
    for wrong in (2.0, np.nan):
        with pytest.raises(ValueError, match="unit length"):
            similarity_overlap(np.full((1, 2), wrong, np.float32), at(np.ones(1)), np.zeros(1), np.zeros(1))
