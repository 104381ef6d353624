"""Groups become batches: which picture, caption and place each step sees is drawn from (seed, stage, epoch) alone.

So a killed run continues with the very batches that it would have seen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from itembed_tf.data.readers import FilePart, Group, ImageSource, read_image

BatchSource = Callable[[np.ndarray, np.ndarray], tf.data.Dataset]  # indices [steps, B], seeds [steps, B, ...]
THREADS = os.cpu_count() or 1  # that decode pictures


@dataclass(frozen=True)
class Items:
    """The pictures and captions of some groups, flat; ``*_groups`` gives each one's group, which is its class."""

    images: list[ImageSource]
    image_groups: np.ndarray  # int32 [n]
    captions: list[str]
    caption_groups: np.ndarray  # int32 [m], ascending


@dataclass(frozen=True)
class Epoch:
    """What every step of one epoch sees: arrays of [steps, batch, ...]."""

    images: np.ndarray  # int64 [steps, B], index into Items.images
    seeds: np.ndarray  # int32 [steps, B, 2], for augmentation
    captions: np.ndarray  # int64 [steps, k*B], index into Items.captions; row j*B + i: the j-th of picture i
    ids: np.ndarray  # int32 [steps, k*B, L], their words
    groups: np.ndarray  # int32 [steps, B], of the images
    candidate_ids: np.ndarray  # int32 [steps, N, L], for mining; N may be 0
    candidate_groups: np.ndarray  # int32 [steps, N]


def flatten(groups: Sequence[Group]) -> Items:
    """Number the groups 0, 1, ... in their order, and list their pictures and captions."""
    return Items(
        [image for group in groups for image in group.images],
        np.repeat(np.arange(len(groups), dtype=np.int32), [len(group.images) for group in groups]),
        [caption for group in groups for caption in group.captions],
        np.repeat(np.arange(len(groups), dtype=np.int32), [len(group.captions) for group in groups]),
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
    """Draw one epoch: one pass over the pictures, each with random captions of its group (released code: with one).

    Args:
        items: what is drawn from.
        ids: int32 [m, L], the captions' words, left-aligned.
        captions: k, how many different captions of its group each picture comes with; where a group has fewer, they
            come again.
        shift: start each caption at a uniformly random place at which it fits (paper section 3.2).
        word_dropout: share of the words left out of each caption, the gaps closed as for unknown words.
        batch_size: pictures a step; what is left over at the end waits for another epoch's order.
        mining: captions drawn for each step as candidates for the ranking negative, none of a batch's own groups.
        seed: run seed, stage number, epoch number.

    Raises:
        ValueError: mining with more than one caption a picture.
    """
    if mining and captions > 1:
        raise ValueError(
            f"data.captions is {captions} and a stage's mining is {mining}: mining replaces the one caption of a "
            "picture; set data.captions = 1 or mining = 0"
        )
    random = np.random.default_rng(seed)
    batch = min(batch_size, len(items.images))
    steps = len(items.images) // batch
    images = random.permutation(len(items.images))[: steps * batch]
    groups = items.image_groups[images]
    drawn = _different_captions(items, groups, captions, random)
    drawn = drawn.reshape(captions, steps, batch).swapaxes(0, 1).reshape(-1)
    rows = _thinned(ids[drawn], word_dropout, random) if word_dropout else ids[drawn]
    rows = _shifted(rows, random) if shift else rows
    seeds = random.integers(0, 2**31 - 1, (steps, batch, 2), dtype=np.int32)
    groups = groups.reshape(steps, batch)
    candidate_ids, candidate_groups = np.zeros((steps, 0, ids.shape[1]), np.int32), np.zeros((steps, 0), np.int32)
    if mining:
        count = int(items.caption_groups[-1]) + 1
        candidate_groups = np.stack([_outsiders(count, row, mining, random) for row in groups])
        chosen = _random_captions(items, candidate_groups.reshape(-1), random)
        found = _shifted(ids[chosen], random) if shift else ids[chosen]
        candidate_ids = found.reshape(steps, mining, -1)
    return Epoch(
        images.reshape(steps, batch),
        seeds,
        drawn.reshape(steps, captions * batch),
        rows.reshape(steps, captions * batch, -1),
        groups,
        candidate_ids,
        candidate_groups,
    )


def _random_captions(items: Items, groups: np.ndarray, random: np.random.Generator) -> np.ndarray:
    first = np.searchsorted(items.caption_groups, groups, side="left")
    behind = np.searchsorted(items.caption_groups, groups, side="right")
    return random.integers(first, behind)


def _different_captions(items: Items, groups: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` captions of each group in random order, [count, n]; a group that has fewer begins again."""
    chosen = _random_captions(items, groups, random)
    if count == 1:
        return chosen[None]
    first = np.searchsorted(items.caption_groups, groups, side="left")
    sizes = np.searchsorted(items.caption_groups, groups, side="right") - first
    rows = np.arange(len(groups))
    turns = random.random((len(groups), int(sizes.max())))
    turns[rows, chosen - first] = -1.0  # what was drawn comes first
    turns[np.arange(turns.shape[1]) >= sizes[:, None]] = 2.0  # what the group does not have comes last
    order = turns.argsort(axis=1)
    return np.stack([first + order[rows, place % sizes] for place in range(count)])


def _outsiders(groups: int, batch: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` groups drawn with replacement from those that are not in the batch (released code, Flickr)."""
    outside = np.setdiff1d(np.arange(groups, dtype=np.int32), batch)
    return random.choice(outside if len(outside) else np.arange(groups, dtype=np.int32), count)


def _thinned(rows: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Each row of left-aligned words without a random share of them, still left-aligned."""
    kept = np.where(random.random(rows.shape) < share, 0, rows)
    order = np.argsort(kept == 0, axis=1, kind="stable")
    return np.take_along_axis(kept, order, axis=1).astype(np.int32)


def _shifted(rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Each row of left-aligned words starts at a uniformly random place at which it fits."""
    length = rows.shape[1]
    starts = random.integers(0, length - (rows != 0).sum(axis=1) + 1)
    source = np.arange(length) - starts[:, None]  # negative: before the sentence
    return np.where(source >= 0, np.take_along_axis(rows, np.maximum(source, 0), axis=1), 0).astype(np.int32)


def batches(
    epoch: Epoch,
    first_step: int,
    images: BatchSource,
    classes: np.ndarray,
    text_features: np.ndarray | None = None,
) -> tf.data.Dataset:
    """The epoch's batches from `first_step` on, prefetched.

    Args:
        epoch: of `draw_epoch`.
        first_step: the first step that is given; those before it are left out.
        images: `image_source(...)` or `feature_source(...)`.
        classes: class of each group, int32 [G].
        text_features: features of all captions, float32 [m, F], to be used in place of word ids.

    Returns:
        Dicts of tensors: "image" [B, S, S, 3] or "image_features" [B, F]; "ids" int32 [k*B, L] or "text_features"
        [k*B, F]; "classes" int32 [B]; "candidate_ids" int32 [N, L] and "candidate_classes" int32 [N].
    """
    rows = slice(first_step, None)
    arrays = {
        "classes": classes[epoch.groups[rows]],
        "candidate_ids": epoch.candidate_ids[rows],
        "candidate_classes": classes[epoch.candidate_groups[rows]],
    }
    captions = epoch.captions[rows]
    if text_features is None:
        arrays["ids"] = epoch.ids[rows]
    sources = [tf.data.Dataset.from_tensor_slices(arrays), images(epoch.images[rows], epoch.seeds[rows])]
    if text_features is not None:
        first_view = np.zeros((*captions.shape, 1), np.int32)
        sources.append(feature_source([text_features], name="text_features")(captions, first_view))
    return _read_ahead(tf.data.Dataset.zip(*sources).map(lambda *dicts: {k: v for d in dicts for k, v in d.items()}))


def _read_ahead(batches: tf.data.Dataset) -> tf.data.Dataset:
    """The same, two batches ahead of its reader.

    Without autotuning: its thread wakes 10.2, 20.5, 41 ... seconds after the start, and in TensorFlow 2.21 the end of
    an epoch now and then waited for that.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(2).with_options(options)


def feature_source(views: Sequence[np.ndarray], name: str = "image_features") -> BatchSource:
    """Batches {name: float32 [B, F]} of cached features; the seed of a row chooses one of the views [n, F]."""

    def gather(indices: np.ndarray, draws: np.ndarray) -> np.ndarray:
        return np.stack([views[draw][i] for i, draw in zip(indices, draws, strict=True)])

    def load(indices: np.ndarray, seeds: np.ndarray) -> tf.data.Dataset:
        # Not from_generator: its op sets malloc's trim threshold to 128 KB for the process, and every step then
        # asks the system anew for its memory (10,000 page faults a step of configs/flickr8k.toml, 4 % of its time).
        shape = (indices.shape[1], views[0].shape[1])
        rows = tf.data.Dataset.from_tensor_slices((indices, seeds[..., 0] % len(views)))
        return rows.map(lambda *row: {name: tf.ensure_shape(tf.numpy_function(gather, row, tf.float32), shape)})

    return load


def image_source(images: Sequence[ImageSource], augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> BatchSource:
    """Batches {"image": [B, S, S, 3]} of decoded, augmented images; `augment(file bytes, seed)` gives one."""
    read = read_from(images)

    @tf.function(input_signature=[tf.TensorSpec((), tf.int64), tf.TensorSpec((2,), tf.int32)])
    def decode(i: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:  # traced here, once, and not anew for every epoch
        return augment(read(i), seed)

    decode.get_concrete_function()

    def load(indices: np.ndarray, seeds: np.ndarray) -> tf.data.Dataset:
        rows = tf.data.Dataset.from_tensor_slices((indices.reshape(-1).astype(np.int64), seeds.reshape(-1, 2)))
        decoded = rows.map(decode, num_parallel_calls=THREADS, deterministic=True)
        return decoded.batch(indices.shape[1], drop_remainder=True).map(lambda image: {"image": image})

    return load


def read_from(pictures: Sequence[ImageSource]) -> Callable[[tf.Tensor], tf.Tensor]:
    """A graph function from an index to that picture's file bytes."""
    if any(isinstance(picture, FilePart) for picture in pictures):

        def content(i: np.ndarray) -> bytes:
            return read_image(pictures[int(i)])

        return lambda i: tf.ensure_shape(tf.numpy_function(content, [i], tf.string), ())
    from_memory = isinstance(pictures[0], bytes)
    contents = tf.constant(list(pictures))

    def read(i: tf.Tensor) -> tf.Tensor:
        return contents[i] if from_memory else tf.io.read_file(contents[i])

    return read


def image_batches(
    pictures: Sequence[ImageSource], decode: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], batch_size: int
) -> tf.data.Dataset:
    """Batches [b, S, S, 3] of all pictures in order, the last may be smaller; `decode(file bytes, index)` gives one."""
    read = read_from(pictures)
    rows = tf.data.Dataset.range(len(pictures)).map(
        lambda i: decode(read(i), i), num_parallel_calls=THREADS, deterministic=True
    )
    return _read_ahead(rows.batch(batch_size))
