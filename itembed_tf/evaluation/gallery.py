"""The gallery of an evaluation: groups of images and captions, and the subset that a protocol needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itembed_tf.evaluation.coco_positives import captions_in_order, image_of_caption
from itembed_tf.retrieval import Scores

Subset = tuple[Scores, "Gallery"]


@dataclass(frozen=True)
class Gallery:
    """Groups of images and captions, in the order of their scores.

    Attributes:
        images: group of each image, [n].
        captions: group of each caption, [m].
        caption_ids: COCO id of each caption, int64 [m], where the reader has it; else None.
    """

    images: NDArray[np.str_]
    captions: NDArray[np.str_]
    caption_ids: NDArray[np.int64] | None = None


def subset(scores: Scores, gallery: Gallery, images: NDArray[np.intp], captions: NDArray[np.intp]) -> Subset:
    """Scores and gallery of some images and captions, by position, in the given order."""
    ids = None if gallery.caption_ids is None else gallery.caption_ids[captions]
    ties = scores.image_ties[images], scores.caption_ties[captions]
    part = Scores(lambda rows, columns: scores.block(images[rows], captions[columns]), *ties)
    return part, Gallery(gallery.images[images], gallery.captions[captions], ids)


def positions(groups: NDArray[np.str_]) -> dict[str, list[int]]:
    """Group -> positions of its items."""
    by_group: dict[str, list[int]] = {}
    for i, group in enumerate(groups.tolist()):
        by_group.setdefault(group, []).append(i)
    return by_group


def first_five(gallery: Gallery, images: int, protocol: str) -> NDArray[np.intp]:
    """Positions of the first five captions of each image, image by image.

    Raises:
        ValueError: another number of images, two images in one group, or an image with fewer than five captions.
    """
    rows, columns = positions(gallery.images), positions(gallery.captions)
    short = [group for group in rows if len(columns.get(group, ())) < 5]
    if not len(gallery.images) == len(rows) == images or short:
        few = f", {len(short)} of them with fewer than five captions ({short[0]})" if short else ""
        raise ValueError(
            f"protocol {protocol} needs {images:,} images, each in its own group with five or more captions; this "
            f"split has {len(gallery.images):,} images in {len(rows):,} groups{few}. Use --protocol whole"
        )
    return np.concatenate([columns[group][:5] for group in rows])


def published_five_thousand(scores: Scores, gallery: Gallery, protocol: str) -> Subset:
    """COCO's 5,000 test images (Karpathy split) and their 25,000 captions in the published order, five per image.

    Raises:
        ValueError: caption ids are unknown, or these are other images and captions.
        ModuleNotFoundError: eccv-caption, which contains the ids, is not installed.
    """
    if gallery.caption_ids is None:
        raise ValueError(
            f"protocol {protocol} needs COCO's ids of images and captions, which this dataset does not have; it is "
            "for dataset.name = 'coco' with dataset.split_by = 'karpathy'"
        )
    order, owners = captions_in_order().tolist(), image_of_caption()
    columns = {number: i for i, number in enumerate(gallery.caption_ids.tolist())}
    rows = {number: i for i, number in enumerate(numeric_ids(gallery.images))}
    images = [owners[caption] for caption in order[::5]]
    missing_captions = sum(caption not in columns for caption in order)
    missing_images = sum(image not in rows for image in images)
    if missing_captions or missing_images or len(gallery.images) != len(images):
        raise ValueError(
            f"protocol {protocol} needs the 5,000 images of the Karpathy test split and five captions of each; this "
            f"split has {len(gallery.images):,} images, and {missing_images:,} of the 5,000 images and "
            f"{missing_captions:,} of the 25,000 captions are missing. Use --split test with "
            "dataset.split_by = 'karpathy'"
        )
    image_positions = np.array([rows[image] for image in images])
    return subset(scores, gallery, image_positions, np.array([columns[caption] for caption in order]))


def numeric_ids(groups: Sequence[str] | NDArray[np.str_]) -> list[int]:
    """Groups as numbers, as COCO has them; -1, which is no COCO id, for any other group."""
    return [int(group) if group.isdecimal() else -1 for group in np.asarray(groups).tolist()]
