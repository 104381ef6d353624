"""Empty captions: left out of the groups, and listed for the doctor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from itembed_tf.data.readers.group import Group


@dataclass(frozen=True)
class EmptyCaption:
    """A caption that is empty or blank, by its group."""

    group: str
    split: str


def drop_empty_captions(groups: Sequence[Group]) -> tuple[list[Group], list[EmptyCaption]]:
    """The groups without their empty captions, those with no other caption left out; and the empty captions."""
    kept, empty = [], []
    for group in groups:
        full = [number for number, caption in enumerate(group.captions) if caption.strip()]
        if len(full) == len(group.captions):
            kept.append(group)
            continue
        empty += [EmptyCaption(group.id, group.split)] * (len(group.captions) - len(full))
        if full:
            captions = tuple(group.captions[number] for number in full)
            ids = tuple(group.caption_ids[number] for number in full) if group.caption_ids else ()
            kept.append(replace(group, captions=captions, caption_ids=ids))
    return kept, empty
