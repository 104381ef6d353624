"""Columns found by their names, by settings, and by what is in them."""

from __future__ import annotations

from typing import Any

import pytest

from itembed_tf.data.readers.columns import Columns, find_columns, ignored_columns, is_header


def find(*names: str, examples: Any = (), image: str = "", caption: str = "") -> Columns:
    return find_columns(names, examples, image_column=image, caption_column=caption, where="t.csv", advice="")


@pytest.mark.parametrize(
    ("names", "image", "captions"),
    [
        (("caption", "image"), "image", ("caption",)),
        (("Image_Path", "TEXT"), "Image_Path", ("TEXT",)),
        (("filename", "prompt"), "filename", ("prompt",)),
        (("File", "Description"), "File", ("Description",)),
        (("filepath", "title"), "filepath", ("title",)),
        (("image_name", "comment_number", "comment"), "image_name", ("comment",)),
        (("file_name", "text", "url"), "file_name", ("text",)),
        (("image", "caption_0", "caption_1", "caption_2"), "image", ("caption_0", "caption_1", "caption_2")),
        (("image", "captions", "caption"), "image", ("caption", "captions")),
        (("image", "alt text"), "image", ("alt text",)),
    ],
)
def test_names_in_the_wild(names: tuple[str, ...], image: str, captions: tuple[str, ...]) -> None:
    columns = find(*names)
    assert (columns.image, columns.captions) == (image, captions)


def test_settings_choose_and_a_chosen_label_is_no_label() -> None:
    assert find("image", "thumb", "text", "label", image="Thumb", caption="label") == Columns(
        "thumb", ("label",), "", ""
    )
    assert find("image", "text", "Split", "Label") == Columns("image", ("text",), "Split", "Label")
    with pytest.raises(
        ValueError, match=r"no column 'colour'; the columns are 'image', 'text'\. Set dataset\.image_col"
    ):
        find("image", "text", image="colour")


def test_a_column_of_image_files_is_found_by_its_values() -> None:
    examples = [{"frame": "a.jpg", "says": "a ball"}, {"frame": "b/c.PNG", "says": "a cat"}]
    assert find("frame", "says", examples=examples) == Columns("frame", ("says",), "", "")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("id", "caption"), r"t\.csv: no column is known to hold the image; the columns are 'id', 'caption'"),
        (("image", "a", "b"), r"no column is known to hold the caption.*dataset\.caption_column"),
        (("a red ball", "http://a.b/c.jpg"), "an image and no column names"),
        (("a.jpg", "a red ball"), "an image and no column names; add a first line such as image,caption"),
        (("image", "image", "caption"), "the column 'image' is there twice"),
    ],
)
def test_what_is_not_found_is_reported_once_with_the_setting(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find(*names)


def test_one_warning_names_all_columns_that_are_not_read() -> None:
    names = ("id", "image", "width", "text")
    text = ignored_columns("t.csv", find(*names), names)
    assert "'id', 'width'" in text and "images are read from 'image', captions from 'text'" in text
    assert ignored_columns("t.csv", find("image", "text"), ("image", "text", "")) == ""


def test_headers_of_text_files() -> None:
    assert is_header("image,caption\n") and is_header("File Name\tText\r\n")
    assert not is_header("an image of a dog, running\n")
