"""HTML entities in captions become the characters that they stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

from itembed_tf.config import arguments
from itembed_tf.config.schema import Dataset
from itembed_tf.data.readers import read_dataset
from itembed_tf.data.readers.html_entities import unescape
from itembed_tf.text import tokenize


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("black &amp; white", "black & white"),
        ("a caf&eacute; &mdash; closed", "a café — closed"),
        ("the man&#39;s dog&#x2019;s", "the man's dog’s"),
        ("&amp;amp; &amp;quot;x&amp;quot;", '& "x"'),
        ("salt&pepper, R&D, AT&T; Q&A;", "salt&pepper, R&D, AT&T; Q&A;"),
        ("boots&notes &notit; &unknown;", "boots&notes &notit; &unknown;"),
        ("&#1234567890;", "&#1234567890;"),
        ("no entity", "no entity"),
    ],
)
def test_unescape(text: str, expected: str) -> None:
    assert unescape(text) == expected


def test_captions_are_read_without_entities(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "captions.csv").write_text('image,caption,split\na.jpg,"Tom &amp; Jerry&#39;s",train\n')
    (group,) = read_dataset(**arguments(Dataset(name="folder", root=str(tmp_path), splits=("train",))))
    assert group.captions == ("Tom & Jerry's",)
    assert "amp" not in tokenize(group.captions[0], tokenizer="words", lowercase=True)
