"""Pointer files are recognised by their first bytes."""

from __future__ import annotations

import pytest

from itembed_tf.git_pointer import HEAD, pointer_problem

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 1234567\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (LFS, "Git LFS pointer: run git lfs pull"),
        (LFS.replace(b"git-lfs", b"hawser"), "Git LFS pointer: run git lfs pull"),
        (b"\xef\xbb\xbf" + LFS, "Git LFS pointer: run git lfs pull"),
        (b"# xet version 0\nfilesize = 12\nhash = 'ab'\n", "Git Xet pointer: run git xet checkout"),
        (b"/annex/objects/SHA256E-s12--ab.jpg\n", "git-annex pointer: run git annex get"),
    ],
)
def test_a_pointer_is_named_with_the_command_that_fetches_the_file(content: bytes, says: str) -> None:
    assert says in pointer_problem(content[:HEAD])


def test_other_files_are_no_pointers() -> None:
    assert pointer_problem(b"") == pointer_problem(b"version 1.0\n") == pointer_problem(b"\xff\xd8\xff\xe0") == ""
