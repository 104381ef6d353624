"""The group, one image with its captions or one identity with all its images and captions, and checks of groups."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from itembed_tf.config.choices import SPLITS
from itembed_tf.data.readers.cells import TableCell, read_cell

# Endings of image files, read or not: `itembed_tf.data.images` says which formats are decoded.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".heic", ".heif", ".avif", ".jp2", ".svg", ".psd", ".ico"),
)


class FilePart(NamedTuple):
    """An image file that is a part of a larger file, such as a shard."""

    path: str
    offset: int  # bytes
    length: int  # bytes


MAX_BYTES = 1 << 30  # of an image file; 50 million pixels of four 16-bit channels are 400 MB
# A path, the bytes of an image file, a part of a file, or a cell of a Parquet file.
ImageSource: TypeAlias = str | bytes | FilePart | TableCell


def read_image(image: ImageSource) -> bytes:
    """Read the bytes of an image file.

    Raises:
        OSError: it cannot be read, is no regular file or above `MAX_BYTES`, or ends before the part does.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, TableCell):
        return read_cell(image)
    part = image if isinstance(image, FilePart) else FilePart(image, 0, -1)
    status = os.stat(part.path)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):  # opening a named pipe would wait
        raise OSError(f"{part.path} is a pipe, a socket or a device, not a file")
    size = status.st_size if part.length < 0 else part.length
    if size > MAX_BYTES:
        raise OSError(f"{part.path}: an image of {size:,} bytes; the maximum of an image file is {MAX_BYTES:,}")
    with open(part.path, "rb") as file:
        file.seek(part.offset)
        data = file.read(part.length)
    if len(data) < part.length:
        raise OSError(
            f"{part.path} is truncated (ends before byte {part.offset + part.length}); copy it again, or, if it is a "
            "shard, rerun `itembed prepare`"
        )
    return data


def image_size(image: ImageSource) -> int:
    """The size of an image file in bytes, without reading it; for a cell that of its Parquet file.

    Raises:
        OSError: the file is missing.
    """
    if isinstance(image, bytes):
        return len(image)
    if isinstance(image, FilePart):
        return image.length
    return os.path.getsize(image if isinstance(image, str) else image.path)


@dataclass(frozen=True)
class Group:
    """One class of the instance loss.

    Attributes:
        id: unique in the dataset, and the same in every run.
        images: paths, bytes of image files, parts of files or cells of Parquet files; at least one.
        captions: each describes every image of the group; at least one.
        split: "train", "dev" or "test".
        label: name of the class where the dataset has one (an identity, a product), else "".
        caption_ids: the dataset's own id of each caption, which its other annotations refer to (COCO); or ().
    """

    id: str
    images: tuple[ImageSource, ...]
    captions: tuple[str, ...]
    split: str
    label: str = ""
    caption_ids: tuple[int, ...] = ()


def image_ids(groups: Sequence[Group]) -> list[str]:
    """The id of each image of groups: the group's id, and of a group with several images, ``ID#1``, ``ID#2``, ..."""
    return [
        group.id if len(group.images) == 1 else f"{group.id}#{number}"
        for group in groups
        for number in range(1, len(group.images) + 1)
    ]


def bucket(key: str, buckets: int) -> int:
    """Hash bucket in [0, buckets) of a key: the MD5 of its UTF-8 bytes, modulo `buckets`."""
    return int(hashlib.md5(key.encode("utf-8"), usedforsecurity=False).hexdigest(), 16) % buckets


def format_items(items: Iterable[str], limit: int = 20) -> str:
    """List the first items for an error message, one a line, and count the others."""
    lines = list(items)
    more = [f"  ... and {len(lines) - limit} more"] if len(lines) > limit else []
    return "\n".join([f"  {line}" for line in lines[:limit]] + more)


def check_groups(groups: Sequence[Group], name: str) -> None:
    """Check that groups are valid and share neither ids nor images.

    Raises:
        ValueError: a duplicate id, a group without image or caption, an unknown split, or an image in two groups (and
            so, perhaps, in two splits); the message lists all of them, up to 20.
    """
    problems = []
    ids: set[str] = set()
    owner: dict[ImageSource, Group] = {}
    for group in groups:
        if group.id in ids:
            problems.append(f"{group.id}: duplicate id of two groups")
        ids.add(group.id)
        if not group.images:
            problems.append(f"{group.id}: no image")
        if not any(caption.strip() for caption in group.captions):
            problems.append(f"{group.id}: no caption")
        if group.caption_ids and len(group.caption_ids) != len(group.captions):
            problems.append(f"{group.id}: {len(group.caption_ids)} caption ids for {len(group.captions)} captions")
        if group.split not in SPLITS:
            problems.append(f"{group.id}: split {group.split!r}; it must be one of {', '.join(SPLITS)}")
        for image in group.images:
            other = owner.setdefault(image, group)
            if other is not group:
                what = image if isinstance(image, str) else "one image"
                problems.append(f"{what}: in {other.id} ({other.split}) and in {group.id} ({group.split})")
    if problems:
        raise ValueError(f"the dataset {name} is inconsistent; repair these groups:\n{format_items(problems)}")
