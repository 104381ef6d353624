"""Tables of text: separators, encodings, quotation marks, and rows that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from itembed_tf.data.readers.table import read_table


def read(path: Path, content: bytes | str) -> tuple[list[str], list[list[str]], list[str]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    problems: list[str] = []
    table = read_table(path, "", problems)
    return table.header, [cells for _, cells in table.rows], problems


ROWS = [["a.jpg", "a red, big ball"], ["b.jpg", 'a "blue" ball']]


@pytest.mark.parametrize(
    "content",
    [
        'image,caption\na.jpg,"a red, big ball"\nb.jpg,"a ""blue"" ball"\n',
        '\ufeffimage, caption\r\na.jpg, "a red, big ball"\r\n\r\nb.jpg, "a ""blue"" ball"\r\n',
        'image;caption\na.jpg;a red, big ball\nb.jpg;"a ""blue"" ball"\n',
        'sep=;\nimage;caption\na.jpg;a red, big ball\nb.jpg;"a ""blue"" ball"\n',
        '"sep=,"\r\nimage,caption\r\na.jpg,"a red, big ball"\r\nb.jpg,"a ""blue"" ball"\r\n',
        'image\tcaption\na.jpg\ta red, big ball\nb.jpg\t"a ""blue"" ball"\n',
        'image\tcaption\na.jpg\ta red, big ball\nb.jpg\ta "blue" ball\n',
        'image| caption\na.jpg| a red, big ball\nb.jpg| a "blue" ball\n',
        'image,caption\ra.jpg,"a red, big ball"\rb.jpg,"a ""blue"" ball"\r',
        '#TYPE System.Management.Automation.PSCustomObject\n"image","caption"\n"a.jpg","a red, big ball"\n'
        '"b.jpg","a ""blue"" ball"\n',
        'image,caption,,\na.jpg,"a red, big ball",,\nb.jpg,"a ""blue"" ball",,\n',
        'image\tcaption\na.jpg\ta red, big ball\nb.jpg\t"a ""blue"" ball"\n'.encode("utf-16"),
        b"\xfe\xff" + 'image\tcaption\na.jpg\ta red, big ball\nb.jpg\ta "blue" ball\n'.encode("utf-16-be"),
    ],
)
def test_the_same_rows_in_many_forms(content: bytes | str, tmp_path: Path) -> None:
    assert read(tmp_path / "t.csv", content) == (["image", "caption"], ROWS, [])


def test_quotation_marks_without_a_partner_are_text_between_tabs(tmp_path: Path) -> None:
    content = 'image\tcaption\na.jpg\t"Stop" says the sign\nb.jpg\t5" pipes\nc.jpg\tthe end"\n'
    _, rows, problems = read(tmp_path / "t.tsv", content)
    assert [row[1] for row in rows] == ['"Stop" says the sign', '5" pipes', 'the end"'] and not problems


def test_a_caption_of_several_lines_is_one_caption(tmp_path: Path) -> None:
    _, rows, problems = read(tmp_path / "t.csv", 'image,caption\na.jpg,"a red\nball, big"\nb.jpg,x\n')
    assert rows == [["a.jpg", "a red ball, big"], ["b.jpg", "x"]] and not problems


def test_rows_that_an_open_quotation_mark_has_swallowed_are_a_problem(tmp_path: Path) -> None:
    _, rows, problems = read(tmp_path / "t.csv", 'image,caption\na.png,"open\nb.png,lost\nc.png,closed"\nd.png,x\n')
    assert rows == [["d.png", "x"]]
    assert problems == ["line 2: a quotation mark is not closed before line 4"]


def test_the_line_of_flickr30k_without_its_second_separator(tmp_path: Path) -> None:
    content = "image_name| comment_number| comment\n1.jpg| 3| A dog .\n2199200615.jpg| 4   A dog runs .\n"
    _, rows, problems = read(tmp_path / "results.csv", content)
    assert rows == [["1.jpg", "3", "A dog ."], ["2199200615.jpg", "4", "A dog runs ."]] and not problems


def test_a_file_that_is_no_csv_has_the_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"t\.csv is not valid CSV \(line 3: .*put captions with commas"):
        read(tmp_path / "t.csv", 'image,caption\na.jpg,x\nb.jpg,"Stop" says the sign\n')
