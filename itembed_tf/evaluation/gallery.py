"""What was scored, by name: the part of it that a protocol takes, and an error where the protocol does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itembed_tf.evaluation.coco_positives import captions_in_order, pictures_of_captions
from itembed_tf.retrieval import Scores

Part = tuple[Scores, "Gallery"]


@dataclass(frozen=True)
class Gallery:
    """Pictures and captions in the order of their scores.

    Attributes:
        images: group of each picture, [n].
        captions: group of each caption, [m].
        caption_ids: COCO's id of each caption, int64 [m], where the reader knows it; else None.
    """

    images: NDArray[np.str_]
    captions: NDArray[np.str_]
    caption_ids: NDArray[np.int64] | None = None


def part(scores: Scores, gallery: Gallery, images: NDArray[np.intp], captions: NDArray[np.intp]) -> Part:
    """Some pictures and captions, by their places, in the order given."""
    ids = None if gallery.caption_ids is None else gallery.caption_ids[captions]
    ties = scores.image_ties[images], scores.caption_ties[captions]
    taken = Scores(lambda rows, columns: scores.block(images[rows], captions[columns]), *ties)
    return taken, Gallery(gallery.images[images], gallery.captions[captions], ids)


def places(groups: NDArray[np.str_]) -> dict[str, list[int]]:
    """Group -> where it stands."""
    found: dict[str, list[int]] = {}
    for i, group in enumerate(groups.tolist()):
        found.setdefault(group, []).append(i)
    return found


def first_five(gallery: Gallery, pictures: int, name: str) -> NDArray[np.intp]:
    """The places of the first five captions of each picture, picture by picture.

    Raises:
        ValueError: not that many pictures, two of one group, or a picture with fewer than five captions.
    """
    rows, columns = places(gallery.images), places(gallery.captions)
    short = [group for group in rows if len(columns.get(group, ())) < 5]
    if not len(gallery.images) == len(rows) == pictures or short:
        few = f", {len(short)} of them with fewer than five captions ({short[0]})" if short else ""
        raise ValueError(
            f"protocol {name} is for {pictures:,} pictures, each a group of its own with five captions or more; here "
            f"are {len(gallery.images):,} pictures in {len(rows):,} groups{few}"
        )
    return np.concatenate([columns[group][:5] for group in rows])


def published_five_thousand(scores: Scores, gallery: Gallery, name: str) -> Part:
    """COCO's 5,000 test pictures (Karpathy's) and their 25,000 captions in the published order, five a picture.

    Raises:
        ValueError: the caption ids are not known, or these are other pictures and captions; it counts them.
        ModuleNotFoundError: eccv-caption, which brings the ids, is not installed.
    """
    if gallery.caption_ids is None:
        raise ValueError(
            f"protocol {name} goes by COCO's own ids of pictures and captions, and these captions come without; it is "
            "for dataset.name = 'coco' with Karpathy's split"
        )
    order, owners = captions_in_order().tolist(), pictures_of_captions()
    columns = {number: i for i, number in enumerate(gallery.caption_ids.tolist())}
    rows = {number: i for i, number in enumerate(numbers(gallery.images))}
    wanted = [owners[caption] for caption in order[::5]]
    lacking = sum(caption not in columns for caption in order), sum(picture not in rows for picture in wanted)
    if any(lacking) or len(gallery.images) != len(wanted):
        raise ValueError(
            f"protocol {name} is for the 5,000 pictures of Karpathy's test split with five captions each; here are "
            f"{len(gallery.images):,} pictures, and of those 5,000 pictures and 25,000 captions {lacking[1]:,} and "
            f"{lacking[0]:,} are not here. It can be asked for with --split test on dataset.split_by = 'karpathy'"
        )
    found = np.array([columns[caption] for caption in order])
    return part(scores, gallery, np.array([rows[picture] for picture in wanted]), found)


def numbers(groups: Sequence[str] | NDArray[np.str_]) -> list[int]:
    """Groups that are numbers, as COCO's are; -1 for any other, which is nobody's id."""
    return [int(group) if group.isdecimal() else -1 for group in np.asarray(groups).tolist()]
