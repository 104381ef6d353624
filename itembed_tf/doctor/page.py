"""Writes the findings as one HTML page with the images side by side, without any network request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from itembed_tf.data.readers import Group
from itembed_tf.doctor.findings import DuplicateSet, Findings
from itembed_tf.files import write_atomically
from itembed_tf.report.template import render
from itembed_tf.report.thumbnails import Thumbnail, thumbnail

SETS, MEMBERS, LINES = 200, 12, 50  # sets of duplicates, groups of each set, and other findings of a kind
MAX_CHARACTERS = 300  # of a caption


@dataclass(frozen=True)
class Member:
    """A group of a set of duplicates: its duplicate image (or its first) and its captions."""

    id: str
    split: str
    image: Thumbnail
    captions: list[str]


@dataclass(frozen=True)
class ShownSet:
    """A set of duplicates as the page shows it; `more` counts the groups that are not shown."""

    members: list[Member]
    more: int
    splits: list[str]
    difference: float
    mirrored: int
    same_file: int


def write_page(
    folder: str | Path, findings: Findings, groups: Sequence[Group], *, title: str, attribution: str
) -> Path:
    """Write `folder`/index.html.

    Args:
        folder: created if it does not exist.
        findings: of `check_data`.
        groups: the groups that were checked.
        title: name of the dataset.
        attribution: licence notice that must accompany the images; "" for none.
    """
    by_id = {group.id: group for group in groups}
    text = render(
        Path(__file__).parent,
        title=title,
        kind="doctor",
        findings=findings,
        sets=[_shown_set(each, by_id) for each in findings.near_duplicates[:SETS]],
        lines=LINES,
        attribution=attribution,
    )
    return write_atomically(Path(folder) / "index.html", text)


def _shown_set(duplicates: DuplicateSet, by_id: Mapping[str, Group]) -> ShownSet:
    image_of: dict[str, str] = {}
    for pair in duplicates.pairs:
        for id, name in zip(pair.groups, pair.images):
            image_of.setdefault(id, name)
    members = []
    for id in duplicates.groups[:MEMBERS]:
        group, name = by_id[id], image_of.get(id, id)
        image = next((image for image in group.images if image == name), group.images[0])
        captions = [_shorten(caption) for caption in dict.fromkeys(group.captions)]
        members.append(Member(id, group.split, thumbnail(image, Path(name).name), captions))
    return ShownSet(
        members=members,
        more=len(duplicates.groups) - len(members),
        splits=duplicates.splits,
        difference=max(pair.difference for pair in duplicates.pairs),
        mirrored=sum(pair.mirrored for pair in duplicates.pairs),
        same_file=sum(pair.same_file for pair in duplicates.pairs),
    )


def _shorten(caption: str) -> str:
    return caption if len(caption) <= MAX_CHARACTERS else f"{caption[:MAX_CHARACTERS]}…"
