"""Building an index and keeping it up to date: what is read, encoded, kept and removed."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.fake_encoder import CONTRACTS, FakeEncoder, empty_index, fake_vector
from itembed_tf.errors import UserError
from itembed_tf.index.build import build_index
from itembed_tf.index.calibrating import take_calibration
from itembed_tf.index.database import reading, writing
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import current_generation
from itembed_tf.index.items import all_items, read_vectors
from itembed_tf.index.records import BuildReport, Item
from itembed_tf.index.sources import find_source
from itembed_tf.retrieval.calibration import Calibration, calibration_bytes, write_calibration
from itembed_tf.retrieval.hubness import Bank, Correction
from tests.support.images import image_bytes


class Place:
    """A folder of images, an index of it, and the encoder that counts."""

    def __init__(self, folder: Path) -> None:
        self.photos = folder / "photos"
        self.index = empty_index(folder / "photos.index")
        self.encoder = FakeEncoder()

    def write(self, name: str, colour: int = 0, data: bytes = b"") -> Path:
        path = self.photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data or image_bytes(colour))
        return path

    def build(self, *inputs: str | Path, **options: Any) -> BuildReport:
        sources = [find_source(str(each)) for each in inputs]
        return build_index(self.index, sources, embed_images=self.encoder, **options)

    def items(self) -> dict[str, Item]:
        with closing(reading(self.index)) as connection:
            return {os.path.relpath(item.place, self.photos): item for item in all_items(connection)}

    def rows(self, query: str) -> list[Any]:
        with closing(reading(self.index)) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_images_of_a_folder_become_items_with_vectors_and_thumbnails(place: Place) -> None:
    place.write("a.png", 1)
    place.write("2019/b.png", 2)
    place.write(".hidden/c.png", 3)
    place.write("notes.txt", data=b"no image")
    report = place.build(place.photos)
    assert (report.items, report.added, report.encoded) == (2, 2, 2)
    items = place.items()
    assert sorted(items) == ["2019/b.png", "a.png"]
    b = items["2019/b.png"]
    assert (b.name, b.folder, b.width, b.height, b.size) == ("b.png", "2019", 40, 30, len(image_bytes(2)))
    assert b.date is not None and b.date.startswith("20")
    with closing(reading(place.index)) as connection:
        [vector] = read_vectors(connection, [b.id], 1)
    np.testing.assert_allclose(vector, fake_vector(image_bytes(2)), atol=1e-3)
    assert place.rows("SELECT count(*) FROM thumbnails") == [(2,)]


def test_a_second_build_reads_only_what_changed(place: Place) -> None:
    for number in range(4):
        place.write(f"{number}.png", number)
    place.build(place.photos)
    place.encoder.seen.clear()
    assert place.build().unchanged == 4 and place.encoder.seen == []
    place.write("1.png", 9)
    place.write("new.png", 10)
    os.utime(place.photos / "2.png", (1, 1))
    ids = {name: item.id for name, item in place.items().items()}
    report = place.build()
    assert (report.added, report.changed, report.unchanged, report.items) == (1, 1, 3, 5)
    assert place.encoder.seen == [image_bytes(9), image_bytes(10)], "the touched file has its content still"
    assert {name: item.id for name, item in place.items().items() if name != "new.png"} == ids
    assert place.build().unchanged == 5


def test_one_content_is_encoded_and_shrunk_once(place: Place) -> None:
    for name in ("a.png", "b.png", "c/d.png"):
        place.write(name, 5)
    report = place.build(place.photos)
    assert (report.added, report.encoded, len(place.encoder.seen)) == (3, 1, 1)
    assert place.rows("SELECT count(*) FROM thumbnails") == [(1,)]
    assert place.rows("SELECT count(DISTINCT vector), count(*) FROM vectors") == [(1, 3)]


def test_moved_and_renamed_files_keep_item_vector_and_thumbnail(place: Place) -> None:
    for number in range(8):
        place.write(f"old/{number}.png", number)
    place.build(place.photos)
    before, rows = place.items(), place.rows("SELECT row, item FROM vectors ORDER BY row")
    place.encoder.seen.clear()
    os.rename(place.photos / "old", place.photos / "new")
    os.rename(place.photos / "new/3.png", place.photos / "renamed.png")
    report = place.build()
    after = place.items()
    assert (report.moved, report.added, report.removed, report.kept) == (8, 0, 0, [])
    assert place.encoder.seen == [] and place.rows("SELECT row, item FROM vectors ORDER BY row") == rows
    assert after["renamed.png"].id == before["old/3.png"].id
    assert all(after[f"new/{n}.png"].id == before[f"old/{n}.png"].id for n in range(8) if n != 3)
    assert after["new/1.png"].folder == "new"


def test_a_file_that_moves_to_another_source_keeps_its_item(place: Place) -> None:
    first, second = place.write("one/a.png", 1).parent, place.write("two/b.png", 2).parent
    place.build(first, second)
    id = place.items()["one/a.png"].id
    shutil.move(first / "a.png", second / "c.png")
    place.write("one/z.png", 3)
    assert place.build().moved == 1
    assert place.items()["two/c.png"].id == id


def test_a_few_files_that_are_gone_are_removed(place: Place) -> None:
    for number in range(10):
        place.write(f"{number}.png", number)
    place.build(place.photos)
    for number in range(5):
        (place.photos / f"{number}.png").unlink()
    assert place.build().removed == 5
    assert sorted(place.items()) == [f"{number}.png" for number in range(5, 10)]
    assert place.rows("SELECT count(*) FROM thumbnails") == [(5,)]


@pytest.mark.parametrize("loss", ["the folder", "all files", "more than a tenth"])
def test_a_source_that_is_missing_or_empty_never_empties_the_index(place: Place, loss: str) -> None:
    for number in range(20):
        place.write(f"in/{number}.png", number)
    place.build(place.photos / "in")
    os.rename(place.photos / "in", place.photos / "away")
    if loss != "the folder":
        (place.photos / "in").mkdir()
    if loss == "more than a tenth":
        for number in range(14):
            shutil.copy2(place.photos / f"away/{number}.png", place.photos / f"in/{number}.png")
        place.write("in/new.png", 99)
    report = place.build()
    gone = 6 if loss == "more than a tenth" else 20
    assert [line.partition(": ")[2].partition(",")[0] for line in report.kept] == [f"{gone} of 20 items are gone"]
    assert report.items == (21 if loss == "more than a tenth" else 20), "what is new is added"
    report = place.build(prune=True)
    assert (report.removed, report.kept) == (gone, [])


def test_files_of_a_folder_that_cannot_be_listed_are_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        place.write(f"a/{number}.png", number)
    place.write("b.png", 7)
    place.build(place.photos)
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = place.build()
    assert (report.removed, report.items) == (0, 4)
    assert report.problems == [f"{place.photos}/a cannot be read: Permission denied"]


def test_unreadable_files_are_listed_once_and_tried_again_when_they_change(place: Place) -> None:
    place.write("good.png", 1)
    place.write("page.jpg", data=b"<html><body>404</body></html>")
    place.write("damaged.png", data=image_bytes(2) + b"broken")
    report = place.build(place.photos)
    assert {os.path.basename(name): reason[:20] for name, reason in report.unreadable.items()} == {
        "page.jpg": "an HTML page, not an",
        "damaged.png": "a damaged PNG image",
    }
    place.encoder.seen.clear()
    report = place.build()
    assert (report.unreadable, report.left_out, place.encoder.seen) == ({}, 2, [])
    assert len(place.build(retry=True).unreadable) == 2
    place.write("page.jpg", 3)
    report = place.build()
    assert (report.added, report.left_out) == (1, 1)
    assert len(place.rows("SELECT * FROM unreadable")) == 1
    (place.photos / "damaged.png").unlink()
    place.build()
    assert place.rows("SELECT * FROM unreadable") == []


def test_a_file_that_becomes_unreadable_keeps_its_item(place: Place) -> None:
    place.write("a.png", 1)
    place.build(place.photos)
    place.write("a.png", data=b"half a copy")
    report = place.build()
    assert (report.items, len(report.unreadable)) == (1, 1)
    assert place.build().items == 1


def test_the_table_of_a_folder_describes_its_images(place: Place) -> None:
    for number in range(3):
        place.write(f"{number}.png", number)
    table = place.photos / "captions.csv"
    table.write_text("image,caption,stars\n0.png,a red dog,5\n1.png,a cat,3\n0.png,a dog,5\n")
    place.build(place.photos, table)
    items = place.items()
    assert items["0.png"].captions == ("a red dog", "a dog") and items["0.png"].fields == {"stars": 5}
    assert (len(place.encoder.seen), items["2.png"].captions) == (3, ())
    assert place.build().unchanged == 3, "neither source takes the images from the other"
    table.write_text("image,caption,stars\n0.png,a blue dog,4\n")
    place.encoder.seen.clear()
    report = place.build()
    items = place.items()
    assert (items["0.png"].captions, items["1.png"].captions) == (("a blue dog",), ())
    assert (report.items, report.removed, place.encoder.seen) == (3, 0, [])


def test_the_same_names_exchanged_keep_their_places(place: Place) -> None:
    a, b = place.write("a.png", 1), place.write("b.png", 2)
    place.build(place.photos)
    a.write_bytes(image_bytes(2) + b"")
    b.write_bytes(image_bytes(1) + b"")
    os.utime(a, (5, 5))
    os.utime(b, (6, 6))
    place.build()
    with closing(reading(place.index)) as connection:
        for name, colour in (("a.png", 2), ("b.png", 1)):
            [vector] = read_vectors(connection, [place.items()[name].id], 1)
            np.testing.assert_allclose(vector, fake_vector(image_bytes(colour)), atol=1e-3)
    assert place.rows("SELECT count(*) FROM thumbnails") == [(2,)]


def test_an_index_without_encoders_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(SearchIndexError, match="is not an index"):
        build_index(tmp_path / "none", [])
    assert not (tmp_path / "none").exists()


def test_a_new_source_without_images_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SearchIndexError, match="empty has no images; give a folder, pattern or file that has some"):
        build_index(tmp_path / "i", [find_source(str(tmp_path / "empty"))], encoders=tmp_path)
    assert not (tmp_path / "i").exists()


def test_wrong_encoders_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(image_bytes(1))
    with pytest.raises(UserError, match=r"nowhere is not a folder: expected the directory of a finished run"):
        build_index(tmp_path / "i", [find_source(str(tmp_path))], encoders=tmp_path / "nowhere")
    assert not (tmp_path / "i").exists()


def test_json_of_the_fields_is_that_of_the_table(place: Place) -> None:
    place.write("0.png", 1)
    (place.photos / "c.jsonl").write_text(json.dumps({"image": "0.png", "caption": "x", "tags": ["a"], "ok": True}))
    place.build(place.photos / "c.jsonl")
    assert place.items()["0.png"].fields == {"tags": '["a"]', "ok": True}


def calibration() -> Calibration:
    """The axes as banks: the cosines of a vector with them are its components."""
    bank = Bank(np.eye(8, dtype=np.float16), np.arange(8, dtype=np.int32))
    corrections = {"text_to_image": Correction(0.5, 2), "image_to_image": Correction(1.0, 1)}
    return Calibration(CONTRACTS[0], bank, bank, corrections)


def test_biases_are_those_of_the_calibration(place: Place) -> None:
    with writing(place.index) as connection:
        connection.execute("UPDATE encoders SET calibration = ?", (calibration_bytes(calibration()),))
    place.write("a.png", 1)
    place.build(place.photos)
    cosines = np.sort(fake_vector(image_bytes(1)))
    [(text_bias, image_bias)] = place.rows("SELECT text_bias, image_bias FROM vectors")
    assert text_bias == pytest.approx(0.5 * cosines[-2:].mean(), abs=1e-3)
    assert image_bias == pytest.approx(cosines[-1], abs=1e-3)
    place.write("copy.png", 1)
    place.build()
    assert len(set(place.rows("SELECT text_bias, image_bias FROM vectors"))) == 1


def test_a_calibration_that_comes_later_gives_all_items_its_biases(place: Place, tmp_path: Path) -> None:
    for number in range(3):
        place.write(f"{number}.png", number)
    place.build(place.photos)
    write_calibration(tmp_path, calibration())
    with writing(place.index) as connection:
        generation = current_generation(connection)
        assert generation is not None
        assert take_calibration(connection, generation, tmp_path)
        assert not take_calibration(connection, generation, tmp_path), "the same calibration again changes nothing"
    with closing(reading(place.index)) as connection:
        ids = [item.id for item in all_items(connection)]
        expected = np.sort(read_vectors(connection, ids, 1), axis=1)
    found = np.array(place.rows("SELECT text_bias, image_bias FROM vectors ORDER BY item"))
    np.testing.assert_allclose(found, np.stack([expected[:, -2:].mean(axis=1) / 2, expected[:, -1]], 1), atol=1e-6)
    assert place.rows("SELECT count(*) FROM removed") == [(3,)], "engines see new rows"
