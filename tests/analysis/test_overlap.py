"""S by hand: densities whose common area is known, pairs counted one by one, and what a large gallery leaves out."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf.analysis import overlap as overlap_module
from itembed_tf.analysis.overlap import Densities, overlap, pair_densities


def at(cosines: np.ndarray) -> np.ndarray:
    """Unit vectors in the plane whose cosines with (1, 0) are these."""
    return np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1).astype(np.float32)


def one_picture(matching: np.ndarray, other: np.ndarray, **settings: int) -> Densities:
    """One picture, captions of its own at the first cosines and captions of another at the second."""
    groups = np.repeat([0, 1], [len(matching), len(other)])
    return pair_densities(at(np.ones(1)), at(np.concatenate([matching, other])), np.zeros(1, int), groups, **settings)


def even(low: float, high: float, count: int) -> np.ndarray:
    """The middles of equal parts of low to high: as uniform as can be."""
    return low + (np.arange(count) + 0.5) * (high - low) / count


@pytest.mark.parametrize(
    ("matching", "other", "expected"),
    [
        ((0.0, 0.8), (-0.4, 0.4), 0.5),  # half of each lies where the other is
        ((0.0, 0.8), (-0.7, 0.1), 0.125),
        ((0.0, 0.8), (0.2, 0.6), 0.5),  # 0.4 wide at the smaller density 1 / 0.8
        ((0.2, 0.6), (0.2, 0.6), 1.0),
        ((0.2, 0.6), (-0.6, 0.2), 0.0),  # they touch and have nothing in common
    ],
)
def test_uniform_densities_by_hand(matching: tuple, other: tuple, expected: float) -> None:
    densities = one_picture(even(*matching, 800), even(*other, 3200))  # numbers of pairs do not matter, shares do
    assert overlap(densities) == pytest.approx(expected, abs=0.003)
    assert densities.mean_matching == pytest.approx(np.mean(matching), abs=1e-4)
    assert densities.mean_other == pytest.approx(np.mean(other), abs=1e-4)


def test_the_same_alike_and_apart() -> None:
    cosines = np.random.default_rng(0).uniform(-1, 1, 500)
    assert overlap(one_picture(cosines, cosines)) == pytest.approx(1)
    assert overlap(one_picture(np.array([1.0]), np.array([-1.0]))) == 0  # both ends of the range are inside


def test_against_the_integral_of_two_bell_curves() -> None:
    """Equal width s, means d apart: S = 2 Phi(-d / 2s); at d = 2s that is 0.3173."""
    normal = np.random.default_rng(1).normal(0, 0.1, (2, 200_000))
    densities = one_picture(normal[0] + 0.2, normal[1])
    assert overlap(densities) == pytest.approx(0.3173, abs=0.005)


def test_every_pair_counts_once_on_its_side(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    images, captions = at(random.uniform(-1, 1, 7)), at(random.uniform(-1, 1, 20))
    image_groups, caption_groups = random.integers(0, 3, 7), random.integers(0, 4, 20)
    matching, other = [], []
    for i in range(7):
        for c in range(20):
            score = float(images[i] @ captions[c])
            (matching if image_groups[i] == caption_groups[c] else other).append(score)
    for block in (1, 45, 10_000):  # however many rows a block has
        monkeypatch.setattr(overlap_module, "BLOCK", block)
        densities = pair_densities(images, captions, image_groups, caption_groups, bins=8)
        assert densities.matching.tolist() == np.histogram(matching, 8, (-1, 1))[0].tolist()
        assert densities.other.tolist() == np.histogram(other, 8, (-1, 1))[0].tolist()
        assert densities.mean_matching == pytest.approx(np.mean(matching), abs=1e-5)
        assert densities.mean_other == pytest.approx(np.mean(other), abs=1e-5)
    assert [share.sum() for share in densities.shares] == pytest.approx([1, 1])
    assert densities.edges.tolist() == np.linspace(-1, 1, 9).tolist()


def test_a_large_gallery_is_sampled_by_its_pictures() -> None:
    images, captions = np.tile(at(np.ones(1)), (50, 1)), np.tile(at(np.ones(1)), (100, 1))
    groups = np.arange(50)
    some = pair_densities(images, captions, groups, np.repeat(groups, 2), pictures=10)
    assert (some.matching.sum(), some.other.sum()) == (20, 980)  # ten pictures, all of their captions and all others
    again = pair_densities(images, captions, groups, np.repeat(groups, 2), pictures=10)
    assert again.matching.tolist() == some.matching.tolist()


def test_without_pairs_of_a_kind_there_is_no_s() -> None:
    nobody = np.zeros(0)
    assert np.isnan(overlap(one_picture(even(0, 1, 5), nobody)))
    assert np.isnan(overlap(one_picture(nobody, even(0, 1, 5))))
    empty = np.zeros((0, 2), np.float32)
    assert np.isnan(overlap(pair_densities(empty, empty, nobody, nobody)))


def test_what_is_no_cosine_is_refused() -> None:
    for wrong in (2.0, np.nan):
        with pytest.raises(ValueError, match="unit length"):
            pair_densities(np.full((1, 2), wrong, np.float32), at(np.ones(1)), np.zeros(1), np.zeros(1))
