"""Checks a dataset and collects all findings: one pass over its images and one over its captions."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from itembed_tf.config import Config
from itembed_tf.data.readers import Group, ImageSource, ReadData, read_image
from itembed_tf.data.readers.group import SPLITS
from itembed_tf.data.readers.merge import connected_sets
from itembed_tf.data.unreadable import NamedImage, UnreadableImage, decode_thumbnails, named_images
from itembed_tf.doctor.captions import SHOWN, CaptionFindings, check_captions
from itembed_tf.doctor.near_duplicates import SIDE, Pair, find_near_duplicates

SCHEMA = 2  # of doctor.json


@dataclass(frozen=True)
class DuplicatePair:
    """Two near-duplicate images.

    Attributes:
        groups: ids of their groups.
        images: their names.
        difference: residual of the worst block after registration, in grey levels.
        mirrored: one is the mirror image of the other.
        same_file: the files are equal.
    """

    groups: list[str]
    images: list[str]
    difference: float
    mirrored: bool
    same_file: bool


@dataclass(frozen=True)
class DuplicateSet:
    """Groups that show the same image, the splits they are in, and the pairs that connect them."""

    groups: list[str]
    splits: list[str]
    pairs: list[DuplicatePair]

    @property
    def leaks(self) -> bool:
        """Whether the image is in several splits."""
        return len(self.splits) > 1


@dataclass(frozen=True)
class Findings:
    """The content of doctor.json.

    Attributes:
        schema: version of the format.
        dataset: dataset.name.
        images: number of images.
        groups: number of groups by split.
        unused_groups: number of groups in other splits, which were not checked.
        images_without_caption: number of image files that no caption names.
        without_caption: the first of them.
        mirrored: whether mirror images count as duplicates.
        near_duplicates: sets of groups that show the same image; those in several splits first, then the largest.
        leaks: number of sets in several splits.
        captions: findings about captions.
        unreadable: images that cannot be decoded.
    """

    schema: int
    dataset: str
    images: int
    groups: dict[str, int]
    unused_groups: dict[str, int]
    images_without_caption: int
    without_caption: list[str]
    mirrored: bool
    near_duplicates: list[DuplicateSet]
    leaks: int
    captions: CaptionFindings
    unreadable: list[UnreadableImage]


def check_data(data: ReadData, config: Config) -> Findings:
    """Check images and captions. Memory: 3 KB per image, and as much again during the comparison."""
    groups = data.groups
    images, owners, pixels, unreadable = _decode(groups, config.max_pixels)
    mirrored = config.augmentation.flip
    pairs = find_near_duplicates(pixels, owners, mirrored=mirrored)
    near_duplicates = _sets(groups, images, owners, pairs)
    counts = Counter(group.split for group in groups)
    return Findings(
        schema=SCHEMA,
        dataset=config.dataset.name,
        images=len(pixels) + len(unreadable),
        groups={split: counts[split] for split in SPLITS if counts[split]},
        unused_groups=data.unused_groups,
        images_without_caption=data.images_without_caption,
        without_caption=data.without_caption[:SHOWN],
        mirrored=mirrored,
        near_duplicates=near_duplicates,
        leaks=sum(each.leaks for each in near_duplicates),
        captions=check_captions(groups, config, data.empty_captions),
        unreadable=unreadable,
    )


def _decode(
    groups: Sequence[Group], max_pixels: int
) -> tuple[list[NamedImage], np.ndarray, np.ndarray, list[UnreadableImage]]:
    """The readable images, their group numbers [n] and thumbnails [n, 32, 32, 3]; and the unreadable images."""
    sources = [(number, named) for number, group in enumerate(groups) for named in named_images(group)]
    images: list[NamedImage] = []
    owners: list[int] = []
    unreadable = []
    pixels = np.zeros((len(sources), SIDE, SIDE, 3), np.uint8)
    thumbnails = decode_thumbnails(groups, SIDE, max_pixels=max_pixels)
    for (owner, named), thumbnail in zip(sources, thumbnails, strict=True):
        if isinstance(thumbnail, UnreadableImage):
            unreadable.append(thumbnail)
            continue
        pixels[len(images)] = thumbnail
        images.append(named)
        owners.append(owner)
    return images, np.array(owners, np.int64), pixels[: len(images)], unreadable


def _sets(
    groups: Sequence[Group], images: Sequence[NamedImage], owners: np.ndarray, pairs: Sequence[Pair]
) -> list[DuplicateSet]:
    """Connect pairs to sets of groups."""
    duplicates = []
    for pair in pairs:
        (first_name, first), (second_name, second) = images[pair.first], images[pair.second]
        duplicates.append(
            DuplicatePair(
                groups=[groups[owners[index]].id for index in (pair.first, pair.second)],
                images=[first_name, second_name],
                difference=round(pair.difference, 2),
                mirrored=pair.mirrored,
                same_file=not pair.mirrored and _same_bytes(first, second),
            )
        )
    split = {group.id: group.split for group in groups}
    sets: list[DuplicateSet] = []
    set_of: dict[str, DuplicateSet] = {}
    for ids in connected_sets(pair.groups for pair in duplicates):
        splits = {split[id] for id in ids}
        sets.append(DuplicateSet(list(ids), [s for s in SPLITS if s in splits], []))
        set_of |= dict.fromkeys(ids, sets[-1])
    for each in duplicates:
        set_of[each.groups[0]].pairs.append(each)
    return sorted(sets, key=lambda each: (not each.leaks, -len(each.groups), each.groups))


def _same_bytes(first: ImageSource, second: ImageSource) -> bool:
    if isinstance(first, str) and isinstance(second, str) and os.path.getsize(first) != os.path.getsize(second):
        return False
    return read_image(first) == read_image(second)
