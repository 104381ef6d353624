"""Tokenizer of an exported text encoder: a text to ids, with Python's standard library only.

    python tokenizer.py text_encoder.int8.tflite "a dog runs" ...     prints the known words and the ids

Copy this file into your project. It reads ``tokenizer.txt`` and ``vocabulary.txt``, which `itembed export --to litert`
writes, from their folder or from inside the .tflite file.
"""

from __future__ import annotations

import bisect
import re
import sys
import unicodedata
import zipfile
from pathlib import Path

FIRST_LINE = "itembed_tf tokenizer 1"


class Tokenizer:
    """Text -> words -> ids.

    Args:
        path: folder of ``tokenizer.txt`` and ``vocabulary.txt``, or a .tflite file that contains them.

    Raises:
        ValueError: the rules have a version that this file does not support.
    """

    def __init__(self, path: str | Path) -> None:
        lines = _read(Path(path), "tokenizer.txt").splitlines()
        if lines[0] != FIRST_LINE:
            raise ValueError(
                f"{path} starts with {lines[0]!r}, this file supports {FIRST_LINE!r}; use the tokenizer.py of the "
                "itembed_tf version that exported it"
            )
        self.settings: dict[str, str] = {}
        self.tables = {"before": Table(), "after": Table()}
        spaced = []
        for key, _, value in (line.partition(" ") for line in lines[1:]):
            if key in self.tables:
                self.tables[key].add(value)
            elif key == "spaced":
                spaced.append("[{}][{}]*".format(*(_class(ranges) for ranges in value.split(" | "))))
            else:
                self.settings[key] = value
        for table in self.tables.values():
            table.runs.sort()
        self.spaced = re.compile("|".join(spaced)) if spaced else None
        self.length, self.longest = int(self.settings["length"]), int(self.settings["longest"])
        words = _read(Path(path), "vocabulary.txt").split("\n")[:-1]
        self.ids = {word: i for i, word in enumerate(words, start=1)}

    def words(self, text: str | bytes) -> list[str]:
        """All words of a text, known or not. Bytes are UTF-8; invalid bytes separate words."""
        data = text.encode("utf-8", "replace") if isinstance(text, str) else text
        text = data[: self.longest].decode("utf-8", "replace")
        if self.spaced:
            text = unicodedata.normalize("NFKC", text.translate(self.tables["before"]))
        text = text.translate(self.tables["after"])
        if self.spaced:
            text = self.spaced.sub(r" \g<0> ", unicodedata.normalize("NFC", text))
        return text.split()

    def encode(self, text: str | bytes) -> list[int]:
        """The model's input, `length` ids: unknown words removed, then truncated or padded with 0 on the right."""
        known = [self.ids[word] for word in self.words(text) if word in self.ids][: self.length]
        return known + [0] * (self.length - len(known))


class Table(dict[int, "int | None"]):
    """Character mapping for `str.translate`: ranges (first, last, action), looked up on first use."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[tuple[int, int, str]] = []

    def add(self, line: str) -> None:
        """Add the action and ranges of one line; sort `runs` before the first look-up."""
        action, *ranges = line.split()
        self.runs += [(*_ends(range_), action) for range_ in ranges]

    def __missing__(self, code: int) -> int | None:
        i = bisect.bisect_right(self.runs, code, key=lambda run: run[0]) - 1
        self[code] = _changed(code, self.runs[i][2]) if i >= 0 and code <= self.runs[i][1] else code
        return self[code]


def _read(path: Path, name: str) -> str:
    if path.is_dir():
        return (path / name).read_text(encoding="utf-8")
    with zipfile.ZipFile(path) as inside:
        return inside.read(name).decode("utf-8")


def _ends(range_: str) -> tuple[int, int]:
    first, _, last = range_.partition("-")
    return int(first, 16), int(last or first, 16)


def _changed(code: int, action: str) -> int | None:
    if action in ("drop", "part"):
        return ord(" ") if action == "part" else None
    return int(action[1:], 16) if action[0] == "=" else code + int(action)


def _class(ranges: str) -> str:
    return "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in map(_ends, ranges.split()))


if __name__ == "__main__":
    tokenizer = Tokenizer(sys.argv[1])
    for text in sys.argv[2:]:
        print([word for word in tokenizer.words(text) if word in tokenizer.ids], tokenizer.encode(text))
