"""Finds the caption files in a folder of images: by their names, by splits in their names, or beside the images."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from itembed_tf.data.readers.columns import is_header
from itembed_tf.data.readers.group import IMAGE_SUFFIXES
from itembed_tf.data.readers.records import SUFFIXES
from itembed_tf.data.readers.rows import SPLIT_NAMES
from itembed_tf.data.readers.tokens import is_token_line

# In order of preference; two files of one tuple are refused, as it is not known which is meant.
NAMES = (
    ("captions.jsonl", "captions.csv"),
    ("captions.tsv", "captions.json", "captions.parquet", "captions.txt"),
    ("metadata.jsonl", "metadata.csv", "metadata.parquet"),
    ("results.csv", "results_20130124.token"),
)
TAR = (".tar", ".tar.gz", ".tgz")
CONTAINERS = (TAR, (".parquet",))  # that hold the images too
FOLDERS = ("annotations", "data", "captions", "text", "texts", "metadata")  # that are searched after the folder itself
# Not captions: img2dataset's statistics, COCO's other annotations, and what comes with any download.
IGNORED = re.compile(
    "(readme|licen[cs]e|requirements|config|state$|dataset_info|dataset_dict|.*_stats$|instances_|person_keypoints_|stuff_)",
    re.I,
)


MANY = 10  # tables in a folder: more are a file per image, of something else
_CSV = "save it as CSV UTF-8"
UNREAD = {
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers", ".xml", ".yaml", ".yml"), _CSV),
    ".arrow": "write it as Parquet: Dataset.to_parquet of Hugging Face datasets",
    **dict.fromkeys((".pkl", ".pickle"), "write it as Parquet or CSV; a pickle could run code"),
    **dict.fromkeys((".zip", ".gz", ".7z", ".rar"), "unpack it"),
}


@dataclass(frozen=True)
class CaptionFile:
    """A caption file or container, and the split that its name or folder gives to all its rows; "" for none."""

    path: Path
    split: str


def find_caption_files(root: Path, captions: str, advice: str) -> list[CaptionFile]:
    """The caption files of a folder; none if it has only text files beside images, or nothing.

    Args:
        root: the folder.
        captions: the setting dataset.captions, a path in `root`; "" to find the files.
        advice: ends every message.

    Raises:
        FileNotFoundError: `captions` is not a file.
        ValueError: several files, of which one must be chosen.
    """
    if captions:
        path = root / captions if (root / captions).is_file() else Path(captions).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"dataset.captions = {captions!r}: neither {root / captions} nor {path} is a file. {advice}"
            )
        return [CaptionFile(path, "")]

    def within(folder: Path) -> list[CaptionFile]:
        return _in_folder(root, folder, advice)

    for folder in (root, *(root / name for name in FOLDERS)):
        if folder.is_dir() and (found := within(folder)):
            return found
    folders = {folder: split_of(folder.name) for folder in _folders(root)}
    found = [CaptionFile(file.path, split) for folder, split in folders.items() if split for file in within(folder)]
    others = [files for folder, split in folders.items() if not split and (files := within(folder))]
    return found or (others[0] if len(others) == 1 else [])


def split_of(name: str) -> str:
    """The split that a name of a file or folder has as one of its words; "" for none, or several."""
    words = re.findall("[a-z]+", name.lower())
    splits = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES} | {"train" for w in words if w == "training"}
    return splits.pop() if len(splits) == 1 else ""


def unread_files(root: Path) -> str:
    """The files of a folder in formats that are not read, each with what to do; "" for none."""
    found = [(path.name, UNREAD[path.suffix.lower()]) for path in _files(root) if path.suffix.lower() in UNREAD]
    return "; ".join(f"{name} ({advice})" for name, advice in found[:5])


def _in_folder(root: Path, folder: Path, advice: str) -> list[CaptionFile]:
    files = {path.name.lower(): path for path in _files(folder)}
    for names in NAMES:
        existing = [files[name] for name in names if name in files]
        if existing:
            return [CaptionFile(_single(root, existing, advice), "")]
    karpathy = [path for name, path in files.items() if re.fullmatch(r"dataset_(?!info|dict).*\.json", name)]
    if karpathy:
        return [CaptionFile(_single(root, karpathy, advice), "")]
    for endings in CONTAINERS:
        # img2dataset writes a table without images beside each folder of images
        containers = [path for name, path in files.items() if name.endswith(endings)]
        if containers and not any(path.with_suffix("").is_dir() for path in containers):
            return [CaptionFile(path, split_of(path.stem)) for path in containers]
    images = {path.stem for name, path in files.items() if name.endswith(IMAGE_SUFFIXES)}
    tables = [path for name, path in files.items() if name.endswith(SUFFIXES) and path.stem not in images]
    tables = [path for path in tables if not IGNORED.match(path.stem)]
    named = [path for path in tables if path.stem.lower().startswith("caption")]
    tables = named or [path for path in tables if path.suffix.lower() != ".txt"] or _tables(tables)
    splits = [split_of(path.stem) for path in tables]
    if len(tables) > 1 and all(splits) and len(set(splits)) == len(splits):
        return [CaptionFile(path, split) for path, split in zip(tables, splits)]
    return [CaptionFile(_single(root, tables, advice), "")] if 0 < len(tables) <= MANY else []


def _tables(texts: Sequence[Path]) -> list[Path]:
    """Of text files, those that are tables or token files by their first line."""
    tables = []
    for path in filter(Path.is_file, texts):
        with path.open("rb") as file:
            first = file.readline(1000).decode("utf-8-sig", errors="replace")
        if is_header(first) or is_token_line(first):
            tables.append(path)
    return tables


def _single(root: Path, files: Sequence[Path], advice: str) -> Path:
    if len(files) > 1:
        names = [path.relative_to(root).as_posix() for path in files]
        listed = " and ".join(names) if len(names) == 2 else ", ".join(names)
        raise ValueError(
            f"{root} has {'both ' if len(names) == 2 else ''}{listed}; keep only one of them, or choose one with "
            f'dataset.captions = "{names[0]}". {advice}'
        )
    return files[0]


def _files(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if not entry.name.startswith(".") and not entry.is_dir())


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if not entry.name.startswith(".") and entry.is_dir())
