"""Reader of the token files of Flickr8k and Flickr30k: lines of `name.jpg#0<tab>caption`."""

from __future__ import annotations

import re
from pathlib import Path

from itembed_tf.data.readers.group import format_items
from itembed_tf.data.readers.source import is_caption, path_problem, read_lines


def read_tokens(path: Path, advice: str) -> dict[str, list[str]]:
    """Read captions by image name, in the order of the file.

    Raises:
        ValueError: the file cannot be read, or has invalid lines (all are listed, up to 20).
    """
    captions: dict[str, list[str]] = {}
    first_line: dict[str, int] = {}
    problems = []
    for number, line in enumerate(read_lines(path, advice), 1):
        if not line.strip():
            continue
        key, _, caption = line.partition("\t")
        name = image_name(key.rpartition("#")[0])
        problem = token_problem(name, caption)
        if not problem and first_line.setdefault(key, number) != number:
            problem = f"{key} duplicates line {first_line[key]}"
        if problem:
            problems.append(f"line {number}: {problem}")
        else:
            captions.setdefault(name, []).append(caption.strip())
    if problems:
        raise ValueError(
            f"{path}: {len(problems)} invalid lines:\n{format_items(problems)}\n"
            f"A line must be an image's name, # and a number, a tab, and the caption. {advice}"
        )
    return captions


def image_name(field: str) -> str:
    """Normalise an image name: Flickr8k's official token file has "2258277193_586949ec62.jpg.1"."""
    return re.sub(r"(\.jpe?g)\.\d+$", r"\1", field.strip(), flags=re.IGNORECASE)


def token_problem(name: str, caption: str) -> str:
    """Describe what is wrong with an image's name or caption; "" if both are valid."""
    if not name or not caption.strip():
        return f"no {'caption' if name else 'image'}"
    return path_problem(name) or ("" if is_caption(caption) else "a caption that is not valid text")
