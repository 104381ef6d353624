"""Reader of the token files of Flickr8k and Flickr30k: lines of `name.jpg#0<tab>caption`."""

from __future__ import annotations

import re
from pathlib import Path

from itembed_tf.data.readers.group import IMAGE_SUFFIXES
from itembed_tf.data.readers.problems import format_problems
from itembed_tf.data.readers.source import is_caption, path_problem, read_lines

PATTERN = "name.jpg#0<tab>caption"
SHOWN = 80  # characters of a faulty line


def read_tokens(path: Path, advice: str) -> dict[str, list[str]]:
    """Read captions by image name, in the order of the file.

    Raises:
        ValueError: the file cannot be read, or has invalid lines (the first of each kind are listed).
    """
    captions: dict[str, list[str]] = {}
    first_line: dict[str, int] = {}
    problems = []
    for number, line in enumerate(read_lines(path, advice), 1):
        if not line.strip():
            continue
        key, tab, caption = line.partition("\t")
        name = image_name(key.rpartition("#")[0])
        problem = token_problem(name, caption) if tab and "#" in key else "no tab" if not tab else "no # and number"
        if not problem and first_line.setdefault(key, number) != number:
            problem = f"duplicates line {first_line[key]}"
        if problem:
            problems.append(f"line {number}: {problem} in {line[:SHOWN]!r}")
        else:
            captions.setdefault(name, []).append(caption.strip())
    if problems:
        raise ValueError(
            f"{path}: {format_problems(problems, 'lines')}\n"
            f"A line must be {PATTERN}: an image's name, # and a number, a tab, and the caption. {advice}"
        )
    return captions


def is_token_line(line: str) -> bool:
    """Whether a line starts as one of a token file: with an image's name, # and a number."""
    name, number, _ = line.partition("#")
    return bool(number) and image_name(name).lower().endswith(IMAGE_SUFFIXES)


def image_name(field: str) -> str:
    """Normalise an image name: Flickr8k's official token file has "2258277193_586949ec62.jpg.1".

    Translations of Flickr8k have names without an ending.
    """
    name = re.sub(r"(\.jpe?g)\.\d+$", r"\1", field.strip(), flags=re.IGNORECASE)
    return f"{name}.jpg" if re.fullmatch(r"\d+_[0-9a-f]+", name) else name


def token_problem(name: str, caption: str) -> str:
    """Describe what is wrong with an image's name or caption; "" if both are valid."""
    if not name or not caption.strip():
        return f"no {'caption' if name else 'image'}"
    return path_problem(name) or ("" if is_caption(caption) else "a caption that is not valid text")
