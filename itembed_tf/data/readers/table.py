"""Tables of text as spreadsheets and data sites write them: comma, tab, semicolon or | between the columns."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from itembed_tf.data.readers.group import IMAGE_SUFFIXES
from itembed_tf.data.readers.source import read_text

SEPARATORS = (",", "\t", ";", "|")
WITHOUT_QUOTES = ("\t", "|")  # files with these often have quotation marks that are a part of the caption
QUOTING = 'put captions with commas or quotation marks in quotation marks, and double those inside: "a ""red"" car"'

Cells = tuple[int, list[str]]  # the line on which a row starts, and its cells


@dataclass(frozen=True)
class Table:
    """The header of a table, its rows, and the separator of its columns."""

    header: list[str]
    rows: Iterator[Cells]
    separator: str


def read_table(path: Path, advice: str, problems: list[str]) -> Table:
    """Read a table; the first line that is not blank is its header, after Excel's ``sep=;`` if there is one.

    Rows that do not fit the header are added to `problems` while `rows` is read.

    Raises:
        ValueError: the file cannot be read (`read_text`), or, while `rows` is read, is not valid CSV.
    """
    text = read_text(path, advice)
    first, line, separator = _header_line(text)
    header = [cell.strip().strip('"').strip() for cell in _split(line, separator)]
    while len(header) > 1 and not header[-1]:
        header.pop()
    rows = _quoted_rows(text, separator)
    if separator in WITHOUT_QUOTES:
        faults = [_faults(read(text, separator), len(header)) for read in (_quoted_rows, _plain_rows)]
        rows = _plain_rows(text, separator) if faults[1] < faults[0] else rows
    return Table(header, _checked(path, rows, first, header, separator, advice, problems), separator)


def _header_line(text: str) -> tuple[int, str, str]:
    """The number of the header's line, its text, and the separator."""
    separator = ""
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.startswith("#TYPE "):  # of PowerShell's Export-Csv
            continue
        given = re.fullmatch(r'"?sep=(.)"?', line.strip("\r\n"), re.IGNORECASE)
        if given and not separator:
            separator = given[1]
        elif line.strip():
            cells = {each: len(_split(line, each)) for each in SEPARATORS}
            return number, line.strip("\r\n"), separator or max(SEPARATORS, key=lambda each: cells[each])
    return 1, "", ","


def _split(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])


def _quoted_rows(text: str, separator: str) -> Iterator[Cells]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    line = 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise csv.Error(f"line {line}: {error}") from error


def _plain_rows(text: str, separator: str) -> Iterator[Cells]:
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        yield number, [cell.strip() for cell in line.rstrip("\r\n").split(separator)]


def _faults(rows: Iterator[Cells], columns: int) -> float:
    try:
        return sum(len(cells) != columns or any("\n" in cell for cell in cells) for _, cells in rows if cells)
    except csv.Error:
        return float("inf")


def _checked(
    path: Path, rows: Iterator[Cells], first: int, header: list[str], separator: str, advice: str, problems: list[str]
) -> Iterator[Cells]:
    try:
        for line, cells in rows:
            if line <= first or not any(cell.strip() for cell in cells):
                continue
            while len(cells) > len(header) and not cells[-1].strip():
                cells.pop()
            if separator == "|" and len(cells) == len(header) - 1:
                cells = _with_comment_number(cells)
            hidden = next((n for cell in cells if "\n" in cell and (n := _hidden_row(cell, separator))), 0)
            if hidden:
                problems.append(f"line {line}: a quotation mark is not closed before line {line + hidden}")
            elif len(cells) != len(header):
                problems.append(f"line {line}: {len(cells)} columns instead of {len(header)}; {QUOTING}")
            else:
                yield line, [" ".join(cell.split()) if "\n" in cell else cell for cell in cells]
    except csv.Error as error:
        raise ValueError(f"{path} is not valid CSV ({error}): {QUOTING}. {advice}") from error


def _with_comment_number(cells: list[str]) -> list[str]:
    """Repair ``name.jpg| 4 A dog runs``, a line of Kaggle's Flickr30k that lacks its second separator."""
    found = re.fullmatch(r"\s*(\d+)\s+(\S.*)", cells[-1], re.DOTALL)
    return [*cells[:-1], *found.groups()] if found else cells


def _hidden_row(cell: str, separator: str) -> int:
    """How many lines of a cell of several lines are rows, which an open quotation mark has swallowed."""
    rows = [
        number
        for number, line in enumerate(cell.splitlines()[1:], 1)
        if any(part.strip().strip('"').lower().endswith(IMAGE_SUFFIXES) for part in line.split(separator)[:-1])
    ]
    return rows[-1] if rows else 0
