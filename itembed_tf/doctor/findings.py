"""A data set -> everything that is wrong with it: its pictures in one pass, its captions in another."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from itembed_tf.config import Config
from itembed_tf.data.readers import Group, ImageSource, read_image
from itembed_tf.data.readers.group import SPLITS
from itembed_tf.data.readers.merge import joined
from itembed_tf.data.unreadable import small_pictures
from itembed_tf.doctor.alike import SIDE, Pair, find_alike
from itembed_tf.doctor.captions import look_at_captions


def examine(groups: Sequence[Group], config: Config) -> dict[str, Any]:
    """What doctor.json holds.

    ::

        {"schema": 1, "dataset", "pictures": n, "groups": {split: n}, "mirrored": whether mirror images count,
         "alike": [{"groups": [id, ...], "splits": [...],
                    "pairs": [{"groups": [id, id], "images": [name, name], "difference", "mirrored", "same_file"}]}],
         "leaks": sets of "alike" that are in several splits,
         "captions": as `look_at_captions` gives it,
         "broken": [{"image", "reason"}]}

    3 KB are kept of every picture, and as much again while they are compared.
    """
    names, owners, pixels, broken = _read(groups)
    mirrored = config.augmentation.flip
    pairs = find_alike(pixels, owners, mirrored=mirrored)
    alike = _sets(groups, names, owners, pairs)
    return {
        "schema": 1,
        "dataset": config.dataset.name,
        "pictures": len(pixels) + len(broken),
        "groups": {split: n for split in SPLITS if (n := Counter(group.split for group in groups)[split])},
        "mirrored": mirrored,
        "alike": alike,
        "leaks": sum(len(found["splits"]) > 1 for found in alike),
        "captions": look_at_captions(groups, config),
        "broken": broken,
    }


Named = tuple[str, ImageSource]


def _read(groups: Sequence[Group]) -> tuple[list[Named], np.ndarray, np.ndarray, list[dict[str, str]]]:
    """Of every picture that can be read: name and source, number of its group, pixels; and those that cannot."""
    sources = [(number, image) for number, group in enumerate(groups) for image in group.images]
    names: list[Named] = []
    owners: list[int] = []
    broken = []
    pixels = np.zeros((len(sources), SIDE, SIDE, 3), np.uint8)
    for (owner, image), (name, picture) in zip(sources, small_pictures(groups, SIDE), strict=True):
        if isinstance(picture, str):
            broken.append({"image": name, "reason": picture})
            continue
        pixels[len(names)] = picture
        names.append((name, image))
        owners.append(owner)
    return names, np.array(owners, np.int64), pixels[: len(names)], broken


def _sets(
    groups: Sequence[Group], names: Sequence[Named], owners: np.ndarray, pairs: Sequence[Pair]
) -> list[dict[str, Any]]:
    """Sets of groups that show the same with the pairs by which they were found; leaks first, then the large ones."""
    found: list[dict[str, Any]] = []
    for pair in pairs:
        (one, first), (other, second) = names[pair.first], names[pair.second]
        found.append(
            {
                "groups": [groups[owners[picture]].id for picture in (pair.first, pair.second)],
                "images": [one, other],
                "difference": round(pair.difference, 2),
                "mirrored": pair.mirrored,
                "same_file": not pair.mirrored and _same_bytes(first, second),
            }
        )
    split = {group.id: group.split for group in groups}
    sets: list[dict[str, Any]] = []
    place: dict[str, list[dict[str, Any]]] = {}
    for ids in joined(entry["groups"] for entry in found):
        splits = {split[id] for id in ids}
        sets.append({"groups": list(ids), "splits": [s for s in SPLITS if s in splits], "pairs": []})
        place |= dict.fromkeys(ids, sets[-1]["pairs"])
    for entry in found:
        place[entry["groups"][0]].append(entry)
    return sorted(sets, key=lambda entry: (len(entry["splits"]) < 2, -len(entry["groups"]), entry["groups"]))


def _same_bytes(one: ImageSource, other: ImageSource) -> bool:
    if isinstance(one, str) and isinstance(other, str) and os.path.getsize(one) != os.path.getsize(other):
        return False
    return read_image(one) == read_image(other)
