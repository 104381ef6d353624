"""Flickr30k Entities: sentences with marked phrases, boxes of what they speak of; checked whole before anything runs.

::

    DATA/flickr30k-images/<id>.jpg     the photographs; flickr30k_images/ or images/ will do, and .png
    DATA/Sentences/<id>.txt            a sentence a line, its phrases marked: [/EN#<chain>/<type>/<type> words]
    DATA/Annotations/<id>.xml          width, height, and what each chain is: boxes, or the flags scene and nobndbox
    DATA/train.txt, val.txt, test.txt  ids, one a line
    DATA/UNRELATED_CAPTIONS            optional: <id> <number from 1> of sentences that speak of another picture
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from itembed_tf.data.readers.group import SPLITS, some
from itembed_tf.data.readers.source import find, read_lines
from itembed_tf.localisation.annotations import read_annotations

PICTURES = ("flickr30k-images/", "flickr30k_images/", "images/")
ENDINGS = (".jpg", ".jpeg", ".png")
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")  # that `itembed_tf.data.images` decodes, whatever the ending says
LISTS = {"train": "train.txt", "dev": "val.txt", "test": "test.txt"}
EXIF_ORIENTATION = 0x0112
NOT_VISUAL = "0"  # the chain of phrases that were not annotated; each is a chain of its own
MARKED = re.compile(r"\[/EN#(?P<chain>\d+)(?P<types>(?:/\w+)+) +(?P<words>[^\[\]]*[^\[\]\s])\s*\]")
ADVICE = (
    "Sentences, Annotations (annotations.zip), the lists and UNRELATED_CAPTIONS: "
    "https://github.com/BryanPlummer/flickr30k_entities. docs/localisation.md shows how they must lie; "
    "python -m itembed_tf.localisation.scenes writes an example."
)


@dataclass(frozen=True)
class Phrase:
    text: str
    chain: str  # phrases of one picture with one chain speak of the same thing
    types: tuple[str, ...]  # people, clothing, ...; at least one
    sentence: int  # its place in the picture's sentences


@dataclass(frozen=True)
class Annotated:
    """One picture with all that is known of it.

    Attributes:
        id: name of its files.
        image: path.
        split: "train", "dev" (val.txt) or "test".
        width, height: in pixels.
        sentences: without the marks; those in UNRELATED_CAPTIONS left out.
        phrases: of the sentences, in their order.
        boxes: int32 [n, 4] of each chain that has any (see `boxes` for what the numbers mean).
        unboxed: chains flagged as scene or without a box, with the flag.
        cut: boxes that went over the picture's edge, and were cut there.
        unrelated: sentences left out.
    """

    id: str
    image: str
    split: str
    width: int
    height: int
    sentences: tuple[str, ...]
    phrases: tuple[Phrase, ...]
    boxes: Mapping[str, np.ndarray]
    unboxed: Mapping[str, str]
    cut: int
    unrelated: int


def read_entities(root: str | Path, splits: Sequence[str] = SPLITS) -> list[Annotated]:
    """Every picture of the splits, in the order of their lists; the module says how the files must lie.

    Raises:
        FileNotFoundError: a folder or list is missing.
        ValueError: files that are missing or cannot be read, up to 20 of them listed with what is wrong and where.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; it must hold Flickr30k Entities. {ADVICE}")
    pictures = _stems(find(root, PICTURES, "the folder of pictures", ADVICE))
    folders = {name: find(root, (f"{name}/",), f"the folder {name}", ADVICE) for name in ("Sentences", "Annotations")}
    unrelated = _unrelated(root / "UNRELATED_CAPTIONS")
    found, problems = [], []
    listed = _listed(root, splits)
    for id, split in tqdm(listed.items(), desc="reading annotations", unit=" pictures"):
        try:
            image = pictures.get(id)
            if image is None:
                raise ValueError(f"{id}: no picture {id}.jpg in {root}")
            found.append(_read_one(id, image, split, folders, unrelated.get(id, set())))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(
            f"{root}: {len(problems)} of {len(listed)} pictures cannot be used:\n{some(problems)}\n{ADVICE}"
        )
    if not any(picture.boxes for picture in found):
        raise ValueError(f"{root}: not one phrase of {', '.join(splits)} has a box: nothing to localise. {ADVICE}")
    return found


def read_sentences(path: Path) -> tuple[list[str], list[Phrase]]:
    """One file of Sentences: its sentences without the marks, and their phrases.

    Raises:
        ValueError: a mark that is not as documented; it names the line.
    """
    sentences: list[str] = []
    phrases = []
    for number, line in enumerate(read_lines(path, ""), start=1):
        if not line.strip():
            continue
        rest = MARKED.sub("", line)
        if "/EN#" in rest:
            where = rest[max(0, rest.index("/EN#") - 1) :][:40]
            raise ValueError(
                f"{path}, line {number}: {where!r} is no whole mark; they look like [/EN#12/people/clothing a man]"
            )
        for mark in MARKED.finditer(line):
            types = tuple(mark["types"].split("/")[1:])
            phrases.append(Phrase(" ".join(mark["words"].split()), mark["chain"], types, len(sentences)))
        sentences.append(" ".join(MARKED.sub(lambda mark: mark["words"], line).split()))
    return sentences, phrases


def located(picture: Annotated) -> list[Phrase]:
    """The phrases of a picture that can be trained on and asked for: those whose chain has a box."""
    return [phrase for phrase in picture.phrases if phrase.chain != NOT_VISUAL and phrase.chain in picture.boxes]


def summary(pictures: Sequence[Annotated]) -> dict[str, int]:
    """How much there is of everything, what is left out included."""
    count: Counter[str] = Counter(pictures=len(pictures))
    for picture in pictures:
        count["sentences"] += len(picture.sentences)
        count["phrases with a box"] += len(located(picture))
        count["boxes"] += sum(map(len, picture.boxes.values()))
        count["boxes cut at the picture's edge"] += picture.cut
        count["unrelated sentences left out"] += picture.unrelated
        for phrase in picture.phrases:
            if phrase.chain == NOT_VISUAL:
                count["phrases left out: not visual"] += 1
            elif phrase.chain not in picture.boxes:
                count[f"phrases left out: {picture.unboxed.get(phrase.chain, 'not annotated')}"] += 1
    return dict(count)


def _read_one(id: str, image: Path, split: str, folders: Mapping[str, Path], unrelated: set[int]) -> Annotated:
    files = {name: folder / f"{id}.{'txt' if name == 'Sentences' else 'xml'}" for name, folder in folders.items()}
    for name, file in files.items():
        if not file.is_file():
            raise ValueError(f"{id}: {name}/{file.name} is missing")
    sentences, phrases = read_sentences(files["Sentences"])
    if max(unrelated, default=0) > len(sentences):
        raise ValueError(f"UNRELATED_CAPTIONS: {id} has no sentence {max(unrelated)}, only {len(sentences)}")
    (width, height), boxes, unboxed, cut = read_annotations(files["Annotations"])
    size = _size(image)
    if size != (width, height):
        raise ValueError(
            f"{image} is {size[0]} x {size[1]}, its annotation says {width} x {height}: a resized copy does not fit"
        )
    kept = [i for i in range(len(sentences)) if i + 1 not in unrelated]
    phrases = [phrase for phrase in phrases if phrase.sentence in kept]
    place = {old: new for new, old in enumerate(kept)}
    return Annotated(
        id=id,
        image=str(image),
        split=split,
        width=width,
        height=height,
        sentences=tuple(sentences[i] for i in kept),
        phrases=tuple(Phrase(p.text, p.chain, p.types, place[p.sentence]) for p in phrases),
        boxes=boxes,
        unboxed=unboxed,
        cut=cut,
        unrelated=len(sentences) - len(kept),
    )


def _size(image: Path) -> tuple[int, int]:
    """Width and height of a picture that can be decoded to its end, upright."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(image, formats=FORMATS) as opened:
                lying = opened.getexif().get(EXIF_ORIENTATION, 1) >= 5
                width, height = opened.size
                opened.draft("L", (width // 8, height // 8))  # JPEG: decoded in a fraction of the time
                opened.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{image} cannot be read: {error}") from None
    return (height, width) if lying else (width, height)


def _stems(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in ENDINGS}


def _listed(root: Path, splits: Sequence[str]) -> dict[str, str]:
    """id -> split, of the splits asked for. The other lists may be missing, but not contradict."""
    owner: dict[str, str] = {}
    problems = []
    for split, name in LISTS.items():
        if split not in splits and not (root / name).is_file():
            continue
        for line in filter(
            None, map(str.strip, read_lines(find(root, (name,), f"the list of {split}", ADVICE), ADVICE))
        ):
            if line in owner:
                problems.append(f"{name}: {line[:60]} stands in {LISTS[owner[line]]} already")
            elif not re.fullmatch(r"[\w-]{1,100}", line):
                problems.append(f"{name}: {line[:60]!r} is no id, which is a file's name without its ending")
            owner[line] = split
    if problems:
        raise ValueError(f"{root}: {len(problems)} lines of the lists cannot be used:\n{some(problems)}\n{ADVICE}")
    return {id: split for id, split in owner.items() if split in splits}


def _unrelated(path: Path) -> dict[str, set[int]]:
    """id -> numbers of sentences, from 1."""
    found: dict[str, set[int]] = {}
    for number, line in enumerate(read_lines(path, ADVICE) if path.is_file() else [], start=1):
        if not line.strip() or line.startswith("#"):
            continue
        entry = re.fullmatch(r"\s*([\w-]+)\s+([1-9]\d{0,3})\s*", line)
        if entry is None:
            raise ValueError(
                f"{path}, line {number}: {line[:60]!r}; it must be an id and a sentence's number from 1. {ADVICE}"
            )
        found.setdefault(entry[1], set()).add(int(entry[2]))
    return found
