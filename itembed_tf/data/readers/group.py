"""The group: one picture with its captions, or one identity with all of its pictures and captions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

SPLITS = ("train", "dev", "test")


class FilePart(NamedTuple):
    """An image file that lies inside a larger file, such as a shard."""

    path: str
    offset: int  # bytes
    length: int  # bytes


ImageSource: TypeAlias = str | bytes | FilePart  # a path, the bytes of an image file, or where those lie


def read_image(picture: ImageSource) -> bytes:
    """The content of an image file.

    Raises:
        OSError: it cannot be read; a file that ends before the part does is named.
    """
    if isinstance(picture, bytes):
        return picture
    part = picture if isinstance(picture, FilePart) else FilePart(picture, 0, -1)
    with open(part.path, "rb") as file:
        file.seek(part.offset)
        data = file.read(part.length)
    if len(data) < part.length:
        raise OSError(f"{part.path} ends before byte {part.offset + part.length}; it was cut short: pack it again")
    return data


@dataclass(frozen=True)
class Group:
    """What one class of the instance loss stands for.

    Attributes:
        id: unique in its data set, and the same in every run.
        images: paths, bytes of image files, or parts of files; at least one.
        captions: sentences, each true of every image of the group; at least one.
        split: "train", "dev" or "test".
        label: name of the class where the data set has one (an identity, a product), else "".
        caption_ids: the data set's own number of each caption, by which its other annotations find it (COCO); or ().
    """

    id: str
    images: tuple[ImageSource, ...]
    captions: tuple[str, ...]
    split: str
    label: str = ""
    caption_ids: tuple[int, ...] = ()


def bucket(key: str, buckets: int) -> int:
    """A number in [0, buckets) that depends on `key` alone: the MD5 of its UTF-8 bytes, modulo `buckets`."""
    return int(hashlib.md5(key.encode("utf-8"), usedforsecurity=False).hexdigest(), 16) % buckets


def some(items: Iterable[str], shown: int = 20) -> str:
    """The first items, one a line, and how many more there are: for an error that lists what is wrong."""
    lines = list(items)
    more = [f"  ... and {len(lines) - shown} more"] if len(lines) > shown else []
    return "\n".join([f"  {line}" for line in lines[:shown]] + more)


def check_groups(groups: Sequence[Group], name: str) -> None:
    """Refuse groups that no run should see.

    Raises:
        ValueError: an id used twice, a group without image or caption, an unknown split, or one picture in two groups
            (and so, perhaps, in two splits); all of them are listed, up to 20.
    """
    problems = []
    ids: set[str] = set()
    owner: dict[ImageSource, Group] = {}
    for group in groups:
        if group.id in ids:
            problems.append(f"{group.id}: two groups have this id")
        ids.add(group.id)
        if not group.images:
            problems.append(f"{group.id}: no image")
        if not any(caption.strip() for caption in group.captions):
            problems.append(f"{group.id}: no caption")
        if group.caption_ids and len(group.caption_ids) != len(group.captions):
            problems.append(f"{group.id}: {len(group.caption_ids)} ids of {len(group.captions)} captions")
        if group.split not in SPLITS:
            problems.append(f"{group.id}: split {group.split!r}; it must be one of {', '.join(SPLITS)}")
        for image in group.images:
            other = owner.setdefault(image, group)
            if other is not group:
                what = image if isinstance(image, str) else "one drawing"
                problems.append(f"{what}: in {other.id} ({other.split}) and in {group.id} ({group.split})")
    if problems:
        raise ValueError(f"The data set {name} cannot be used; repair what is listed:\n{some(problems)}")
