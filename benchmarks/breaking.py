"""Test cases of fault injection, and functions that damage files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HUGE = "@huge@"  # placeholder of a number of 5,000 digits, which Python does not write
OVERFLOW = "@overflow@"  # 1e400
DEEP = "@deep@"  # 100,000 nested lists
RAW = {HUGE: "9" * 5000, OVERFLOW: "1e400", DEEP: "[" * 100_000 + "]" * 100_000}


@dataclass(frozen=True)
class Break:
    """One way to damage a copy of a dataset.

    Attributes:
        kind: short description.
        do: damages the copy in a folder.
        names: what the error message must have: the file, or the setting.
        settings: overrides of the dataset section.
        harmless: the result must equal that of the intact copy.
        in_images: only the training program, which decodes the images, can detect it.
        warns: the copy is read without what is damaged, and a warning has `names`.
    """

    kind: str
    do: Callable[[Path], None]
    names: str
    settings: dict[str, Any] | None = None
    harmless: bool = False
    in_images: bool = False
    warns: bool = False


def nothing(root: Path) -> None:
    del root


def rewrite(path: Path, by: Callable[[bytes], bytes]) -> None:
    path.write_bytes(by(path.read_bytes()))


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("gone"))


def load_json(path: Path) -> Any:
    """The content of a JSON file; a list for JSON lines."""
    text = path.read_text()
    return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)


def save_json(path: Path, content: Any) -> None:
    lines = [json.dumps(line) for line in content] if path.suffix == ".jsonl" else [json.dumps(content)]
    text = "\n".join(lines) + "\n"
    for placeholder, raw in RAW.items():
        text = text.replace(f'"{placeholder}"', raw)
    path.write_text(text, encoding="utf-8")


def setting(file: str, place: tuple[Any, ...], value: Any, *, remove: bool = False) -> Callable[[Path], None]:
    """Replace or remove one value of a JSON file; `place` is its path of keys and indices, () the whole content."""

    def do(root: Path) -> None:
        content = {"": load_json(root / file)}
        *keys, last = ("", *place)
        holder: Any = content
        for key in keys:
            holder = holder[key]
        if remove:
            del holder[last]
        else:
            holder[last] = value
        save_json(root / file, content[""])

    return do
