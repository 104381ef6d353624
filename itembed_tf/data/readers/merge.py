"""Merge files: groups that show the same thing become one class, never across splits.

A merge file is JSON Lines, one object a line: `{"groups": ["id", "id", ...], "why": "..."}`, with ids of groups; "why"
is a comment. Lines that share an id form one set. `itembed doctor` writes merge files; delete the lines that are wrong.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from itembed_tf.config.choices import LEAKS
from itembed_tf.data.readers.group import SPLITS, Group, format_items


def read_merge(path: str | Path) -> list[tuple[str, ...]]:
    """Read the sets of ids in a merge file, each sorted.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: an invalid line; the message has file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'dataset.merge = "{path}" is not a file; `itembed doctor` writes one')
    sets = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                sets.append(_ids(line, f"{path}, line {number}"))
    return connected_sets(sets)


def _ids(line: bytes, where: str) -> list[str]:
    example = 'write {"groups": ["id", "id"], "why": "..."}'
    try:
        entry = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not valid JSON ({error}); {example}") from None
    if not isinstance(entry, dict) or not set(entry) <= {"groups", "why"}:
        raise ValueError(f'{where} must be an object with "groups" and optionally "why"; {example}')
    ids = entry.get("groups")
    if not isinstance(ids, list) or len(ids) < 2 or not all(isinstance(id, str) for id in ids):
        raise ValueError(f'{where}: "groups" must be a list of at least two ids; {example}')
    return ids


def connected_sets(sets: Iterable[Iterable[str]]) -> list[tuple[str, ...]]:
    """Unite sets that share a member (union-find). Members are sorted, and sets by their first members."""
    parent: dict[str, str] = {}

    def root(id: str) -> str:
        while parent.setdefault(id, id) != id:
            parent[id] = id = parent[parent[id]]
        return id

    for ids in sets:
        first, *others = list(ids)
        for other in others:
            parent[root(other)] = root(first)
    members: dict[str, list[str]] = {}
    for id in sorted(parent):
        members.setdefault(root(id), []).append(id)
    return sorted(tuple(ids) for ids in members.values())


def merge_groups(groups: Sequence[Group], *, merge: str, leaks: str) -> list[Group]:
    """Merge each set of a merge file into one group with all its images and captions.

    A merged group has the id and the position of its first member. Ids that are not in `groups` are ignored, as they
    may belong to a split that is not read.

    Args:
        groups: of any splits.
        merge: path of the merge file; "" for none.
        leaks: what to do with a set in several splits. "refuse": raise an error. "drop": keep only its groups in test,
            else those in dev. "keep": merge within each split, so that held-out images are also in the training set.

    Raises:
        FileNotFoundError, ValueError: as `read_merge`; an unknown value of `leaks`; with "refuse", sets in several
            splits (all are listed, up to 20).
    """
    if leaks not in LEAKS:
        raise ValueError(f"dataset.leaks = {leaks!r} is unknown; it must be one of {', '.join(LEAKS)}")
    if not merge:
        return list(groups)
    by_id = {group.id: group for group in groups}
    sets = [[by_id[id] for id in ids if id in by_id] for ids in read_merge(merge)]
    if not any(sets):
        warnings.warn(
            f"{merge} has none of the {len(groups)} groups; was it written for another dataset?", stacklevel=3
        )
    crossing = [members for members in sets if len({group.split for group in members}) > 1]
    if crossing and leaks == "refuse":
        listed = [", ".join(f"{group.id} ({group.split})" for group in members) for members in crossing]
        raise ValueError(
            f"leakage between splits: by {merge}, these groups show the same image in several splits:\n"
            f"{format_items(listed)}\n"
            'Set dataset.leaks = "drop" to remove them from the training set, or "keep" to evaluate all the same, or '
            "delete the lines that are wrong"
        )
    replacements: dict[str, Group | None] = {}
    for members in sets:
        replacements |= _merge(members, leaks)
    return [new for group in groups if (new := replacements.get(group.id, group))]


def _merge(members: Sequence[Group], leaks: str) -> dict[str, Group | None]:
    """The replacement of each member of one set: the merged group, or None."""
    replacements: dict[str, Group | None] = {group.id: None for group in members}
    present = [split for split in SPLITS if any(group.split == split for group in members)]
    for split in present[-1:] if leaks == "drop" else present:
        ours = [group for group in members if group.split == split]
        numbered = all(group.caption_ids for group in ours)
        replacements[ours[0].id] = Group(
            id=ours[0].id,
            images=tuple(image for group in ours for image in group.images),
            captions=tuple(caption for group in ours for caption in group.captions),
            split=split,
            label=next((group.label for group in ours if group.label), ""),
            caption_ids=tuple(id for group in ours for id in group.caption_ids) if numbered else (),
        )
    return replacements
