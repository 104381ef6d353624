"""A sentence -> the ids of a text encoder, with nothing but Python's standard library.

    python tokenizer.py text_encoder.int8.tflite "a dog runs" ...     words known to the model, and the ids

Copy this file into your project. It reads what `python -m export.tflite` wrote: ``tokenizer.txt`` and
``vocabulary.txt``, from their folder or from inside the .tflite file.
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
    """Sentences -> words -> ids.

    Args:
        path: the folder of ``tokenizer.txt`` and ``vocabulary.txt``, or a .tflite file that holds them.

    Raises:
        ValueError: rules of another version than this file knows.
    """

    def __init__(self, path: str | Path) -> None:
        lines = _read(Path(path), "tokenizer.txt").splitlines()
        if lines[0] != FIRST_LINE:
            raise ValueError(
                f"{path} begins with {lines[0]!r}, this reader knows {FIRST_LINE!r}; take the newer reader"
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

    def words(self, sentence: str | bytes) -> list[str]:
        """All words of a sentence, known or not; bytes are UTF-8, and what is not parts words."""
        data = sentence.encode("utf-8", "replace") if isinstance(sentence, str) else sentence
        text = data[: self.longest].decode("utf-8", "replace")
        if self.spaced:
            text = unicodedata.normalize("NFKC", text.translate(self.tables["before"]))
        text = text.translate(self.tables["after"])
        if self.spaced:
            text = self.spaced.sub(r" \g<0> ", unicodedata.normalize("NFC", text))
        return text.split()

    def encode(self, sentence: str | bytes) -> list[int]:
        """The model's input, `length` ids: unknown words dropped, then cut, 0 to the right."""
        known = [self.ids[word] for word in self.words(sentence) if word in self.ids][: self.length]
        return known + [0] * (self.length - len(known))


class Table(dict[int, "int | None"]):
    """What each code point becomes, for `str.translate`: runs of (first, last, action), looked up as they are met."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[tuple[int, int, str]] = []

    def add(self, line: str) -> None:
        """One line's action and ranges; the runs are to be sorted before the first look-up."""
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
    for said in sys.argv[2:]:
        print([word for word in tokenizer.words(said) if word in tokenizer.ids], tokenizer.encode(said))
