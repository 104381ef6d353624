"""Our own split of data without one: by a checksum of each id, so that an item stays where it is when others come."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from itembed_tf.data.readers.group import SPLITS, bucket

# Of a group: a percentage that asks for less of it in dev is one that means to hold out nothing, such as 1 % of 3.
LEAST_SHARE = 0.3


def hold_out(ids: Sequence[str], percent: int) -> tuple[dict[str, str], bool]:
    """Split ids: `percent` of them in dev, as many in test, the others in train.

    The MD5 of an id modulo 100 decides: below `percent` dev, below twice `percent` test. Where that leaves a split
    empty, as it does with few ids, the order of those numbers decides instead: the first `percent`, at least one id,
    are dev, as many after them test. Which of the two depends on the ids and `percent` alone, not on the splits that a
    program reads.

    Returns:
        The split of each id, and whether the order decided.
    """
    splits = {id: _of_bucket(bucket(id, 100), percent) for id in ids}
    if set(splits.values()) == set(SPLITS) or len(splits) < 3 or len(splits) * percent < 100 * LEAST_SHARE:
        return splits, False
    size = max(1, round(len(splits) * percent / 100))
    ordered = sorted(splits, key=lambda id: (bucket(id, 100), hashlib.md5(id.encode(), usedforsecurity=False).digest()))
    return {id: "dev" if i < size else "test" if i < 2 * size else "train" for i, id in enumerate(ordered)}, True


def _of_bucket(number: int, percent: int) -> str:
    return "dev" if number < percent else "test" if number < 2 * percent else "train"
