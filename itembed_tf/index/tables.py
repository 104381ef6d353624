"""Tables and text files of sentences as sources of an index."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from itembed_tf.data.readers import TableCell
from itembed_tf.data.readers.columns import caption_columns_of, check_header, image_column_of, is_header
from itembed_tf.data.readers.image_paths import ImageFiles, check_path, resolve_images
from itembed_tf.data.readers.parquet import image_leaf, open_parquet, parquet_records
from itembed_tf.data.readers.records import Record, read_records
from itembed_tf.data.readers.rows import caption_list
from itembed_tf.data.readers.source import is_caption, read_lines
from itembed_tf.data.readers.tokens import is_token_line
from itembed_tf.errors import UsageError, did_you_mean
from itembed_tf.index.sources import Entry, Listing, Source, file_entry

ADVICE = "docs/search.md shows what can be indexed."
EXAMPLES = 20  # records by whose values a column is found


def list_sentences(source: Source) -> Listing:
    """One entry for every line of a text file; of a table that is called .txt, those of `list_table`."""
    path = Path(source.location)
    lines = read_lines(path, ADVICE)
    first = next((line for line in lines if line.strip()), "")
    if is_header(first) or is_token_line(first):
        return list_table(source)
    numbered = ((line.strip(), {"line": number}) for number, line in enumerate(lines, 1))
    problems: list[str] = []
    return Listing(_sentences(source.location, numbered, problems), problems)


def _sentences(location: str, texts: Iterable[tuple[str, Mapping[str, Any]]], problems: list[str]) -> Sequence[Entry]:
    """One entry for every different sentence. Its place has its checksum: it stays when a line is added above it."""
    found: dict[str, Entry] = {}
    for text, fields in texts:
        if not text:
            continue
        if not is_caption(text):
            problems.append(f"{location}: {text[:60]!a} is not valid text")
            continue
        hash = hashlib.sha256(text.encode()).hexdigest()
        place = f"{location}#{hash[:16]}"
        found.setdefault(place, Entry(place, "text", hash, os.path.basename(location), captions=(text,), fields=fields))
    return list(found.values())


def list_table(source: Source) -> Listing:
    """The images that a table names or holds, with captions and fields; its texts, if it has no column of images."""
    path, problems = Path(source.location), list[str]()
    leaf = ""
    if path.suffix.lower() == ".parquet":
        with open_parquet(path, ADVICE) as table:
            names = list(table.schema_arrow.names)
            leaf = image_leaf(table, source.settings.get("image_column", ""))
            wanted = [name for name in names if name != leaf.partition(".")[0]]
            records = parquet_records(table, wanted)
            cells = [
                TableCell(str(path), group, row, leaf)
                for group in range(table.metadata.num_row_groups)
                for row in range(table.metadata.row_group(group).num_rows)
            ]
    else:
        names, records = read_records(path, ADVICE, problems)
        records = _with_types(names, records)
    problems = [f"{path}, {problem}" for problem in problems]
    check_header(names, str(path), ADVICE)
    captions = _chosen("caption", source, names) or caption_columns_of(names)
    if leaf:
        others = [name for name in wanted if name not in captions]
        return Listing(_cell_entries(path, records, cells, captions, others), problems)
    image = _chosen("image", source, names) or image_column_of(names, [each.values for each in records[:EXAMPLES]])
    captions = [name for name in captions if name != image]
    others = [name for name in names if name and name not in (image, *captions)]
    if image:
        return Listing(_file_entries(path, records, image, captions, others, problems), problems)
    if not captions:
        raise UsageError(
            f"{path}: no column is known to hold images or texts; the columns are {', '.join(map(repr, names))}. Name "
            "one with --image-column or --caption-column"
        )
    texts = (
        (text, {"row": record.where, **fields_of(record.values, others)})
        for record in records
        for text in captions_of(record.values, captions)
    )
    return Listing(_sentences(str(path), texts, problems), problems)


def _chosen(what: str, source: Source, names: Sequence[str]) -> Any:
    """The column of a setting: a name for the image, a list of one for the caption; empty without the setting."""
    chosen = source.settings.get(f"{what}_column", "")
    if chosen and chosen not in names:
        raise UsageError(
            f"{source.location} has no column {chosen!r}{did_you_mean(chosen, names)}; the columns are "
            f"{', '.join(map(repr, names))}"
        )
    return chosen if what == "image" else [chosen] if chosen else []


def _file_entries(
    path: Path,
    records: Sequence[Record],
    image: str,
    captions: Sequence[str],
    others: Sequence[str],
    problems: list[str],
) -> list[Entry]:
    """An entry for every image file that the table names; the captions of several rows of one image are joined."""
    rows: list[tuple[str, Record]] = []
    for record in records:
        name, problem = check_path(record.values.get(image))
        if problem:
            problems.append(f"{path}, {record.where}: {problem}")
        else:
            rows.append((name, record))
    resolved = resolve_images(list(dict.fromkeys(name for name, _ in rows)), ImageFiles(path.parent), str(path))
    problems += [f"{path}: {problem}" for problem in resolved.problems.values()]
    texts: dict[str, dict[str, None]] = {}
    fields: dict[str, dict[str, Any]] = {}
    for name, record in rows:
        if name in resolved.files:
            file = os.path.normpath(path.parent / resolved.files[name])
            texts.setdefault(file, {}).update(dict.fromkeys(captions_of(record.values, captions)))
            fields.setdefault(file, fields_of(record.values, others))
    return [file_entry(file, str(path.parent), tuple(own), fields[file]) for file, own in texts.items()]


def _cell_entries(
    path: Path, records: Sequence[Record], cells: Sequence[TableCell], captions: Sequence[str], others: Sequence[str]
) -> list[Entry]:
    status = path.stat()
    stamp, size = f"{status.st_size} {status.st_mtime_ns}", status.st_size // max(len(cells), 1)
    rows = [record.values for record in records] or [{}] * len(cells)  # the images are the only column
    return [
        Entry(
            f"{path}#{number}",
            "image",
            stamp,
            f"{path.name}#{number}",
            size=size,
            image=cell,
            captions=tuple(dict.fromkeys(captions_of(values, captions))),
            fields=fields_of(values, others),
        )
        for number, (cell, values) in enumerate(zip(cells, rows, strict=True))
    ]


def captions_of(values: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """The captions of a record, from columns that hold a text or a list of texts."""
    found = [str(text).strip() for name in columns if name in values for text in caption_list(values[name]) if text]
    return [text for text in found if is_caption(text)]


def fields_of(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The columns of a record that become fields of an item, with values that SQLite compares."""
    plain = {name: _plain(values[name]) for name in names if values.get(name) not in (None, "")}
    return {name: value for name, value in plain.items() if value == value}  # NaN is a missing number


def _plain(value: Any) -> Any:
    """A value that SQLite compares: text, number or bool; dates as ISO 8601, lists and objects as JSON."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (str, bool, int, float)):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?")  # without leading zeros, which codes such as 00123 have


def _with_types(names: Sequence[str], records: Sequence[Record]) -> list[Record]:
    """The records of a table of text with numbers in the columns that have nothing but numbers."""
    cells = {name: [record.values.get(name) for record in records] for name in names}
    numeric = {
        name
        for name, values in cells.items()
        if any(values) and all(v in (None, "") or (isinstance(v, str) and _NUMBER.fullmatch(v.strip())) for v in values)
    }
    if not numeric:
        return list(records)

    def value(name: str, cell: Any) -> Any:
        return cell if name not in numeric or not cell else float(cell) if "." in cell else int(cell)

    return [Record(r.where, {name: value(name, cell) for name, cell in r.values.items()}) for r in records]
