"""Flickr30k reader: 31,783 images with five captions each, Karpathy's split or that of Flickr30k Entities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from itembed_tf.data.readers.group import SPLITS, Group
from itembed_tf.data.readers.karpathy import PAGE, read_karpathy
from itembed_tf.data.readers.problems import format_problems
from itembed_tf.data.readers.source import (
    check_images,
    find_path,
    open_root,
    read_lines,
    warn_of_caption_counts,
    warn_unless_official,
)
from itembed_tf.data.readers.tokens import read_tokens

IMAGES = ("flickr30k-images/", "flickr30k_images/")
KARPATHY = "dataset_flickr30k.json"
TOKENS = ("results_20130124.token",)
LISTS = {"train": "train.txt", "dev": "val.txt", "test": "test.txt"}
ADVICE = (
    "Images and results_20130124.token: request them at https://shannon.cs.illinois.edu/DenotationGraph/. "
    f"{KARPATHY}: {PAGE}. train.txt, val.txt, test.txt: https://github.com/BryanPlummer/flickr30k_entities. "
    "docs/datasets.md shows the expected directory layout."
)
# checksum(*sorted image names). Entities: the three lists in its repository. Karpathy: the 29,000, 1,014 and 1,000
# names that Multi30K publishes; its captions of val and test are those of Karpathy's split in the references of "Show,
# Attend and Tell" (kelvinxu/arctic-captions).
OFFICIAL = {
    "karpathy": {
        "train": "2d54ecc7f66fbcb06c87ccf4f0c5e6bb38cdc633161bc9ee3675a6438b719a0f",
        "dev": "02642416820ac84e3a8b03d11f72f94800c99c08976fec4cc2ed1dafe76d4dce",
        "test": "1d8bbf52b9635e7eb9fbce98609ea22b90d4fe71cc210948668dae309a432fe6",
    },
    "entities": {
        "train": "b9143881c50970987ab247713020c2ebc369cdc4135daf9da7dc1aa40a47463e",
        "dev": "1e5eac433ef678f452f3ed3cf65dfb6fed9c4e1089ccbb76cf1c895bd0695576",
        "test": "0c5a80f38ccc042edb327418815db59dae12d1e6da2b524b711cb927f5ca26a4",
    },
}


def read(*, root: str, splits: Sequence[str], split_by: str, **_others: object) -> list[Group]:
    """Read one group per image.

    ::

        root/flickr30k-images/*.jpg           or flickr30k_images/
        root/dataset_flickr30k.json           split_by = "karpathy": splits and captions (29,000, 1,014, 1,000)
        root/results_20130124.token           split_by = "entities": captions
        root/train.txt, val.txt, test.txt     split_by = "entities": names without .jpg (29,783, 1,000, 1,000)

    The two test sets have different images. Groups whose image file is missing are kept; a warning counts them.

    Raises:
        FileNotFoundError: a file or the image folder is missing, or all images are.
        ValueError: a file cannot be parsed, or an image has no captions or is in two lists.
    """
    folder = open_root(root, "Flickr30k", ADVICE)
    images = find_path(folder, IMAGES, "the image folder", ADVICE)
    if split_by == "karpathy":
        path = find_path(folder, (KARPATHY,), "Karpathy's file", ADVICE)
        groups = read_karpathy(path, "flickr30k", {"": images}, ADVICE)
    else:
        path = find_path(folder, TOKENS, "the caption file", ADVICE)
        groups = _by_lists(folder, images, read_tokens(path, ADVICE), splits)
    for split in splits:
        names = [Path(str(group.images[0])).name for group in groups if group.split == split]
        warn_unless_official(
            path if split_by == "karpathy" else folder / LISTS[split], names, split, OFFICIAL[split_by][split]
        )
    used = [group for group in groups if group.split in splits]
    warn_of_caption_counts(used, 5, 5, path)
    check_images(used, ADVICE)
    return groups


def _by_lists(folder: Path, images: Path, captions: dict[str, list[str]], splits: Sequence[str]) -> list[Group]:
    """The images of Entities' lists. Lists of splits that are not requested are optional, and checked if they exist."""
    lists: dict[str, list[str]] = {}
    for split in SPLITS:
        if split in splits or (folder / LISTS[split]).is_file():
            path = find_path(folder, (LISTS[split],), f"the list of {split}", ADVICE)
            lists[split] = [line.strip() for line in read_lines(path, ADVICE)]
    owner: dict[str, str] = {}
    problems = []
    groups = []
    for split, names in lists.items():
        for name in filter(None, names):
            file = name if name.endswith(".jpg") else f"{name}.jpg"
            if file in owner:
                problems.append(f"{LISTS[split]}: {name} is also in {LISTS[owner[file]]}")
            elif file not in captions:
                problems.append(f"{LISTS[split]}: {name[:60]!r} has no caption in {TOKENS[0]}")
            else:
                groups.append(Group(name.removesuffix(".jpg"), (str(images / file),), tuple(captions[file]), split))
            owner[file] = split
    if problems:
        raise ValueError(f"{folder}: {format_problems(problems, 'lines in the lists')}\n{ADVICE}")
    return groups
