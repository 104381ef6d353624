"""Folder reader: your own images and captions, in any of the layouts of docs/your_images.md."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from itembed_tf.data.readers.caption_files import TAR, CaptionFile, find_caption_files, split_of, unread_files
from itembed_tf.data.readers.columns import Columns, find_columns, ignored_columns
from itembed_tf.data.readers.group import SPLITS, Group
from itembed_tf.data.readers.image_paths import ImageFiles, image_files
from itembed_tf.data.readers.own_split import hold_out
from itembed_tf.data.readers.parquet import image_leaf, open_parquet, parquet_columns, parquet_records, read_parquet
from itembed_tf.data.readers.problems import format_problems
from itembed_tf.data.readers.records import Record, read_records
from itembed_tf.data.readers.rows import Row, check_rows, find_images, groups_of, row_of
from itembed_tf.data.readers.sidecar import has_sidecars, read_sidecars
from itembed_tf.data.readers.webdataset import Damage, read_tar

ADVICE = "docs/your_images.md shows the layouts that are read; configs/photos.toml is a config for them."

EXAMPLES = 20  # records by whose values a column is found


@dataclass(frozen=True)
class _Settings:
    """The settings of the folder: `images` is "" where the images are beside their captions."""

    root: Path
    images: str
    image_column: str
    caption_column: str

    @property
    def image_folder(self) -> Path:
        """The folder that dataset.images names, relative to `root` or to the working directory; else `root`."""
        inside = self.root / self.images
        folder = inside if inside.is_dir() else Path(self.images).expanduser()
        if not folder.is_dir():
            raise FileNotFoundError(f"dataset.images = {self.images!r}: neither {inside} nor {folder} is a folder")
        return folder

    def name_of(self, path: Path) -> str:
        """A file's path in `root`, for ids."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.name


def read(
    *,
    root: str,
    splits: Sequence[str],
    held_out_percent: int,
    captions: str,
    images: str,
    image_column: str,
    caption_column: str,
    **_others: object,
) -> list[Group]:
    """Read one group per image or, where rows have a label, one group per label with all its images and captions.

    Several rows may name one image. Captions that are empty are kept, for `read_data` to report.

    Args:
        root: the folder.
        splits: requested splits.
        held_out_percent: without splits in the data: percentage of groups in dev, and the same in test (`hold_out`).
        captions: the caption file, a path in `root`; "" to find it.
        images: the folder of the images, if they are not where the captions are.
        image_column, caption_column: columns, keys or endings of the caption file; "" to find them by their names.

    Raises:
        FileNotFoundError: a folder or the caption file is missing.
        ValueError: several caption files; invalid lines (the first of each kind are listed); an empty split.
        MissingExtra: Parquet files, and pyarrow is not installed.
    """
    if not root or not Path(root).is_dir():
        raise FileNotFoundError(
            f"dataset.root = {root!r} is not a folder; it must be the folder of your images. {ADVICE}"
        )
    settings = _Settings(Path(root), images, image_column, caption_column)
    files = find_caption_files(settings.root, captions, ADVICE)
    problems: list[str] = []
    rows = _rows_of_files(files, settings) if files else _sidecars(settings, problems)
    place = str(files[0].path if len(files) == 1 else root)
    rows = check_rows(rows, place, problems)
    if problems:
        raise ValueError(f"{place}: {format_problems(problems, 'lines')}\n{ADVICE}")
    groups = groups_of(rows)
    if not any(caption for group in groups for caption in group.captions):
        raise ValueError(f"{place} has no captions; write at least one line for each image. {ADVICE}")
    given = any(group.split for group in groups)
    if not given:
        groups = _held_out(groups, held_out_percent, place)
    _check_splits(place, groups, splits, given, held_out_percent)
    return groups


def images_without_caption(root: str, images: str, groups: Sequence[Group]) -> list[str]:
    """The files in the folder of the images, hidden ones aside, that are in no group, relative to that folder."""
    named = {str(Path(image).absolute()) for group in groups for image in group.images if isinstance(image, str)}
    folder = _Settings(Path(root), images, "", "").image_folder
    others = [path for path in image_files(folder) if str((folder / path).absolute()) not in named]
    return [path.encode("utf-8", "backslashreplace").decode() for path in others]  # names that are not UTF-8


def _rows_of_files(files: Sequence[CaptionFile], settings: _Settings) -> list[Row]:
    rows = []
    damage = Damage()
    for number, file in enumerate(files):
        problems: list[str] = []
        if file.path.name.lower().endswith(TAR):
            name = settings.name_of(file.path)
            own = read_tar(file.path, name, file.split, settings.caption_column, ADVICE, damage, problems)
        else:
            own = _rows_of_file(file, settings, problems, first=number == 0)
        if problems:
            raise ValueError(f"{file.path}: {format_problems(problems, 'lines')}\n{ADVICE}")
        rows += own if len(files) == 1 else [replace(row, where=f"{file.path.name}, {row.where}") for row in own]
    damage.warn(str(settings.root))
    return rows


def _rows_of_file(file: CaptionFile, settings: _Settings, problems: list[str], *, first: bool) -> list[Row]:
    path = file.path
    if path.suffix.lower() == ".parquet":
        with open_parquet(path, ADVICE) as table:
            if leaf := image_leaf(table, settings.image_column):
                columns = parquet_columns(table, path, leaf, settings.caption_column, ADVICE)
                _warn_of_ignored(path, columns, table.schema_arrow.names, first=first)
                return read_parquet(table, path, settings.name_of(path), leaf, columns, file.split, ADVICE, problems)
            names = list(table.schema_arrow.names)
            records = parquet_records(table, names)
    else:
        names, records = read_records(path, ADVICE, problems)
    return _rows_of_records(names, records, file, settings, problems, first=first)


def _rows_of_records(
    names: list[str],
    records: Sequence[Record],
    file: CaptionFile,
    settings: _Settings,
    problems: list[str],
    *,
    first: bool,
) -> list[Row]:
    if problems and not names:
        return []
    columns = find_columns(
        names,
        [record.values for record in records[:EXAMPLES]],
        image_column=settings.image_column,
        caption_column=settings.caption_column,
        where=str(file.path),
        advice=ADVICE,
    )
    _warn_of_ignored(file.path, columns, names, first=first)
    rows = [row_of(record.where, record.values, columns, file.split, problems) for record in records]
    valid = [row for row in rows if row]
    return find_images(valid, _image_files(valid, file.path.parent, settings), settings.root, str(file.path), problems)


def _warn_of_ignored(path: Path, columns: Columns, names: Sequence[str], *, first: bool) -> None:
    """Warn once of the columns of all files that are alike."""
    if first and (text := ignored_columns(str(path), columns, names)):
        warnings.warn(text, stacklevel=6)


def _image_files(rows: Sequence[Row], beside: Path, settings: _Settings) -> ImageFiles:
    """The folder that image paths are relative to: dataset.images, that of the caption file, or the root."""
    if settings.images:
        return ImageFiles(settings.image_folder)
    files = ImageFiles(beside)
    if beside == settings.root or any(files.exists(str(row.image)) for row in rows):
        return files
    return ImageFiles(settings.root)


def _sidecars(settings: _Settings, problems: list[str]) -> list[Row]:
    """Rows of text files beside images; a folder that is called train, dev, val or test gives the split."""
    root = settings.root
    files = ImageFiles(settings.image_folder)
    if not has_sidecars(root, files):
        unread = unread_files(root)
        raise FileNotFoundError(
            f"{root} has no caption file; write captions.jsonl or captions.csv, or a text file beside each image. "
            + (f"Not read: {unread}. " if unread else "")
            + ADVICE
        )
    rows = read_sidecars(root, files, ADVICE, problems)
    splits = [split_of(row.id.partition("/")[0]) if "/" in row.id else "" for row in rows]
    return [replace(row, split=split) for row, split in zip(rows, splits)] if all(splits) else rows


def _held_out(groups: Sequence[Group], percent: int, place: str) -> list[Group]:
    splits, by_order = hold_out([group.id for group in groups], percent)
    if by_order:
        sizes = [list(splits.values()).count(split) for split in SPLITS]
        warnings.warn(
            f"{place}: {len(groups)} groups are too few to split each by its own checksum, which left a split empty; "
            f"{percent} % of them, at least one, are held out by the order of their checksums: {sizes[0]} train, "
            f"{sizes[1]} dev, {sizes[2]} test. The split may change when images are added; a column `split` fixes it",
            stacklevel=4,
        )
    return [replace(group, split=splits[group.id]) for group in groups]


def _check_splits(
    place: str, groups: Sequence[Group], splits: Sequence[str], given: bool, held_out_percent: int
) -> None:
    existing = [split for split in SPLITS if any(group.split == split for group in groups)]
    empty = [split for split in splits if split not in existing]
    if not empty:
        return
    if given:
        reason = f"its splits are only {', '.join(existing)}. Put some lines into {' and '.join(empty)}"
    else:
        reason = (
            f"the file has no splits, and dataset.held_out_percent = {held_out_percent} of {len(groups)} groups gave "
            "none. Add a split column, or change that setting (below 50, so that train is not empty)"
        )
    raise ValueError(f"{place}: no group is in {' and '.join(empty)}: {reason}, or set dataset.splits = {existing}")
