"""One way to break a copy of a data set, and the tools to do it with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HUGE = "@huge@"  # stands for a number of 5,000 digits, which Python does not write
OVERFLOW = "@overflow@"  # 1e400
DEEP = "@deep@"  # 100,000 lists in each other
RAW = {HUGE: "9" * 5000, OVERFLOW: "1e400", DEEP: "[" * 100_000 + "]" * 100_000}


@dataclass(frozen=True)
class Break:
    """One way to break a copy.

    Attributes:
        kind: what is wrong, in a few words.
        do: does it, to the copy in that folder.
        names: what the error must hold: the file, or the setting.
        settings: of the dataset section, in place of the copy's own.
        harmless: it must be read as the whole copy is.
        in_pictures: only the training program, which decodes the pictures, can find it.
    """

    kind: str
    do: Callable[[Path], None]
    names: str
    settings: dict[str, Any] | None = None
    harmless: bool = False
    in_pictures: bool = False


def nothing(root: Path) -> None:
    del root


def rewrite(path: Path, by: Callable[[bytes], bytes]) -> None:
    path.write_bytes(by(path.read_bytes()))


def load_json(path: Path) -> Any:
    """What a file holds; of JSON lines a list."""
    text = path.read_text()
    return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)


def save_json(path: Path, content: Any) -> None:
    lines = [json.dumps(line) for line in content] if path.suffix == ".jsonl" else [json.dumps(content)]
    text = "\n".join(lines) + "\n"
    for mark, raw in RAW.items():
        text = text.replace(f'"{mark}"', raw)
    path.write_text(text, encoding="utf-8")


def setting(file: str, place: tuple[Any, ...], value: Any, *, remove: bool = False) -> Callable[[Path], None]:
    """Puts something else at one place of a JSON file, by the keys and numbers that lead there; () is all of it."""

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
