"""Findings -> OUT/index.html: one file with the pictures side by side, that asks the network for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itembed_tf.data.readers import Group
from itembed_tf.files import write_atomically
from itembed_tf.report.template import render
from itembed_tf.report.thumbnails import thumbnail

SETS, MEMBERS, LINES = 200, 12, 50  # sets of pictures shown, groups of each, findings of another kind
LONGEST = 300  # characters of a caption


def write_page(
    folder: str | Path, report: Mapping[str, Any], groups: Sequence[Group], *, title: str, attribution: str
) -> Path:
    """Write `folder`/index.html about a report of `itembed_tf.doctor.findings.examine`.

    Args:
        folder: where it goes.
        report: what doctor.json holds.
        groups: the groups that were examined.
        title: name of the data set.
        attribution: licence line that must stand where the pictures are shown; "" for none.
    """
    by_id = {group.id: group for group in groups}
    text = render(
        Path(__file__).parent,
        title=title,
        kind="doctor",
        report=report,
        sets=[_set(found, by_id) for found in report["alike"][:SETS]],
        lines=LINES,
        attribution=attribution,
    )
    return write_atomically(Path(folder) / "index.html", text)


def _set(found: Mapping[str, Any], by_id: Mapping[str, Group]) -> dict[str, Any]:
    """One set with its pictures: for each group the picture that was found, or its first."""
    chosen: dict[str, str] = {}
    for pair in found["pairs"]:
        for id, name in zip(pair["groups"], pair["images"]):
            chosen.setdefault(id, name)
    members = []
    for id in found["groups"][:MEMBERS]:
        group = by_id[id]
        named = {image: image for image in group.images if isinstance(image, str)}
        picture = thumbnail(named.get(chosen.get(id, ""), group.images[0]), Path(str(chosen.get(id, id))).name)
        captions = [text if len(text) <= LONGEST else f"{text[:LONGEST]}…" for text in dict.fromkeys(group.captions)]
        members.append({"id": id, "split": group.split, "picture": picture, "captions": captions})
    worst = max(pair["difference"] for pair in found["pairs"])
    return {
        "members": members,
        "more": len(found["groups"]) - len(members),
        "splits": found["splits"],
        "difference": worst,
        "mirrored": sum(pair["mirrored"] for pair in found["pairs"]),
        "same_file": sum(pair["same_file"] for pair in found["pairs"]),
    }
