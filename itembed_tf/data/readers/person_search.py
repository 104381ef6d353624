"""Text-based person search: CUHK-PEDES, ICFG-PEDES, RSTPReid. One group an identity, with all photographs and captions.

The protocol is text query only: a caption looks for photographs, and each of its identity's is right.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itembed_tf.data.readers.group import SPLITS, Group, some
from itembed_tf.data.readers.source import check_pictures, fault_of_path, find, is_sentence, open_root, read_json

SPLIT_NAMES = {"train": "train", "val": "dev", "test": "test"}


@dataclass(frozen=True)
class Benchmark:
    """One data set: its name, its annotation file, what is published of its size, and where it comes from."""

    name: str
    files: tuple[str, ...]
    key: str  # of a picture's path in an entry
    sizes: dict[str, tuple[int, int, int]]  # identities, photographs, captions
    page: str
    # First id of each split, where a file without splits may be read by ids.
    ids: dict[str, range] = field(default_factory=dict)
    # Whether one id is one person in the whole file; of ICFG-PEDES we only know it of train.
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
    page="https://github.com/NjtechCVLab/RSTPReid-Dataset (an early file had other splits: get the newest)",
)


@dataclass(frozen=True)
class Entry:
    image: str
    identity: int
    split: str
    captions: tuple[str, ...]


def read(benchmark: Benchmark, *, root: str, splits: Sequence[str], **_others: object) -> list[Group]:
    """One group an identity of the splits asked for, `label` its number.

    ::

        root/imgs/...                  photographs, in the folders that the annotation file names
        root/reid_raw.json             CUHK-PEDES, or caption_all.json; ICFG-PEDES.json; RSTPReid's data_captions.json

    The annotation file is a list of {"id": 1, "file_path": "cam_a/000.jpg", "captions": ["...", "..."], "split":
    "train"}; RSTPReid writes img_path. CUHK-PEDES' caption_all.json has no "split": there the identities 1 to 11,003
    are train, the next thousand val and the last thousand test, as in reid_raw.json.

    Raises:
        FileNotFoundError: the annotation file or imgs is missing, or none of the photographs is there.
        ValueError: a file that cannot be read, entries that cannot be used, an identity in two splits.
    """
    advice = f"{benchmark.name}: ask for it at {benchmark.page}. docs/data_sets.md shows how it must lie."
    folder = open_root(root, benchmark.name, advice)
    pictures = find(folder, ("imgs/",), "the folder of photographs", advice)
    path = find(folder, benchmark.files, "the annotation file", advice)
    content = read_json(path, advice, without=("processed_tokens",))
    if not isinstance(content, list) or not content:
        raise ValueError(f"{path} must hold a list of photographs with their captions, and does not. {advice}")
    problems: list[str] = []
    entries = [entry for i, raw in enumerate(content) if (entry := _entry(benchmark, raw, i, problems))]
    _check(benchmark, entries, problems)
    if problems:
        raise ValueError(f"{path}: {len(problems)} entries cannot be used:\n{some(problems)}\n{advice}")
    groups = _groups(entries, pictures, splits)
    _warn_of_sizes(benchmark, path, groups, splits, advice)
    check_pictures(groups, advice)
    return groups


def _entry(benchmark: Benchmark, raw: Any, number: int, problems: list[str]) -> Entry | None:
    """One entry of the file, checked by itself; None, and a problem more, where it cannot be used."""
    fault = ""
    if not isinstance(raw, dict) or not {"id", benchmark.key, "captions"} <= raw.keys():
        fault = f'not an object with "id", "{benchmark.key}" and "captions"'
    elif type(raw["id"]) is not int or not 0 <= raw["id"] < 10**9:
        fault = f"id {str(raw['id'])[:60]!r}; it must be a whole number, the identity's"
    elif not (fault := fault_of_path(raw[benchmark.key])):
        captions = raw["captions"]
        if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
            fault = "captions must be a list of sentences"
        elif any(caption.strip() and not is_sentence(caption) for caption in captions):
            fault = "a caption that cannot be written as UTF-8"
        elif not any(map(is_sentence, captions)):
            fault = "no caption"
    if not fault:
        split = raw.get("split", _split_of_id(benchmark, raw["id"]))
        if isinstance(split, str) and split in SPLIT_NAMES:
            sentences = tuple(caption.strip() for caption in raw["captions"] if caption.strip())
            return Entry(raw[benchmark.key], raw["id"], SPLIT_NAMES[split], sentences)
        fault = f"split {str(split)[:60]!r}; it must be one of {', '.join(SPLIT_NAMES)}"
        if split is None:
            ids = (
                f" ({', '.join(f'{r.start} to {r.stop - 1}' for r in benchmark.ids.values())})" if benchmark.ids else ""
            )
            fault = f"no split, and the id {raw['id']} does not tell it{ids}"
    problems.append(f"[{number}]: {fault}")
    return None


def _split_of_id(benchmark: Benchmark, id: int) -> str | None:
    split = next((split for split, ids in benchmark.ids.items() if id in ids), None)
    return next((name for name, own in SPLIT_NAMES.items() if own == split), None)


def _check(benchmark: Benchmark, entries: Sequence[Entry], problems: list[str]) -> None:
    """What only shows between entries: an identity in two splits, a photograph of two identities."""
    split_of: dict[int, str] = {}
    owner: dict[str, Entry] = {}
    again = []
    for entry in entries:
        split = split_of.setdefault(entry.identity, entry.split)
        if benchmark.global_ids and split != entry.split:
            problems.append(f"{entry.image}: identity {entry.identity} is in {entry.split}, and before in {split}")
        other = owner.setdefault(entry.image, entry)
        if (other.identity, other.split) != (entry.identity, entry.split):
            problems.append(f"{entry.image} is of identity {entry.identity}, and before of {other.identity}")
        elif other is not entry:
            again.append(entry.image)
    if again and not problems:
        warnings.warn(f"{len(again)} photographs are listed twice, and count once:\n{some(again, 5)}", stacklevel=3)


def _groups(entries: Sequence[Entry], pictures: Path, splits: Sequence[str]) -> list[Group]:
    members: dict[tuple[str, int], list[Entry]] = {}
    for entry in entries:
        if entry.split in splits:
            members.setdefault((entry.split, entry.identity), []).append(entry)
    return [
        Group(
            id=f"{split}-{identity:05d}",
            images=tuple(str(pictures / image) for image in dict.fromkeys(entry.image for entry in own)),
            captions=tuple(caption for entry in own for caption in entry.captions),
            split=split,
            label=str(identity),
        )
        for (split, identity), own in members.items()
    ]


def _warn_of_sizes(
    benchmark: Benchmark, path: Path, groups: Sequence[Group], splits: Sequence[str], advice: str
) -> None:
    for split in (split for split in SPLITS if split in splits and split in benchmark.sizes):
        own = [group for group in groups if group.split == split]
        found = (len(own), sum(len(group.images) for group in own), sum(len(group.captions) for group in own))
        if found != benchmark.sizes[split]:
            words = (
                "{:,} identities, {:,} photographs, {:,} captions".format(*n) for n in (found, benchmark.sizes[split])
            )
            warnings.warn(
                f"{path}: {split} has {next(words)}; published are {next(words)}: results cannot be compared. {advice}",
                stacklevel=3,
            )
