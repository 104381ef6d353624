"""Training batches from groups. What each step sees depends on (seed, stage, epoch) alone.

A killed run therefore continues with exactly the batches that it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from itembed_tf.data.readers import Group, ImageSource, image_ids
from itembed_tf.data.sources import BatchSource, feature_source, read_ahead


@dataclass(frozen=True)
class Items:
    """The images and captions of groups in flat lists; ``*_groups`` has the group number of each.

    ``image_ids`` has the id of each image (`itembed_tf.data.readers.image_ids`), by which a feature file has it.
    """

    images: list[ImageSource]
    image_groups: np.ndarray  # int32 [n]
    captions: list[str]
    caption_groups: np.ndarray  # int32 [m], ascending
    image_ids: Sequence[str] = ()


@dataclass(frozen=True)
class Epoch:
    """The samples of every step of an epoch: arrays [steps, batch, ...]."""

    images: np.ndarray  # int64 [steps, B], index into Items.images
    seeds: np.ndarray  # int32 [steps, B, 2], for augmentation
    captions: np.ndarray  # int64 [steps, k*B], index into Items.captions; row j*B + i: the j-th of image i
    ids: np.ndarray  # int32 [steps, k*B, L], their word ids
    groups: np.ndarray  # int32 [steps, B], of the images
    candidate_ids: np.ndarray  # int32 [steps, N, L], for mining; N may be 0
    candidate_groups: np.ndarray  # int32 [steps, N]
    step_seeds: np.ndarray  # int32 [steps, 2], for what the step itself draws


@dataclass(frozen=True, eq=False)
class TeacherEmbeddings:
    """The teacher's embeddings of the training set, float32 with rows of unit length, in the order of its `Items`."""

    images: np.ndarray  # [n, T]
    captions: np.ndarray  # [m, T]


def flatten(groups: Sequence[Group]) -> Items:
    """Number the groups 0, 1, ... in their order, and list their images and captions."""
    return Items(
        [image for group in groups for image in group.images],
        np.repeat(np.arange(len(groups), dtype=np.int32), [len(group.images) for group in groups]),
        [caption for group in groups for caption in group.captions],
        np.repeat(np.arange(len(groups), dtype=np.int32), [len(group.captions) for group in groups]),
        image_ids(groups),
    )


def draw_epoch(
    items: Items,
    ids: np.ndarray,
    *,
    captions: int,
    shift: bool,
    word_dropout: float,
    batch_size: int,
    mining: int,
    seed: tuple[int, int, int],
) -> Epoch:
    """Sample one epoch: one pass over the images, each with random captions of its group (released code: one).

    Args:
        items: the training set.
        ids: int32 [m, L], word ids of the captions, left-aligned.
        captions: k, number of different captions for each image; those of a group with fewer are repeated.
        shift: start each caption at a uniformly random position at which it fits (paper section 3.2).
        word_dropout: share of words left out of each caption; the gaps are closed, as for unknown words.
        batch_size: images per step; the rest that does not fill a batch is left out.
        mining: number of candidate captions per step for hard-negative mining, of groups outside the batch.
        seed: seed of the run, stage number, epoch number.

    Raises:
        ValueError: mining with more than one caption per image.
    """
    if mining and captions > 1:
        raise ValueError(
            f"data.captions is {captions} and a stage's mining is {mining}: mining replaces the one caption of an "
            "image; set data.captions = 1 or mining = 0"
        )
    random = np.random.default_rng(seed)
    batch = min(batch_size, len(items.images))
    steps = len(items.images) // batch
    images = random.permutation(len(items.images))[: steps * batch]
    groups = items.image_groups[images]
    sample = _different_captions(items, groups, captions, random)
    sample = sample.reshape(captions, steps, batch).swapaxes(0, 1).reshape(-1)
    rows = _drop_words(ids[sample], word_dropout, random) if word_dropout else ids[sample]
    rows = _shift(rows, random) if shift else rows
    seeds = random.integers(0, 2**31 - 1, (steps, batch, 2), dtype=np.int32)
    groups = groups.reshape(steps, batch)
    candidate_ids, candidate_groups = np.zeros((steps, 0, ids.shape[1]), np.int32), np.zeros((steps, 0), np.int32)
    if mining:
        count = int(items.caption_groups[-1]) + 1
        candidate_groups = np.stack([_groups_outside(count, row, mining, random) for row in groups])
        candidates = ids[_random_captions(items, candidate_groups.reshape(-1), random)]
        candidates = _shift(candidates, random) if shift else candidates
        candidate_ids = candidates.reshape(steps, mining, -1)
    return Epoch(
        images.reshape(steps, batch),
        seeds,
        sample.reshape(steps, captions * batch),
        rows.reshape(steps, captions * batch, -1),
        groups,
        candidate_ids,
        candidate_groups,
        seeds[:, 0],
    )


def share_of(epoch: Epoch, replicas: range, count: int) -> Epoch:
    """The samples of some of the `count` replicas that share every batch, one replica after the other.

    Each replica has the same number of images of a batch, with their captions; candidates and the seed of a step are
    those of the batch for all. The result has `len(replicas)` rows for each step.

    Raises:
        ValueError: the batch is not a multiple of `count`.
    """
    steps, batch = epoch.images.shape
    if batch % count:
        raise ValueError(f"a batch of {batch} images cannot be shared equally by {count} replicas")

    def own(rows: np.ndarray, captions: int = 1) -> np.ndarray:
        parts = rows.reshape(steps, captions, count, batch // count, *rows.shape[2:])[
            :, :, replicas.start : replicas.stop
        ]
        return parts.swapaxes(1, 2).reshape(steps * len(replicas), -1, *rows.shape[2:])

    def same(rows: np.ndarray) -> np.ndarray:
        return np.repeat(rows, len(replicas), axis=0)

    captions = epoch.captions.shape[1] // batch
    return Epoch(
        own(epoch.images),
        own(epoch.seeds),
        own(epoch.captions, captions),
        own(epoch.ids, captions),
        own(epoch.groups),
        same(epoch.candidate_ids),
        same(epoch.candidate_groups),
        same(epoch.step_seeds),
    )


def _random_captions(items: Items, groups: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One caption of each group, as indices into Items.captions."""
    first = np.searchsorted(items.caption_groups, groups, side="left")
    end = np.searchsorted(items.caption_groups, groups, side="right")
    return random.integers(first, end)


def _different_captions(items: Items, groups: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` captions of each group in random order, [count, n]; those of a group with fewer are repeated."""
    chosen = _random_captions(items, groups, random)
    if count == 1:
        return chosen[None]
    first = np.searchsorted(items.caption_groups, groups, side="left")
    sizes = np.searchsorted(items.caption_groups, groups, side="right") - first
    rows = np.arange(len(groups))
    keys = random.random((len(groups), int(sizes.max())))
    keys[rows, chosen - first] = -1.0  # the chosen one first
    keys[np.arange(keys.shape[1]) >= sizes[:, None]] = 2.0  # padding last
    order = keys.argsort(axis=1)
    return np.stack([first + order[rows, i % sizes] for i in range(count)])


def _groups_outside(groups: int, batch: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` groups sampled with replacement from those outside the batch (released code, Flickr)."""
    outside = np.setdiff1d(np.arange(groups, dtype=np.int32), batch)
    return random.choice(outside if len(outside) else np.arange(groups, dtype=np.int32), count)


def _drop_words(rows: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Rows of left-aligned word ids without a random share of them, left-aligned again."""
    remaining = np.where(random.random(rows.shape) < share, 0, rows)
    order = np.argsort(remaining == 0, axis=1, kind="stable")
    return np.take_along_axis(remaining, order, axis=1).astype(np.int32)


def _shift(rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rows of left-aligned word ids, each moved to a uniformly random position at which it fits."""
    length = rows.shape[1]
    starts = random.integers(0, length - (rows != 0).sum(axis=1) + 1)
    source = np.arange(length) - starts[:, None]  # negative: before the caption
    return np.where(source >= 0, np.take_along_axis(rows, np.maximum(source, 0), axis=1), 0).astype(np.int32)


def batches(
    epoch: Epoch,
    first_step: int,
    images: BatchSource,
    classes: np.ndarray,
    text_features: np.ndarray | None = None,
    teacher: TeacherEmbeddings | None = None,
) -> tf.data.Dataset:
    """The epoch's batches from `first_step` on, prefetched.

    Args:
        epoch: of `draw_epoch`.
        first_step: earlier steps are left out.
        images: `image_source(...)` or `feature_source(...)`.
        classes: class of each group, int32 [G].
        text_features: features of all captions, float32 [m, F], instead of word ids.
        teacher: embeddings of all images and captions by the teacher of a distillation.

    Returns:
        Dicts of tensors: "image" [B, S, S, 3] or "image_features" [B, F]; "ids" int32 [k*B, L] or "text_features"
        [k*B, F]; "classes" int32 [B]; "candidate_ids" int32 [N, L] and "candidate_classes" int32 [N]; "seed" int32 [2]
        for what the step itself draws; with a teacher "teacher_image" [B, T] and "teacher_text" [k*B, T].
    """
    rows = slice(first_step, None)
    arrays = {
        "classes": classes[epoch.groups[rows]],
        "seed": epoch.step_seeds[rows],
        "candidate_ids": epoch.candidate_ids[rows],
        "candidate_classes": classes[epoch.candidate_groups[rows]],
    }
    captions = epoch.captions[rows]
    if text_features is None:
        arrays["ids"] = epoch.ids[rows]
    sources = [tf.data.Dataset.from_tensor_slices(arrays), images(epoch.images[rows], epoch.seeds[rows])]
    if text_features is not None:
        sources.append(_rows("text_features", text_features, captions))
    if teacher is not None:
        sources += [_rows("teacher_image", teacher.images, epoch.images[rows])]
        sources += [_rows("teacher_text", teacher.captions, captions)]
    return read_ahead(tf.data.Dataset.zip(*sources).map(lambda *dicts: {k: v for d in dicts for k, v in d.items()}))


def _rows(name: str, table: np.ndarray, indices: np.ndarray) -> tf.data.Dataset:
    """Batches {name: float32 [b, F]} of the rows of a table [n, F] that the indices [steps, b] name."""
    return feature_source([table], name=name)(indices, np.zeros((*indices.shape, 1), np.int32))
