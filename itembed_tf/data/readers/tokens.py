"""The token file of Flickr8k and Flickr30k: lines of `name.jpg#0<tab>caption` -> the captions of each picture."""

from __future__ import annotations

import re
from pathlib import Path

from itembed_tf.data.readers.group import some
from itembed_tf.data.readers.source import fault_of_path, is_sentence, read_lines


def read_tokens(path: Path, advice: str) -> dict[str, list[str]]:
    """Captions by picture name, in the order of the file.

    Raises:
        ValueError: the file cannot be read, or lines of it are malformed (all are listed, up to 20).
    """
    captions: dict[str, list[str]] = {}
    first: dict[str, int] = {}
    problems = []
    for number, line in enumerate(read_lines(path, advice), 1):
        if not line.strip():
            continue
        key, _, caption = line.partition("\t")
        name = picture_name(key.rpartition("#")[0])
        fault = fault_of_token(name, caption)
        if not fault and first.setdefault(key, number) != number:
            fault = f"{key} stands in line {first[key]} already"
        if fault:
            problems.append(f"line {number}: {fault}")
        else:
            captions.setdefault(name, []).append(caption.strip())
    if problems:
        raise ValueError(
            f"{path}: {len(problems)} lines cannot be read:\n{some(problems)}\n"
            f"A line is a picture's name, # and a number, a tab, and the caption. {advice}"
        )
    return captions


def picture_name(written: str) -> str:
    """Flickr8k's official token file names one picture "2258277193_586949ec62.jpg.1"."""
    return re.sub(r"(\.jpe?g)\.\d+$", r"\1", written.strip(), flags=re.IGNORECASE)


def fault_of_token(name: str, caption: str) -> str:
    """What is wrong with a picture's name and caption; "" where nothing is."""
    if not name or not caption.strip():
        return f"no {'caption' if name else 'picture'}"
    return fault_of_path(name) or ("" if is_sentence(caption) else "a caption that cannot be written as UTF-8")
