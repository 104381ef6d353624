"""Calibration of encoders on train and dev: hubness correction, relevance bands, limits of far queries (NumPy)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itembed_tf.retrieval import (
    Band,
    Bank,
    Calibration,
    Choice,
    Correction,
    Far,
    biases,
    choose_correction,
    fit_bands,
    nearest_cosine,
    neighbour_means,
    shown_hits,
)
from itembed_tf.retrieval.hubness import A_VALUES, K_VALUES

FALSE_ALARMS = 0.01  # share of dev queries that may count as far from everything in train
DEV_GROUPS = 2000  # of dev that are measured: scores of all pairs are held in memory
FEW_GROUPS = 100  # of dev: below, `USUAL` or nothing is chosen
USUAL = Correction(0.5, 32)
NEIGHBOURS = 10  # images by which the correction for an image query is judged


@dataclass(frozen=True, eq=False)
class Side:
    """Embeddings of one side of a split, float32 [n, D], and the group of each, int [n]."""

    vectors: NDArray[np.float32]
    groups: NDArray[np.integer]

    def of(self, groups: NDArray[np.integer]) -> Side:
        """The rows of some groups."""
        rows = np.isin(self.groups, groups)
        return self if rows.all() else Side(self.vectors[rows], self.groups[rows])

    def bank(self) -> Bank:
        """The rows as a bank of training queries, in float16."""
        return Bank(self.vectors.astype(np.float16), self.groups.astype(np.int32))


def bank_rows(groups: NDArray[np.integer], limit: int, seed: int = 0) -> NDArray[np.intp]:
    """Rows of train for a bank: from as many groups as possible, one more row of each in turn, at random.

    Args:
        groups: int [n], ascending or not.
        limit: of the number of rows.
        seed: of the random choice.

    Returns:
        Positions, ascending, int [min(n, limit)].
    """
    order = np.random.default_rng(seed).permutation(len(groups))
    seen: dict[int, int] = {}
    turns = np.empty(len(groups), np.int64)
    for row in order.tolist():
        group = int(groups[row])
        turns[row] = seen.get(group, 0)
        seen[group] = turns[row] + 1
    return np.sort(order[np.argsort(turns[order], kind="stable")][:limit])


def calibrate(
    contract: str,
    train_images: Side,
    train_captions: Side,
    dev_images: Side,
    dev_captions: Side,
    caption_ids: NDArray[np.integer],
) -> Calibration:
    """Choose and measure everything on dev; the banks are of train alone.

    Args:
        contract: contract hash of the encoders.
        train_images, train_captions: the banks (`bank_rows`), without captions of no known word.
        dev_images, dev_captions: of dev.
        caption_ids: word ids of dev's captions, int [m, L], 0 = padding: images whose captions share words count as
            similar, which judges the correction of searches by image.

    Returns:
        Its figures are, for "text_to_image" and "image_to_text", the sum of R@1, R@5 and R@10 in percent, "plain" and
        "corrected"; for "image_to_image", the mean similarity of captions of the nearest images; and the size of the
        gallery. A direction that the correction does not help on dev has a = 0.
    """
    captions, images = train_captions.bank(), train_images.bank()
    dev_images, dev_captions, caption_ids = _measured(dev_images, dev_captions, caption_ids)
    text, image = _choose(dev_captions, dev_images, captions), _choose(dev_images, dev_captions, images)
    similar = _choose_for_images(dev_images, dev_captions.groups, caption_ids, images)
    choices = {"text_to_image": text, "image_to_text": image, "image_to_image": similar}
    bands = {
        "text_to_image": measured_bands(dev_captions, dev_images, captions, text.correction),
        "image_to_text": measured_bands(dev_images, dev_captions, images, image.correction),
    }
    figures = {name: {"plain": each.plain, "corrected": each.corrected} for name, each in choices.items()}
    figures["gallery"] = {"images": len(dev_images.vectors), "captions": len(dev_captions.vectors)}
    return Calibration(
        contract=contract,
        captions=captions,
        images=images,
        corrections={name: each.correction for name, each in choices.items()},
        bands={name: each for name, each in bands.items() if each},
        far={"text": far_limit(dev_captions, captions), "image": far_limit(dev_images, images)},
        figures=figures,
    )


def _choose(queries: Side, items: Side, bank: Bank) -> Choice:
    a_values, k_values = _grid(items)
    sides = queries.vectors, items.vectors, queries.groups, items.groups
    return choose_correction(*sides, bank, a_values=a_values, k_values=k_values)


def _grid(items: Side) -> tuple[Sequence[float], Sequence[int]]:
    """Values of `a` and `k` to choose from; on a small dev the best of many would be noise."""
    if len(np.unique(items.groups)) < FEW_GROUPS:
        return [USUAL.a], [USUAL.k]
    return A_VALUES, K_VALUES


def _measured(images: Side, captions: Side, ids: NDArray[np.integer]) -> tuple[Side, Side, NDArray[np.integer]]:
    """At most `DEV_GROUPS` groups of dev, evenly spaced, without captions of no known word and groups left empty."""
    known = ids.any(axis=1)
    groups = np.intersect1d(images.groups, captions.groups[known])
    groups = groups[:: -(-len(groups) // DEV_GROUPS)]
    rows = known & np.isin(captions.groups, groups)
    return images.of(groups), Side(captions.vectors[rows], captions.groups[rows]), ids[rows]


def measured_bands(queries: Side, items: Side, bank: Bank, correction: Correction) -> tuple[Band, ...]:
    """Bands of the corrected scores of the first hits of every query; see `itembed_tf.retrieval.bands`."""
    scores = queries.vectors @ items.vectors.T - biases(items.vectors, bank, correction)
    return fit_bands(*shown_hits(scores, queries.groups, items.groups))


def far_limit(queries: Side, bank: Bank) -> Far:
    """The limit that `FALSE_ALARMS` of the queries of dev fall below."""
    nearest = nearest_cosine(queries.vectors, bank.vectors)
    limit = float(np.quantile(nearest, FALSE_ALARMS, method="lower"))
    return Far(limit, float(np.mean(nearest < limit)))


def _choose_for_images(
    images: Side, caption_groups: NDArray[np.integer], caption_ids: NDArray[np.integer], bank: Bank
) -> Choice:
    """`a` and `k` for which the nearest other images of an image have the most similar captions."""
    similarity = caption_similarity(images.groups, caption_groups, caption_ids)
    cosines = images.vectors @ images.vectors.T
    np.fill_diagonal(cosines, -np.inf)
    plain = _mean_of_nearest(cosines, similarity)
    best = Choice(Correction(0.0, K_VALUES[0]), plain, plain)
    a_values, k_values = _grid(images)
    means = neighbour_means(images.vectors, bank, k_values)
    for a in sorted(set(a_values) - {0.0}):
        for k, mean in zip(k_values, means.T):
            found = _mean_of_nearest(cosines - np.float32(a) * mean, similarity)
            if found > best.corrected:
                best = Choice(Correction(a, k), plain, found)
    return best


def _mean_of_nearest(scores: NDArray[np.float32], similarity: NDArray[np.float32]) -> float:
    count = min(NEIGHBOURS, len(scores) - 1)
    if count < 1:
        return 0.0
    nearest = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    return float(np.take_along_axis(similarity, nearest, axis=1).mean())


def caption_similarity(
    image_groups: NDArray[np.integer], caption_groups: NDArray[np.integer], ids: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Cosine of the tf-idf vectors of the captions of images, float32 [n, n]; 1 for two images of one group.

    Args:
        image_groups: int [n].
        caption_groups: int [m].
        ids: word ids of the captions, int [m, L], 0 = padding.
    """
    groups, rows = np.unique(image_groups, return_inverse=True)
    counts = np.zeros((len(groups), int(ids.max(initial=0)) + 1), np.float32)
    np.add.at(counts, (np.searchsorted(groups, caption_groups)[:, None], ids), 1)
    counts[:, 0] = 0
    weights = np.log(len(groups) / np.maximum((counts > 0).sum(axis=0), 1)).astype(np.float32)
    vectors = counts * weights
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return (vectors @ vectors.T)[np.ix_(rows, rows)]


def describe_calibration(calibration: Calibration) -> Sequence[str]:
    """The calibration as lines to print: what the correction changes on dev, and what the bands hold."""
    names = {"text_to_image": "text → image", "image_to_text": "image → text"}
    lines = []
    for direction, name in names.items():
        values, correction = calibration.figures[direction], calibration.corrections[direction]
        change = f"R@1 + R@5 + R@10 {values['plain']:.1f}, corrected {values['corrected']:.1f}"
        lines.append(f"{name}: {change} (dev, on which a = {correction.a:g} and k = {correction.k} were chosen)")
        bands = calibration.bands.get(direction, ())
        lines += [f"  {band.describe()} ({band.right:,} of {band.hits:,} hits)" for band in bands]
    return lines
