"""Readers of captioned pictures, one file a data set: a folder on disk, or installed packages -> groups with a split.

To add one, write its reader in a file beside these, add one line to `DATASETS` and the name to the choices of
`dataset.name` in `itembed_tf.config.schema`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from itembed_tf.data.readers import coco, flickr8k, flickr30k, folder, openmoji, person_search
from itembed_tf.data.readers.group import SPLITS, FilePart, Group, ImageSource, check_groups, read_image
from itembed_tf.data.readers.merge import merge_groups
from itembed_tf.data.readers.shards import read_shards

__all__ = ["DATASETS", "FilePart", "Group", "ImageSource", "attribution", "read_dataset", "read_image"]

# Every reader is called with all settings of the section but the name, and takes those that concern it.
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
# Values of split_by that a data set knows. Where several splits are in use and none is the data set's own, "base" is
# not among them: whoever trains on it must say which.
SPLIT_BY = {
    "openmoji": ("base", "id"),
    "flickr8k": ("base", "karpathy"),
    "flickr30k": ("karpathy", "entities"),
    "coco": ("karpathy", "random"),
}
FILE_ORDER = ("coco",)  # COCO 1K is measured on five thousands in the order of the file
ATTRIBUTIONS: dict[str, Callable[[], str]] = {"openmoji": openmoji.attribution}


def read_dataset(
    *,
    name: str,
    root: str,
    shards: str,
    splits: Sequence[str],
    split_by: str,
    held_out_percent: int,
    merge: str,
    leaks: str,
) -> list[Group]:
    """Read a data set's groups of the splits asked for, sorted by id; those of coco in the order of its file.

    Args:
        name: which data set, one of `DATASETS`.
        root: its folder; "" for those that come with installed packages.
        shards: folder into which `python -m itembed_tf.prepare` packed it, read instead of `root`; "" for none.
        splits: some of "train", "dev", "test"; what belongs to the others need not be on disk.
        split_by: which split. openmoji: "base" keeps all variants of an emoji in one split, "id" does not. flickr8k:
            "base", its official lists, or "karpathy". flickr30k: "karpathy" or "entities". coco: "karpathy" or
            "random". All others have one split, "base".
        held_out_percent: folder without splits: percent of the groups for dev, and as much for test.
        merge: file of groups that show one thing and become one (`itembed_tf.data.readers.merge`); "" for none.
        leaks: what to do where that would join splits: "refuse", "drop" or "keep".

    Raises:
        ValueError: an unknown name, split or split_by, a split without groups, a data set that contradicts itself, or a
            merge file that joins splits (all that is wrong is listed, up to 20).
        FileNotFoundError: a list, a caption file, the picture folder or the merge file is missing; it says which.
        ModuleNotFoundError: openmoji without its packages.
    """
    if name not in DATASETS:
        raise ValueError(f"dataset.name = {name!r} is not known; choose one of {', '.join(DATASETS)}")
    if not splits or len(set(splits)) != len(splits) or not set(splits) <= set(SPLITS):
        raise ValueError(f"dataset.splits = {list(splits)}; it must hold some of {', '.join(SPLITS)}, each once")
    if split_by not in SPLIT_BY.get(name, ("base",)):
        choices = " or ".join(map(repr, SPLIT_BY.get(name, ("base",))))
        raise ValueError(f"dataset.split_by = {split_by!r} is no split of {name}; it must be {choices}")
    if shards:
        groups = read_shards(shards, name=name, split_by=split_by, splits=splits)
    else:
        groups = DATASETS[name](root=root, splits=tuple(splits), split_by=split_by, held_out_percent=held_out_percent)
    groups = [group for group in groups if group.split in splits]
    if name not in FILE_ORDER:
        groups.sort(key=lambda group: group.id)
    place = shards or root
    check_groups(groups, f"{name} in {place}" if place else name)
    groups = merge_groups(groups, merge=merge, leaks=leaks)
    sizes = Counter(group.split for group in groups)
    empty = [split for split in splits if not sizes[split]]
    if empty:
        raise ValueError(
            f"The data set {name!r} has no group in {' and '.join(empty)} ({dict(sizes) or 'no groups at all'}). "
            f"Ask only for splits that it has, for example dataset.splits = {sorted(sizes) or ['train']}"
        )
    return groups


def attribution(name: str) -> str:
    """The licence line that must stand wherever pictures of the data set are shown; "" if there is none."""
    return ATTRIBUTIONS[name]() if name in ATTRIBUTIONS else ""
