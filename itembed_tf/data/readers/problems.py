"""Invalid lines in an error message: a problem of many lines is listed for the first few of them, with a count."""

from __future__ import annotations

import re
from collections.abc import Sequence

from itembed_tf.data.readers.group import format_items

SAME = 5  # lines with one kind of problem that are listed; of more, the first stands for all


def format_problems(problems: Sequence[str], what: str) -> str:
    """``3 invalid lines:`` and the problems, one a line; where many are of one kind, the first and their number.

    Args:
        problems: such as ``line 3: no image``. They are of one kind if they differ only in what is before the first
            ``: ``, in numbers, in names of files, and in quoted values.
        what: what is invalid, such as ``lines``.
    """
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kinds.setdefault(_kind(problem), []).append(problem)
    listed = []
    for same in kinds.values():
        if len(same) <= SAME:
            listed += same
        else:
            listed += [same[0], f"... and {len(same) - 1:,} more {what} with this problem"]
    return f"{len(problems):,} invalid {what}:\n{format_items(listed)}"


def _kind(problem: str) -> str:
    text = problem.partition(": ")[2] or problem
    return re.sub(r"'[^']*'|\"[^\"]*\"|\S*[./#]\S+|\d+", "", text)
