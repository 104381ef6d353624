"""Image paths from other machines or in other spellings are resolved, or reported with the most similar file name."""

from __future__ import annotations

from pathlib import Path

import pytest

from itembed_tf.data.readers.image_paths import ImageFiles, ResolvedImages, check_path, resolve_images


def folder(root: Path, *names: str) -> ImageFiles:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return ImageFiles(root)


def resolve(files: ImageFiles, *paths: str) -> ResolvedImages:
    return resolve_images([check_path(path)[0] for path in paths], files, "captions.csv")


@pytest.mark.parametrize(
    ("path", "normal", "problem"),
    [
        ("a/b.jpg", "a/b.jpg", ""),
        (" ./a//b.jpg ", "a/b.jpg", ""),
        ("a\\b.jpg", "a/b.jpg", ""),
        ("C:\\Users\\ann\\b.jpg", "C:/Users/ann/b.jpg", ""),
        ("/home/ann/b.jpg", "/home/ann/b.jpg", ""),
        ("https://a.b/c.jpg", "", "is a web address; download the images"),
        ("HTTP://a.b/c.jpg", "", "is a web address"),
        ("s3://bucket/c.jpg", "", "is a web address"),
        ("www.a.b/c.jpg", "www.a.b/c.jpg", "is a web address"),
        ("data:image/png;base64,AAAA", "data:image/png;base64,AAAA", "is a web address"),
        ("../images/b.jpg", "../images/b.jpg", ""),
        ("a/../../b.jpg", "a/../../b.jpg", "outside the folder"),
        ("/a/../b.jpg", "/a/../b.jpg", "outside the folder"),
        ("", "", "no image"),
        ("  ", "", "no image"),
        ("/", "/", "no image"),
        ("a\0b.jpg", "a\0b.jpg", "not a valid file name"),
    ],
)
def test_paths_are_normal_or_have_a_problem(path: str, normal: str, problem: str) -> None:
    found, message = check_path(path)
    assert found == normal and (problem in message if problem else message == "")


def test_a_path_that_is_no_text_has_a_problem() -> None:
    assert "must be text" in check_path(7)[1] and check_path(None)[1] == "no image"


def test_exact_paths_need_no_warning(tmp_path: Path) -> None:
    files = folder(tmp_path, "a.jpg", "cats/b.jpg")
    found = resolve(files, "a.jpg", "cats/b.jpg")
    assert found.files == {"a.jpg": "a.jpg", "cats/b.jpg": "cats/b.jpg"} and not found.warnings and not found.problems


@pytest.mark.parametrize(
    "prefix", ["/home/ann/data/", "C:\\data\\", "\\\\server\\share\\", "my_photos/", "../", "../../x/", "/"]
)
def test_paths_of_another_machine_are_read_without_their_beginning(prefix: str, tmp_path: Path) -> None:
    files = folder(tmp_path, "img/a.jpg", "img/sub/b.jpg", "thumbs/a.jpg")
    found = resolve(files, f"{prefix}img/a.jpg", f"{prefix}img/sub/b.jpg", f"{prefix}img/gone.jpg")
    assert list(found.files.values()) == ["img/a.jpg", "img/sub/b.jpg", "img/gone.jpg"] and not found.problems
    named = prefix.replace("\\", "/")
    assert any(f"without {named!r}, which is no folder here" in text for text in found.warnings)
    assert any("1 of 3 image files are missing" in text for text in found.warnings)


def test_absolute_paths_into_the_folder_are_relative(tmp_path: Path) -> None:
    files = folder(tmp_path, "a.jpg")
    found = resolve(files, f"{tmp_path}/a.jpg")
    assert list(found.files.values()) == ["a.jpg"] and not found.warnings


def test_absolute_paths_without_a_file_are_a_problem(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside.jpg").touch()
    assert list(resolve(folder(tmp_path / "inside", "a.jpg"), "../outside.jpg").problems) == ["../outside.jpg"]
    found = resolve(folder(tmp_path, "a.jpg"), "/etc/b.jpg", "/etc/c.jpg", "a.jpg")
    assert list(found.problems) == ["/etc/b.jpg", "/etc/c.jpg"]
    assert "set dataset.images to the folder that has the images, or remove '/etc/'" in found.problems["/etc/b.jpg"]


def test_images_in_one_other_folder_are_found(tmp_path: Path) -> None:
    files = folder(tmp_path, "images/a.jpg", "images/b.jpg")
    found = resolve(files, "a.jpg", "b.jpg", "c.jpg")
    assert [found.files[name] for name in ("a.jpg", "b.jpg")] == ["images/a.jpg", "images/b.jpg"]
    assert "found under another name or folder: 'a.jpg' is" in found.warnings[0]


@pytest.mark.parametrize(
    ("stored", "path"),
    [
        ("a.JPG", "a.jpg"),
        ("a.jpg", "A.JPG"),
        ("a.jpeg", "a.jpg"),
        ("a.png", "a"),
        ("a.v1.jpg", "a.v1"),
        ("caf\u00e9.jpg", "cafe\u0301.jpg"),
    ],
)
def test_another_spelling_is_resolved_where_one_file_fits(stored: str, path: str, tmp_path: Path) -> None:
    found = resolve(folder(tmp_path, stored, "other.jpg"), "other.jpg", path)
    assert found.files[path] == stored and "differ from those of their image files only in" in found.warnings[0]


def test_where_several_files_fit_or_none_the_names_are_reported(tmp_path: Path) -> None:
    found = resolve(folder(tmp_path, "a.jpg", "a.png", "beach.jpg"), "beach.jpg", "a", "baech.jpg", "zzz.jpg")
    (text,) = found.warnings
    assert "3 of 4 image files are missing" in text and "dataset.images" in text
    assert "'a' (could be a.jpg or a.png)" in text and "'baech.jpg' (the nearest name is 'beach.jpg')" in text


def test_images_in_two_folders_of_one_name_are_reported(tmp_path: Path) -> None:
    found = resolve(folder(tmp_path, "full/a.jpg", "small/a.jpg"), "a.jpg")
    assert "'a.jpg' (could be full/a.jpg or small/a.jpg)" in found.warnings[0] and "dataset.images" in found.warnings[0]


def test_another_image_of_the_same_name_does_not_stand_in(tmp_path: Path) -> None:
    """Where the paths of a file are right, a missing image is missing, though its name is in another folder."""
    found = resolve(folder(tmp_path, "cats/1.jpg", "dogs/2.jpg"), "cats/1.jpg", "cats/2.jpg")
    assert found.files["cats/2.jpg"] == "cats/2.jpg"
