"""Groups that show one thing, read from a merge file: joined into one class, never across splits.

A merge file is JSON Lines, one object a line: `{"groups": ["id", "id", ...], "why": "..."}`. The ids are those of the
data set's groups; "why" is for people. Lines that share an id are one set. `python -m itembed_tf.doctor` writes such
files; lines that are wrong can be deleted.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from itembed_tf.data.readers.group import SPLITS, Group, some

LEAKS = ("refuse", "drop", "keep")


def read_merge(path: str | Path) -> list[tuple[str, ...]]:
    """The sets of ids in a merge file, each sorted; lines that share an id are one set.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line that is no such object; it names the file and the line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'dataset.merge = "{path}" is not a file; python -m itembed_tf.doctor writes one')
    sets = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                sets.append(_ids(line, f"{path}, line {number}"))
    return joined(sets)


def _ids(line: bytes, where: str) -> list[str]:
    example = 'write {"groups": ["id", "id"], "why": "..."}'
    try:
        entry = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON ({error}); {example}") from None
    if not isinstance(entry, dict) or not set(entry) <= {"groups", "why"}:
        raise ValueError(f'{where} must be an object of "groups" and, if you like, "why"; {example}')
    ids = entry.get("groups")
    if not isinstance(ids, list) or len(ids) < 2 or not all(isinstance(id, str) for id in ids):
        raise ValueError(f'{where}: "groups" must be a list of two ids or more; {example}')
    return ids


def joined(sets: Iterable[Iterable[str]]) -> list[tuple[str, ...]]:
    """Sets that share a member become one; each comes sorted, and they come in the order of their first members."""
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
    """The groups, with those that a line of the merge file names joined into one: its pictures and captions together.

    A joined group has the id and the place of its first member. Ids that are not among `groups` are passed over: they
    may be of a split that is not read.

    Args:
        groups: of any splits.
        merge: path of the merge file; "" for none.
        leaks: what to do with a set that is in several splits. "refuse": an error. "drop": keep only its groups of the
            split most held out, test before dev before train. "keep": join within each split and leave all in place,
            so that what is held out has been seen in training.

    Raises:
        FileNotFoundError, ValueError: as `read_merge`; an unknown value of `leaks`; with "refuse", a set in several
            splits (all are listed, up to 20).
    """
    if leaks not in LEAKS:
        raise ValueError(f"dataset.leaks = {leaks!r} is not known; choose one of {', '.join(LEAKS)}")
    if not merge:
        return list(groups)
    by_id = {group.id: group for group in groups}
    sets = [[by_id[id] for id in ids if id in by_id] for ids in read_merge(merge)]
    if not any(sets):
        warnings.warn(f"{merge} names none of the {len(groups)} groups that are read: another data set?", stacklevel=3)
    crossing = [members for members in sets if len({group.split for group in members}) > 1]
    if crossing and leaks == "refuse":
        listed = [", ".join(f"{group.id} ({group.split})" for group in members) for members in crossing]
        raise ValueError(
            f"{merge} says that these groups show the same picture, and they are in several splits; what is held out "
            f"would be seen in training:\n{some(listed)}\n"
            'Set dataset.leaks = "drop" to leave out those of training, "keep" to measure all the same, '
            "or delete the lines that are wrong"
        )
    become: dict[str, Group | None] = {}
    for members in sets:
        become |= _become(members, leaks)
    return [new for group in groups if (new := become.get(group.id, group))]


def _become(members: Sequence[Group], leaks: str) -> dict[str, Group | None]:
    """What each member of one set becomes: the joined group, or nothing."""
    become: dict[str, Group | None] = {group.id: None for group in members}
    present = [split for split in SPLITS if any(group.split == split for group in members)]
    for split in present[-1:] if leaks == "drop" else present:
        ours = [group for group in members if group.split == split]
        numbered = all(group.caption_ids for group in ours)
        become[ours[0].id] = Group(
            id=ours[0].id,
            images=tuple(image for group in ours for image in group.images),
            captions=tuple(caption for group in ours for caption in group.captions),
            split=split,
            label=next((group.label for group in ours if group.label), ""),
            caption_ids=tuple(id for group in ours for id in group.caption_ids) if numbered else (),
        )
    return become
