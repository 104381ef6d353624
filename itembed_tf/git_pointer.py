"""Pointer files: what Git leaves in the place of a large file whose content it has not fetched."""

from __future__ import annotations

_LFS = "is a Git LFS pointer: run git lfs pull in its repository, which fetches the file itself"
_XET = "is a Git Xet pointer: run git xet checkout in its repository, or download the file itself"
_ANNEX = "is a git-annex pointer: run git annex get in its repository, which fetches the file itself"
_STARTS = (
    (b"version https://git-lfs.github.com/spec/", _LFS),
    (b"version https://hawser.github.com/spec/", _LFS),  # before the project was renamed
    (b"# xet version ", _XET),
    (b"/annex/objects/", _ANNEX),
)
HEAD = 64  # bytes of a file that `pointer_problem` needs


def pointer_problem(head: bytes) -> str:
    """Say that a file is a pointer, and how to fetch the content, given its first bytes; "" if it is none."""
    head = head.removeprefix(b"\xef\xbb\xbf")
    return next((problem for start, problem in _STARTS if head.startswith(start)), "")
