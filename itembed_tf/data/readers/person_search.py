"""Readers of text-based person search: CUHK-PEDES, ICFG-PEDES, RSTPReid. One group per identity.

The protocol has text queries only: a caption retrieves images, and all images of its identity are relevant.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itembed_tf.data.readers.group import SPLITS, Group, format_items
from itembed_tf.data.readers.problems import format_problems
from itembed_tf.data.readers.source import check_images, find_path, is_caption, open_root, path_problem, read_json

SPLIT_NAMES = {"train": "train", "val": "dev", "test": "test"}


@dataclass(frozen=True)
class Benchmark:
    """One dataset: its annotation file, its published sizes, and its source."""

    name: str
    files: tuple[str, ...]
    key: str  # of an image's path in an entry
    sizes: dict[str, tuple[int, int, int]]  # identities, images, captions
    page: str
    # Identities of each split, for files without splits.
    ids: dict[str, range] = field(default_factory=dict)
    # Whether ids are unique over all splits; for ICFG-PEDES that is known for train alone.
    global_ids: bool = True


CUHK_PEDES = Benchmark(
    name="CUHK-PEDES",
    files=("reid_raw.json", "caption_all.json"),
    key="file_path",
    sizes={"train": (11003, 34054, 68126), "dev": (1000, 3078, 6158), "test": (1000, 3074, 6156)},
    page="https://github.com/ShuangLI59/Person-Search-with-Natural-Language-Description",
    ids={"train": range(1, 11004), "dev": range(11004, 12004), "test": range(12004, 13004)},
)
ICFG_PEDES = Benchmark(
    name="ICFG-PEDES",
    files=("ICFG-PEDES.json", "ICFG_PEDES.json"),
    key="file_path",
    sizes={"train": (3102, 34674, 34674), "test": (1000, 19848, 19848)},
    page="https://github.com/zifyloo/SSAN",
    global_ids=False,
)
RSTPREID = Benchmark(
    name="RSTPReid",
    files=("data_captions.json",),
    key="img_path",
    sizes={"train": (3701, 18505, 37010), "dev": (200, 1000, 2000), "test": (200, 1000, 2000)},
    page="https://github.com/NjtechCVLab/RSTPReid-Dataset (an early file had other splits; use the newest)",
)


@dataclass(frozen=True)
class Entry:
    image: str
    identity: int
    split: str
    captions: tuple[str, ...]


def read(benchmark: Benchmark, *, root: str, splits: Sequence[str], **_others: object) -> list[Group]:
    """Read one group per identity, with its number as `label`.

    ::

        root/imgs/...                  images, at the paths in the annotation file
        root/reid_raw.json             CUHK-PEDES (or caption_all.json); ICFG-PEDES.json; RSTPReid: data_captions.json

    The annotation file is a list of {"id": 1, "file_path": "cam_a/000.jpg", "captions": ["...", "..."], "split":
    "train"}; RSTPReid has img_path. CUHK-PEDES' caption_all.json has no "split": identities 1 to 11,003 are train, the
    next thousand val and the last thousand test, as in reid_raw.json.

    Raises:
        FileNotFoundError: the annotation file or imgs is missing, or all images are.
        ValueError: the file cannot be parsed, invalid entries, or an identity in two splits.
    """
    advice = f"{benchmark.name}: request it at {benchmark.page}. docs/datasets.md shows the expected directory layout."
    folder = open_root(root, benchmark.name, advice)
    images = find_path(folder, ("imgs/",), "the image folder", advice)
    path = find_path(folder, benchmark.files, "the annotation file", advice)
    content = read_json(path, advice, without=("processed_tokens",))
    if not isinstance(content, list) or not content:
        raise ValueError(f"{path} must be a list of images with captions. {advice}")
    problems: list[str] = []
    entries = [entry for i, raw in enumerate(content) if (entry := _entry(benchmark, raw, i, problems))]
    _check(benchmark, entries, problems)
    if problems:
        raise ValueError(f"{path}: {format_problems(problems, 'entries')}\n{advice}")
    groups = _groups(entries, images)
    _warn_of_sizes(benchmark, path, groups, splits, advice)
    check_images([group for group in groups if group.split in splits], advice)
    return groups


def _entry(benchmark: Benchmark, raw: Any, number: int, problems: list[str]) -> Entry | None:
    """Validate one entry; returns None and adds to `problems` if it is invalid."""
    problem = ""
    if not isinstance(raw, dict) or not {"id", benchmark.key, "captions"} <= raw.keys():
        problem = f'not an object with "id", "{benchmark.key}" and "captions"'
    elif type(raw["id"]) is not int or not 0 <= raw["id"] < 10**9:
        problem = f"id {str(raw['id'])[:60]!r}; it must be an integer >= 0, the identity's"
    elif not (problem := path_problem(raw[benchmark.key])):
        captions = raw["captions"]
        if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
            problem = "captions must be a list of texts"
        elif any(caption.strip() and not is_caption(caption) for caption in captions):
            problem = "a caption that is not valid text"
        elif not any(map(is_caption, captions)):
            problem = "no caption"
    if not problem:
        split = raw.get("split", _split_of_id(benchmark, raw["id"]))
        if isinstance(split, str) and split in SPLIT_NAMES:
            captions = tuple(caption.strip() for caption in raw["captions"] if caption.strip())
            return Entry(raw[benchmark.key], raw["id"], SPLIT_NAMES[split], captions)
        problem = f"split {str(split)[:60]!r}; it must be one of {', '.join(SPLIT_NAMES)}"
        if split is None:
            ranges = ", ".join(f"{ids.start} to {ids.stop - 1}" for ids in benchmark.ids.values())
            problem = f"no split, and the id {raw['id']} is in no split's range" + f" ({ranges})" * bool(ranges)
    problems.append(f"[{number}]: {problem}")
    return None


def _split_of_id(benchmark: Benchmark, id: int) -> str | None:
    split = next((split for split, ids in benchmark.ids.items() if id in ids), None)
    return next((name for name, own in SPLIT_NAMES.items() if own == split), None)


def _check(benchmark: Benchmark, entries: Sequence[Entry], problems: list[str]) -> None:
    """Validate entries against each other: an identity in two splits, an image of two identities."""
    split_of: dict[int, str] = {}
    owner: dict[str, Entry] = {}
    duplicates = []
    for entry in entries:
        split = split_of.setdefault(entry.identity, entry.split)
        if benchmark.global_ids and split != entry.split:
            problems.append(
                f"{entry.image}: identity {entry.identity} is in {entry.split}, but in {split} in an earlier entry"
            )
        other = owner.setdefault(entry.image, entry)
        if (other.identity, other.split) != (entry.identity, entry.split):
            problems.append(f"{entry.image} has identity {entry.identity}, but {other.identity} in an earlier entry")
        elif other is not entry:
            duplicates.append(entry.image)
    if duplicates and not problems:
        listed = format_items(duplicates, 5)
        warnings.warn(f"{len(duplicates)} images are listed twice, and used once:\n{listed}", stacklevel=3)


def _groups(entries: Sequence[Entry], folder: Path) -> list[Group]:
    members: dict[tuple[str, int], list[Entry]] = {}
    for entry in entries:
        members.setdefault((entry.split, entry.identity), []).append(entry)
    return [
        Group(
            id=f"{split}-{identity:05d}",
            images=tuple(str(folder / image) for image in dict.fromkeys(entry.image for entry in same_identity)),
            captions=tuple(caption for entry in same_identity for caption in entry.captions),
            split=split,
            label=str(identity),
        )
        for (split, identity), same_identity in members.items()
    ]


def _warn_of_sizes(
    benchmark: Benchmark, path: Path, groups: Sequence[Group], splits: Sequence[str], advice: str
) -> None:
    for split in (split for split in SPLITS if split in splits and split in benchmark.sizes):
        chosen = [group for group in groups if group.split == split]
        sizes = (len(chosen), sum(len(group.images) for group in chosen), sum(len(group.captions) for group in chosen))
        if sizes != benchmark.sizes[split]:
            text = "{:,} identities, {:,} images and {:,} captions"
            warnings.warn(
                f"{path}: {split} has {text.format(*sizes)}, not the published {text.format(*benchmark.sizes[split])}; "
                f"results are not comparable with published ones. {advice}",
                stacklevel=3,
            )
