"""Flickr8k reader: both layouts, the official lists, and errors."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from PIL import Image

from itembed_tf.config import arguments
from itembed_tf.config.schema import Dataset
from itembed_tf.data.readers import Group, flickr8k, read_dataset
from itembed_tf.files import checksum

LISTS = {"train": ["11_a.jpg", "12_b.jpg"], "dev": ["13_c.jpg"], "test": ["14_d.jpg"]}
CAPTIONS = {
    "11_a.jpg": ["A dog runs .", "A brown dog , running ."],
    "12_b.jpg": ["Two girls ."],
    "13_c.jpg": ['A sign says " stop " .'],
    "14_d.jpg": ["A man climbs ."],
}
ALL = ("train", "dev", "test")


@pytest.fixture(autouse=True)
def lists_are_official(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flickr8k, "OFFICIAL", {split: checksum(*sorted(names)) for split, names in LISTS.items()})


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in CAPTIONS:
        Image.new("RGB", (8, 6), "red").save(folder / name)


def write_lists(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for split, names in LISTS.items():
        (folder / f"Flickr_8k.{split}Images.txt").write_text("".join(f"{name}\n" for name in names))


@pytest.fixture
def original(tmp_path: Path) -> Path:
    write_images(tmp_path / "Flicker8k_Dataset")
    write_lists(tmp_path / "Flickr8k_text")
    lines = [f"{name}#{i}\t{caption} \n" for name, own in CAPTIONS.items() for i, caption in enumerate(own)]
    (tmp_path / "Flickr8k_text" / "Flickr8k.token.txt").write_text("".join(lines))
    return tmp_path


@pytest.fixture
def common(tmp_path: Path) -> Path:
    root = tmp_path / "common"
    write_images(root / "Images")
    write_lists(root)
    quoted = {
        'A sign says " stop " .': '"A sign says "" stop "" ."',
        "A brown dog , running .": '"A brown dog , running ."',
    }
    lines = [f"{name},{quoted.get(caption, caption)}\n" for name, own in CAPTIONS.items() for caption in own]
    (root / "captions.txt").write_text("image,caption\n" + "".join(lines))
    return root


def read(root: Path, splits: tuple[str, ...] = ALL) -> list[Group]:
    return read_dataset(**arguments(Dataset(name="flickr8k", root=str(root), splits=splits)))


def test_both_layouts_give_the_same_groups(original: Path, common: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        groups = read(original)
        others = read(common)
    assert [(group.id, group.split) for group in groups] == [
        ("11_a", "train"),
        ("12_b", "train"),
        ("13_c", "dev"),
        ("14_d", "test"),
    ]
    assert [group.captions for group in groups] == [tuple(own) for own in CAPTIONS.values()]
    assert [group.captions for group in others] == [group.captions for group in groups]
    assert all(Path(str(group.images[0])).is_file() for group in [*groups, *others])
    assert groups[0].images == (str(original / "Flicker8k_Dataset" / "11_a.jpg"),)


def test_lists_of_other_splits_are_optional(original: Path) -> None:
    (original / "Flickr8k_text" / "Flickr_8k.testImages.txt").unlink()
    assert {group.split for group in read(original, ("train", "dev"))} == {"train", "dev"}
    with pytest.raises(FileNotFoundError, match=r"list of test is missing.*Flickr_8k\.testImages\.txt.*train, dev"):
        read(original)


def test_the_common_layout_needs_the_lists(common: Path) -> None:
    for path in common.glob("Flickr_8k*"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"list of train is missing; it must be .*Flickr_8k\.trainImages\.txt"):
        read(common)


def test_missing_parts_are_named(original: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere.*is not a folder"):
        read(tmp_path / "nowhere")
    (original / "Flicker8k_Dataset").rename(original / "renamed")
    with pytest.raises(FileNotFoundError, match=r"image folder is missing.*Flicker8k_Dataset or Images"):
        read(original)
    (original / "renamed").rename(original / "Flicker8k_Dataset")
    (original / "Flickr8k_text" / "Flickr8k.token.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"caption file is missing.*Flickr8k\.token\.txt.*captions\.txt"):
        read(original)


def test_groups_with_a_missing_image_are_kept(original: Path) -> None:
    (original / "Flicker8k_Dataset" / "12_b.jpg").unlink()
    assert "12_b" in {group.id for group in read(original)}


def test_image_names_with_a_number_suffix(original: Path) -> None:
    tokens = original / "Flickr8k_text" / "Flickr8k.token.txt"
    tokens.write_text(tokens.read_text().replace("12_b.jpg#", "12_b.jpg.1#"))
    assert next(group for group in read(original) if group.id == "12_b").captions == ("Two girls .",)


def test_image_names_without_an_ending(original: Path) -> None:
    tokens = original / "Flickr8k_text" / "Flickr8k.token.txt"
    tokens.write_text(tokens.read_text().replace(".jpg#", "#"))
    assert next(group for group in read(original) if group.id == "12_b").captions == ("Two girls .",)


def test_the_names_of_the_caption_file_are_reported_where_they_are_others(original: Path) -> None:
    tokens = original / "Flickr8k_text" / "Flickr8k.token.txt"
    tokens.write_text(tokens.read_text().replace(".jpg#", ".png#"))
    with pytest.raises(
        ValueError, match=r"4 listed images have no caption(.|\n)*has names such as '11_a\.png', '12_b\.png'"
    ):
        read(original)


def test_a_list_that_is_not_the_official_one_warns(original: Path) -> None:
    path = original / "Flickr8k_text" / "Flickr_8k.devImages.txt"
    path.write_text("15_e.jpg\n")
    with pytest.warns(UserWarning, match="devImages.txt is not the official list of dev"), pytest.raises(ValueError):
        read(original)


def test_a_file_with_blanks_for_tabs_is_reported_once_with_the_pattern(original: Path) -> None:
    tokens = original / "Flickr8k_text" / "Flickr8k.token.txt"
    tokens.write_text("".join(f"{n}_a.jpg#zhb#0 一只狗\n" for n in range(40_000)), encoding="utf-8")
    with pytest.raises(ValueError) as caught:
        read(original)
    text = str(caught.value)
    assert "40,000 invalid lines:\n  line 1: no tab in '0_a.jpg#zhb#0 一只狗'\n  ... and 39,999 more" in text
    assert "A line must be name.jpg#0<tab>caption" in text and len(text) < 1000


def test_a_pointer_in_the_place_of_a_list_or_of_captions(original: Path) -> None:
    for name in ("Flickr_8k.devImages.txt", "Flickr8k.token.txt"):
        path = original / "Flickr8k_text" / name
        before = path.read_bytes()
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
        with pytest.raises(ValueError, match=rf"{name} is a Git LFS pointer: run git lfs pull"):
            read(original)
        path.write_bytes(before)


def test_order_of_a_list_does_not_matter(original: Path) -> None:
    path = original / "Flickr8k_text" / "Flickr_8k.trainImages.txt"
    path.write_text("\r\n".join(reversed(LISTS["train"])))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read(original, ("train",))) == 2


@pytest.mark.filterwarnings("ignore:.*official")
def test_an_image_in_two_lists_is_refused_even_if_one_list_is_not_used(original: Path) -> None:
    (original / "Flickr8k_text" / "Flickr_8k.devImages.txt").write_text("13_c.jpg\n11_a.jpg\n")
    with pytest.raises(ValueError, match=r"listed twice(.|\n)*11_a\.jpg: train and dev"):
        read(original, ("train",))


@pytest.mark.filterwarnings("ignore:.*official")
def test_listed_images_need_captions(original: Path) -> None:
    (original / "Flickr8k_text" / "Flickr_8k.devImages.txt").write_text("13_c.jpg\n99_z.jpg\n")
    with pytest.raises(ValueError, match=r"1 listed images have no caption:\n  99_z\.jpg"):
        read(original)


def test_all_bad_lines_are_listed(original: Path, common: Path) -> None:
    tokens = original / "Flickr8k_text" / "Flickr8k.token.txt"
    tokens.write_text(tokens.read_text() + "15_e.jpg#0\t \nno image here\n")
    with pytest.raises(
        ValueError, match=r"line 6: no caption in '15_e.jpg#0\\t '\n  line 7: no tab in 'no image here'"
    ):
        read(original)
    table = common / "captions.txt"
    table.write_text(table.read_text() + '15_e.jpg,"never closed\n16_f.jpg,A cat .\n')
    with pytest.raises(ValueError, match="quotation mark"):
        read(common)
    table.write_text("image|text\n")
    with pytest.raises(ValueError, match="must be 'image,caption'"):
        read(common)
