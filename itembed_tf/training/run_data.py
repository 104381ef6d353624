"""The data that a run is trained on, as checksums: a continued run is refused where it has changed, with what differs.

The classes of the instance loss are the training groups in their order: with one group more or less, a continued run
would train every class on the images of another, without an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from itembed_tf.data.readers import Group, ImageSource, image_size
from itembed_tf.files import checksum, write_atomically
from itembed_tf.training.errors import RunError
from itembed_tf.training.run_directory import DATA_FILE, read_json

SCHEMA = 1
LISTED = 3  # groups of each kind of difference in an error message
MISSING = "missing"


class GroupRecord(NamedTuple):
    """A group as a run was trained on it; the last three are checksums."""

    id: str
    split: str
    images: str  # of the images' names below the dataset's folders
    sizes: str  # of the images' sizes in bytes; MISSING if one does not exist
    captions: str


def group_records(groups: Sequence[Group], *folders: str) -> list[GroupRecord]:
    """The records of groups, in their order. Image files are not read, only their sizes are looked up.

    Args:
        groups: as a run is trained on them.
        folders: dataset.root and dataset.images, which may be moved: names are those below them.
    """
    with ThreadPoolExecutor() as pool:
        sizes = iter(list(pool.map(_size, [image for group in groups for image in group.images])))
    records = []
    for group in groups:
        of_group = [next(sizes) for _ in group.images]
        records.append(
            GroupRecord(
                group.id,
                group.split,
                _short(_name(image, folders) for image in group.images),
                MISSING if MISSING in of_group else _short(of_group),
                _short(group.captions),
            )
        )
    return records


def _size(image: ImageSource) -> str:
    try:
        return str(image_size(image))
    except OSError:
        return MISSING


def _name(image: ImageSource, folders: Sequence[str]) -> str:
    """The path below one of the folders; "" for an image without a file of its own."""
    if not isinstance(image, str):
        return ""
    for folder in filter(None, folders):
        image = image.removeprefix(str(Path(folder).expanduser()))
    return image


def _short(parts: Iterable[str]) -> str:
    return checksum(*parts)[:16]


def records_checksum(records: Sequence[GroupRecord]) -> str:
    return checksum(*(part for record in records for part in record))


def write_records(run: Path, records: Sequence[GroupRecord]) -> None:
    content = {"schema": SCHEMA, "groups": records}
    write_atomically(run / DATA_FILE, json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")


def read_records(run: Path) -> list[GroupRecord] | None:
    """The records of a run directory; None where there are none: in a new one, or one of an earlier version.

    Raises:
        RunError: the file is damaged.
    """
    advice = "Remove it: it is needed only to say what has changed in the data of an unfinished run"
    content = read_json(run / DATA_FILE, dict, advice)
    if content is None:
        return None
    try:
        return [GroupRecord(*record) for record in content["groups"]]
    except (KeyError, TypeError) as error:
        raise RunError(f"{run / DATA_FILE} is damaged ({error}). {advice}") from error


def check_same_file(file: Path, before: str | None, now: str) -> None:
    """Check the checksum of a file of a continued run against that in its checkpoint; None: of an earlier version.

    Raises:
        RunError: they differ.
    """
    if before not in (None, now):
        raise RunError(
            f"{file} is not the one with which this run began; restore it from a copy, or start the run again in a new "
            "run directory"
        )


def check_same_groups(run: Path, before: str | None, records: Sequence[GroupRecord]) -> None:
    """Check that a continued run has the groups with which it began.

    Args:
        run: run directory.
        before: `records_checksum` in the checkpoint; None for one of an earlier version.
        records: of the present groups.

    Raises:
        RunError: they differ; the message says how.
    """
    if before is None:
        print(f"{run}: an earlier version began this run; it is not checked whether its data has changed", flush=True)
        return
    if records_checksum(records) == before:
        return
    then = read_records(run) or []
    changes = differences(then, records) if records_checksum(then) == before else []
    what = "; ".join(changes) or "other images, captions or splits"
    raise RunError(
        f"{run}: the data has changed since this run began ({what}). The classes of the run are the groups of that "
        "data. Restore it and give the same command again, or train on the present data in a new run directory"
    )


def differences(before: Sequence[GroupRecord], now: Sequence[GroupRecord]) -> list[str]:
    """What differs between two lists of groups, one phrase for each kind of difference, with the first few groups."""
    old, new = {record.id: record for record in before}, {record.id: record for record in now}
    removed, added = [r for r in before if r.id not in new], [r for r in now if r.id not in old]
    by_content = {(r.captions, r.sizes): r for r in removed}
    renamed = [(one, r) for r in added if (one := by_content.pop((r.captions, r.sizes), None))]
    gone, come = {one.id for one, _ in renamed}, {other.id for _, other in renamed}
    both = [(old[r.id], r) for r in now if r.id in old]
    missing = [r.id for _, r in both if r.sizes == MISSING]
    kinds = {
        "renamed": [f"{one.id} to {other.id}" for one, other in renamed],
        "removed": [f"{r.id} ({r.split})" for r in removed if r.id not in gone],
        "added": [f"{r.id} ({r.split})" for r in added if r.id not in come],
        "an image file is missing": missing,
        "in another split": [f"{r.id} ({one.split}, now {r.split})" for one, r in both if one.split != r.split],
        "other captions": [r.id for one, r in both if one.captions != r.captions],
        "other image names": [r.id for one, r in both if one.images != r.images],
        "other image files": [r.id for one, r in both if one.sizes != r.sizes and r.sizes != MISSING],
    }
    found = [f"{kind}: {_first(items)}" for kind, items in kinds.items() if items]
    return found or ["the same groups in another order"]


def _first(items: Sequence[str]) -> str:
    more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return ", ".join(items[:LISTED]) + more
