"""Dataset readers: each reads one dataset, from a folder or from installed packages, as groups with splits.

To add a dataset, write its reader as a module of this package, and add one line to `DATASETS` and its name to
`itembed_tf.config.choices`.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from itembed_tf.config import arguments, choices
from itembed_tf.config.schema import Dataset
from itembed_tf.data.readers import coco, flickr8k, flickr30k, folder, openmoji, person_search
from itembed_tf.data.readers.cells import TableCell
from itembed_tf.data.readers.empty_captions import EmptyCaption, drop_empty_captions
from itembed_tf.data.readers.group import (
    SPLITS,
    FilePart,
    Group,
    ImageSource,
    check_groups,
    format_items,
    image_ids,
    image_size,
    read_image,
)
from itembed_tf.data.readers.html_entities import plain_captions
from itembed_tf.data.readers.merge import merge_groups
from itembed_tf.data.readers.shards import read_shards

__all__ = [
    "DATASETS",
    "EmptyCaption",
    "FilePart",
    "Group",
    "ImageSource",
    "ReadData",
    "TableCell",
    "attribution",
    "image_ids",
    "image_size",
    "known_license",
    "read_data",
    "read_dataset",
    "read_image",
    "read_shards",
]

# A reader is called with all settings of [dataset] but the name, and uses those that concern it. It may return groups
# of other splits too, which are counted as unused.
DATASETS: dict[str, Callable[..., list[Group]]] = {
    "openmoji": openmoji.read,
    "flickr8k": flickr8k.read,
    "flickr30k": flickr30k.read,
    "coco": coco.read,
    "cuhk-pedes": partial(person_search.read, person_search.CUHK_PEDES),
    "icfg-pedes": partial(person_search.read, person_search.ICFG_PEDES),
    "rstpreid": partial(person_search.read, person_search.RSTPREID),
    "folder": folder.read,
}
# Allowed values of split_by by dataset. Those with several splits in use and no official one have no "base": the
# config must choose.
SPLIT_BY = choices.DATASETS
FILE_ORDER = ("coco",)  # COCO 1K is evaluated on five folds of a thousand images in the order of the file
LICENSES = {"openmoji": "CC BY-SA 4.0; all emojis designed by OpenMoji, https://openmoji.org"}
ATTRIBUTIONS: dict[str, Callable[[], str]] = {"openmoji": openmoji.attribution}


@dataclass(frozen=True)
class ReadData:
    """What reading a dataset gives.

    Attributes:
        groups: of the requested splits.
        unused_groups: number of groups in each other split, as far as it was read.
        without_caption: image files in the folder that no caption names, relative to it (dataset "folder").
        empty_captions: captions of the requested splits that were left out because they are empty.
    """

    groups: list[Group]
    unused_groups: dict[str, int]
    without_caption: list[str]
    empty_captions: list[EmptyCaption]

    @property
    def images_without_caption(self) -> int:
        """The number of image files without a caption."""
        return len(self.without_caption)


def read_dataset(**settings: Any) -> list[Group]:
    """Read the groups of a dataset, as `read_data` does; settings that are not given have their defaults."""
    return read_data(**{**arguments(Dataset()), **settings}).groups


def read_data(
    *,
    name: str,
    root: str,
    shards: str,
    splits: Sequence[str],
    split_by: str,
    held_out_percent: int,
    captions: str,
    images: str,
    image_column: str,
    caption_column: str,
    merge: str,
    leaks: str,
) -> ReadData:
    """Read a dataset: the groups of the requested splits, sorted by id (COCO: in the order of its file).

    HTML entities in captions, such as ``&amp;``, are replaced by their characters.

    Args:
        name: a key of `DATASETS`.
        root: the dataset's folder; "" for datasets in installed packages.
        shards: folder that `itembed prepare` wrote, read instead of `root`; "" for none.
        splits: one or more of "train", "dev", "test". Files of other splits need not exist.
        split_by: which split. openmoji: "base" keeps all variants of an emoji in one split, "id" does not. flickr8k:
            "base", its official lists, or "karpathy". flickr30k: "karpathy" or "entities". coco: "karpathy" or
            "random". All others have one split, "base".
        held_out_percent: datasets without splits: percentage of groups in dev, and the same in test.
        captions, images, image_column, caption_column: dataset "folder": its caption file, the folder of its images,
            and the columns of the caption file (`itembed_tf.data.readers.folder`).
        merge: file of groups that show the same thing and are merged (`itembed_tf.data.readers.merge`); "" for none.
        leaks: what to do with such groups in several splits: "refuse", "drop" or "keep".

    Raises:
        ValueError: an unknown name, split or split_by, an empty split, an inconsistent dataset, or a merge file with
            groups in several splits. The message lists all problems, up to 20.
        FileNotFoundError: a list, a caption file, the image folder or the merge file is missing.
        ModuleNotFoundError: the packages of openmoji are missing.
    """
    if name not in DATASETS:
        raise ValueError(f"dataset.name = {name!r} is unknown; it must be one of {', '.join(DATASETS)}")
    if not splits or len(set(splits)) != len(splits) or not set(splits) <= set(SPLITS):
        raise ValueError(f"dataset.splits = {list(splits)}; it must be one or more of {', '.join(SPLITS)}, each once")
    if split_by not in SPLIT_BY[name]:
        allowed = " or ".join(map(repr, SPLIT_BY[name]))
        raise ValueError(f"dataset.split_by = {split_by!r} is not a split of {name}; it must be {allowed}")
    if shards:
        everything = read_shards(shards, name=name, split_by=split_by, splits=splits)
    else:
        everything = DATASETS[name](
            root=root,
            splits=tuple(splits),
            split_by=split_by,
            held_out_percent=held_out_percent,
            captions=captions,
            images=images,
            image_column=image_column,
            caption_column=caption_column,
        )
    groups = [plain_captions(group) for group in everything if group.split in splits]
    groups, empty_captions = drop_empty_captions(groups)
    if name not in FILE_ORDER:
        groups.sort(key=lambda group: group.id)
    place = shards or root
    if empty_captions:
        _warn_of_empty_captions(empty_captions, groups, place)
    check_groups(groups, f"{name} in {place}" if place else name)
    groups = merge_groups(groups, merge=merge, leaks=leaks)
    sizes = Counter(group.split for group in groups)
    empty = [split for split in splits if not sizes[split]]
    if empty:
        raise ValueError(
            f"the dataset {name!r} has no group in {' and '.join(empty)} ({dict(sizes) or 'no groups at all'}); use "
            f"splits that it has: dataset.splits = {sorted(sizes) or ['train']}"
        )
    others = Counter(group.split for group in everything)
    return ReadData(
        groups,
        {split: others[split] for split in SPLITS if split not in splits and others[split]},
        folder.images_without_caption(root, images, everything) if name == "folder" and not shards else [],
        empty_captions,
    )


def _warn_of_empty_captions(empty: Sequence[EmptyCaption], groups: Sequence[Group], place: str) -> None:
    kept = {group.id for group in groups}
    without = [each.group for each in empty if each.group not in kept]
    listed = format_items((each.group for each in empty), 5)
    warnings.warn(
        f"{place}: {len(empty):,} captions are empty and ignored, and with them {len(set(without)):,} groups that "
        f"have no other caption:\n{listed}",
        stacklevel=3,
    )


def attribution(name: str) -> str:
    """The licence notice that must accompany images of the dataset wherever they are shown; "" if there is none."""
    return ATTRIBUTIONS[name]() if name in ATTRIBUTIONS else ""


def known_license(name: str) -> str:
    """The licence of a dataset in words; "" if it is not known."""
    return LICENSES.get(name, "")
