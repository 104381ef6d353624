"""Flickr30k: 31,783 photographs with five captions each, by Karpathy's split or by that of Flickr30k Entities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from itembed_tf.data.readers.group import SPLITS, Group, some
from itembed_tf.data.readers.karpathy import PAGE, read_karpathy
from itembed_tf.data.readers.source import (
    check_pictures,
    find,
    open_root,
    read_lines,
    warn_of_captions,
    warn_unless_official,
)
from itembed_tf.data.readers.tokens import read_tokens

PICTURES = ("flickr30k-images/", "flickr30k_images/")
KARPATHY = "dataset_flickr30k.json"
TOKENS = ("results_20130124.token",)
LISTS = {"train": "train.txt", "dev": "val.txt", "test": "test.txt"}
ADVICE = (
    "Photographs and results_20130124.token: ask for them at https://shannon.cs.illinois.edu/DenotationGraph/. "
    f"{KARPATHY}: {PAGE}. train.txt, val.txt, test.txt: https://github.com/BryanPlummer/flickr30k_entities. "
    "docs/data_sets.md shows how they must lie."
)
# checksum(*sorted picture names). Entities: of the three lists in its repository. Karpathy: of the 29,000, 1,014 and
# 1,000 names that Multi30K publishes; its captions of val and test are those of Karpathy's split in the references of
# "Show, Attend and Tell" (kelvinxu/arctic-captions).
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
    """One group a photograph: its path and its captions.

    ::

        root/flickr30k-images/*.jpg           or flickr30k_images/
        root/dataset_flickr30k.json           split_by = "karpathy": splits and captions (29,000, 1,014, 1,000)
        root/results_20130124.token           split_by = "entities": captions
        root/train.txt, val.txt, test.txt     split_by = "entities": names without .jpg (29,783, 1,000, 1,000)

    The two test sets are different photographs. A file that is missing here and there keeps its group.

    Raises:
        FileNotFoundError: a file or the folder of pictures is missing, or none of the pictures is in it.
        ValueError: a file that cannot be read, a picture without captions or in two lists.
    """
    folder = open_root(root, "Flickr30k", ADVICE)
    pictures = find(folder, PICTURES, "the folder of pictures", ADVICE)
    if split_by == "karpathy":
        path = find(folder, (KARPATHY,), "Karpathy's file", ADVICE)
        groups = read_karpathy(path, "flickr30k", {"": pictures}, splits, ADVICE)
    else:
        path = find(folder, TOKENS, "the file of captions", ADVICE)
        groups = _by_lists(folder, pictures, read_tokens(path, ADVICE), splits)
    for split in splits:
        names = [Path(str(group.images[0])).name for group in groups if group.split == split]
        warn_unless_official(
            path if split_by == "karpathy" else folder / LISTS[split], names, split, OFFICIAL[split_by][split]
        )
    warn_of_captions(groups, 5, 5, path)
    check_pictures(groups, ADVICE)
    return groups


def _by_lists(folder: Path, pictures: Path, captions: dict[str, list[str]], splits: Sequence[str]) -> list[Group]:
    """The pictures of Entities' lists. Those of splits that are not asked for may be absent, but not contradict."""
    lists = {
        split: [
            line.strip() for line in read_lines(find(folder, (LISTS[split],), f"the list of {split}", ADVICE), ADVICE)
        ]
        for split in SPLITS
        if split in splits or (folder / LISTS[split]).is_file()
    }
    owner: dict[str, str] = {}
    problems = []
    groups = []
    for split, names in lists.items():
        for name in filter(None, names):
            file = name if name.endswith(".jpg") else f"{name}.jpg"
            if file in owner:
                problems.append(f"{LISTS[split]}: {name} stands in {LISTS[owner[file]]} already")
            elif file not in captions:
                problems.append(f"{LISTS[split]}: {name[:60]!r} has no caption in {TOKENS[0]}")
            elif split in splits:
                groups.append(Group(name.removesuffix(".jpg"), (str(pictures / file),), tuple(captions[file]), split))
            owner[file] = split
    if problems:
        raise ValueError(f"{folder}: {len(problems)} lines of the lists cannot be used:\n{some(problems)}\n{ADVICE}")
    return groups
