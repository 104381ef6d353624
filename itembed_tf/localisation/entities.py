"""Reader of Flickr30k Entities: captions with marked phrases and their boxes, all checked before training starts.

::

    DATA/flickr30k-images/<id>.jpg     the images; flickr30k_images/ or images/ and .png work too
    DATA/Sentences/<id>.txt            one caption a line, phrases marked up: [/EN#<chain>/<type>/<type> words]
    DATA/Annotations/<id>.xml          width, height, and for each chain its boxes or the flags scene and nobndbox
    DATA/train.txt, val.txt, test.txt  image ids, one a line
    DATA/UNRELATED_CAPTIONS            optional: <id> <number from 1> of captions that describe another image
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

from itembed_tf.data.readers.group import SPLITS, format_items
from itembed_tf.data.readers.source import find_path, read_lines
from itembed_tf.localisation.annotations import read_annotations

IMAGE_FOLDERS = ("flickr30k-images/", "flickr30k_images/", "images/")
ENDINGS = (".jpg", ".jpeg", ".png")
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")  # that `data.images` decodes, whatever the suffix
LISTS = {"train": "train.txt", "dev": "val.txt", "test": "test.txt"}
EXIF_ORIENTATION = 0x0112
NOT_VISUAL = "0"  # chain number of phrases that were not annotated; these phrases do not corefer
MARKED = re.compile(r"\[/EN#(?P<chain>\d+)(?P<types>(?:/\w+)+) +(?P<words>[^\[\]]*[^\[\]\s])\s*\]")
ADVICE = (
    "Sentences, Annotations (annotations.zip), the lists and UNRELATED_CAPTIONS: "
    "https://github.com/BryanPlummer/flickr30k_entities. docs/localisation.md shows the expected directory layout; "
    "python -m itembed_tf.localisation.scenes writes an example."
)


@dataclass(frozen=True)
class Phrase:
    text: str
    chain: str  # phrases of one image with the same chain refer to the same entity
    types: tuple[str, ...]  # people, clothing, ...; at least one
    sentence: int  # index into the image's captions


@dataclass(frozen=True)
class AnnotatedImage:
    """One annotated image.

    Attributes:
        id: file name without suffix.
        path: image file.
        split: "train", "dev" (val.txt) or "test".
        width, height: in pixels.
        sentences: captions without markup, without those in UNRELATED_CAPTIONS.
        phrases: of the captions, in order.
        boxes: int32 [n, 4] for each chain that has boxes (format: see module `boxes`).
        unboxed: flag of each chain that is a scene or has no box.
        clipped: number of boxes clipped at the image border.
        unrelated: number of captions left out.
    """

    id: str
    path: str
    split: str
    width: int
    height: int
    sentences: tuple[str, ...]
    phrases: tuple[Phrase, ...]
    boxes: Mapping[str, np.ndarray]
    unboxed: Mapping[str, str]
    clipped: int
    unrelated: int


def read_entities(root: str | Path, splits: Sequence[str] = SPLITS) -> list[AnnotatedImage]:
    """Read all images of the splits, in the order of their lists. The module docstring shows the directory layout.

    Raises:
        FileNotFoundError: a folder or list is missing.
        ValueError: missing or invalid files; the message lists up to 20 of them with the reason.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; expected the folder of Flickr30k Entities. {ADVICE}")
    images = _stems(find_path(root, IMAGE_FOLDERS, "the folder of images", ADVICE))
    folders = {
        name: find_path(root, (f"{name}/",), f"the folder {name}", ADVICE) for name in ("Sentences", "Annotations")
    }
    unrelated = _unrelated(root / "UNRELATED_CAPTIONS")
    found, problems = [], []
    listed = _listed(root, splits)
    for id, split in tqdm(listed.items(), desc="reading annotations", unit=" images"):
        try:
            path = images.get(id)
            if path is None:
                raise ValueError(f"{id}: no image {id}.jpg in {root}")
            found.append(_read_one(id, path, split, folders, unrelated.get(id, set())))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(
            f"{root}: {len(problems)} of {len(listed)} images cannot be used:\n{format_items(problems)}\n{ADVICE}"
        )
    if not any(image.boxes for image in found):
        raise ValueError(
            f"{root}: no phrase of {', '.join(splits)} has a box, so there is nothing to localise. {ADVICE}"
        )
    return found


def read_sentences(path: Path) -> tuple[list[str], list[Phrase]]:
    """Read one Sentences file: the captions without markup, and their phrases.

    Raises:
        ValueError: invalid markup; the message names the line.
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
                f"{path}, line {number}: {where!r} is invalid markup; expected, e.g., [/EN#12/people/clothing a man]"
            )
        for mark in MARKED.finditer(line):
            types = tuple(mark["types"].split("/")[1:])
            phrases.append(Phrase(" ".join(mark["words"].split()), mark["chain"], types, len(sentences)))
        sentences.append(" ".join(MARKED.sub(lambda mark: mark["words"], line).split()))
    return sentences, phrases


def located(image: AnnotatedImage) -> list[Phrase]:
    """Phrases of an image that can be localised: those whose chain has a box."""
    return [phrase for phrase in image.phrases if phrase.chain != NOT_VISUAL and phrase.chain in image.boxes]


def summary(images: Sequence[AnnotatedImage]) -> dict[str, int]:
    """How much there is of everything, what is left out included."""
    count: Counter[str] = Counter(images=len(images))
    for image in images:
        count["sentences"] += len(image.sentences)
        count["phrases with a box"] += len(located(image))
        count["boxes"] += sum(map(len, image.boxes.values()))
        count["boxes clipped at the image border"] += image.clipped
        count["unrelated captions left out"] += image.unrelated
        for phrase in image.phrases:
            if phrase.chain == NOT_VISUAL:
                count["phrases left out: not visual"] += 1
            elif phrase.chain not in image.boxes:
                count[f"phrases left out: {image.unboxed.get(phrase.chain, 'not annotated')}"] += 1
    return dict(count)


def _read_one(id: str, path: Path, split: str, folders: Mapping[str, Path], unrelated: set[int]) -> AnnotatedImage:
    files = {name: folder / f"{id}.{'txt' if name == 'Sentences' else 'xml'}" for name, folder in folders.items()}
    for name, file in files.items():
        if not file.is_file():
            raise ValueError(f"{id}: {name}/{file.name} is missing")
    sentences, phrases = read_sentences(files["Sentences"])
    if max(unrelated, default=0) > len(sentences):
        raise ValueError(f"UNRELATED_CAPTIONS: {id} has no sentence {max(unrelated)}, only {len(sentences)}")
    (width, height), boxes, unboxed, clipped = read_annotations(files["Annotations"])
    size = _size(path)
    if size != (width, height):
        raise ValueError(
            f"{path} is {size[0]} x {size[1]}, but its annotation says {width} x {height}; use images of original size"
        )
    kept = [i for i in range(len(sentences)) if i + 1 not in unrelated]
    phrases = [phrase for phrase in phrases if phrase.sentence in kept]
    place = {old: new for new, old in enumerate(kept)}
    return AnnotatedImage(
        id=id,
        path=str(path),
        split=split,
        width=width,
        height=height,
        sentences=tuple(sentences[i] for i in kept),
        phrases=tuple(Phrase(p.text, p.chain, p.types, place[p.sentence]) for p in phrases),
        boxes=boxes,
        unboxed=unboxed,
        clipped=clipped,
        unrelated=len(sentences) - len(kept),
    )


def _size(path: Path) -> tuple[int, int]:
    """Width and height after EXIF orientation; the file is decoded to its end, so truncated files are found."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as opened:
                rotated = opened.getexif().get(EXIF_ORIENTATION, 1) >= 5
                width, height = opened.size
                opened.draft("L", (width // 8, height // 8))  # JPEG: decoded in a fraction of the time
                opened.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    return (height, width) if rotated else (width, height)


def _stems(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in ENDINGS}


def _listed(root: Path, splits: Sequence[str]) -> dict[str, str]:
    """id -> split, for the requested splits. Other lists may be missing; an id must not be in two lists."""
    owner: dict[str, str] = {}
    problems = []
    for split, name in LISTS.items():
        if split not in splits and not (root / name).is_file():
            continue
        for line in filter(
            None, map(str.strip, read_lines(find_path(root, (name,), f"the list of {split}", ADVICE), ADVICE))
        ):
            if line in owner:
                problems.append(f"{name}: {line[:60]} is also in {LISTS[owner[line]]}")
            elif not re.fullmatch(r"[\w-]{1,100}", line):
                problems.append(f"{name}: {line[:60]!r} is not an id (a file name without suffix)")
            owner[line] = split
    if problems:
        raise ValueError(f"{root}: {len(problems)} invalid lines in the lists:\n{format_items(problems)}\n{ADVICE}")
    return {id: split for id, split in owner.items() if split in splits}


def _unrelated(path: Path) -> dict[str, set[int]]:
    """id -> one-based caption numbers."""
    found: dict[str, set[int]] = {}
    for number, line in enumerate(read_lines(path, ADVICE) if path.is_file() else [], start=1):
        if not line.strip() or line.startswith("#"):
            continue
        entry = re.fullmatch(r"\s*([\w-]+)\s+([1-9]\d{0,3})\s*", line)
        if entry is None:
            raise ValueError(
                f"{path}, line {number}: {line[:60]!r}; expected an id and a one-based caption number. {ADVICE}"
            )
        found.setdefault(entry[1], set()).add(int(entry[2]))
    return found
