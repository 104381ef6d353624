"""The data of a run: a continued run is refused where it has changed, with what differs, and not where it was moved."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from itembed_tf.data.readers import Group
from itembed_tf.training.errors import RunError
from itembed_tf.training.run_data import (
    check_same_file,
    check_same_groups,
    differences,
    group_records,
    read_records,
    records_checksum,
    write_records,
)


@pytest.fixture
def groups(tmp_path: Path) -> list[Group]:
    """Five images of different sizes, the last one in dev."""
    found = []
    for number, name in enumerate("abcde"):
        image = tmp_path / "images" / f"{name}.jpg"
        image.parent.mkdir(exist_ok=True)
        image.write_bytes(b"x" * (number + 1))
        found.append(Group(f"{name}.jpg", (str(image),), (f"caption {name}",), "dev" if name == "e" else "train"))
    return found


def changes(groups: list[Group], now: list[Group], root: Path) -> list[str]:
    return differences(group_records(groups, str(root)), group_records(now, str(root)))


def test_what_differs_is_named(groups: list[Group], tmp_path: Path) -> None:
    root = tmp_path / "images"
    a, b, c, d, e = groups
    renamed = replace(a, id="z.jpg", images=(str(shutil.copy(a.images[0], root / "z.jpg")),))
    assert changes(groups, [b, c, d, e, renamed], root) == ["renamed: a.jpg to z.jpg"]
    assert changes(groups, [*groups, replace(a, id="new.jpg", captions=("new",))], root) == ["added: new.jpg (train)"]
    assert changes(groups, [e], root) == ["removed: a.jpg (train), b.jpg (train), c.jpg (train) and 1 more"]
    assert changes(groups, [a, b, c, d, replace(e, split="test")], root) == ["in another split: e.jpg (dev, now test)"]
    assert changes(groups, [a, replace(b, captions=("other",)), c, d, e], root) == ["other captions: b.jpg"]
    assert changes(groups, [b, a, c, d, e], root) == ["the same groups in another order"]
    before = group_records(groups, str(root))
    Path(str(b.images[0])).write_bytes(b"another image")
    Path(str(c.images[0])).unlink()
    assert differences(before, group_records(groups, str(root))) == [
        "an image file is missing: c.jpg",
        "other image files: b.jpg",
    ]


def test_moved_or_touched_data_is_the_same(groups: list[Group], tmp_path: Path) -> None:
    before = group_records(groups, str(tmp_path / "images"))
    (tmp_path / "images").rename(tmp_path / "moved")
    moved = [replace(g, images=(str(tmp_path / "moved" / g.id),)) for g in groups]
    Path(moved[0].images[0]).touch()  # type: ignore[arg-type]
    assert records_checksum(group_records(moved, f"{tmp_path}/moved/")) == records_checksum(before)


def test_a_continued_run_is_refused_with_what_has_changed(
    groups: list[Group], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = group_records(groups, str(tmp_path / "images"))
    write_records(tmp_path, records)
    assert read_records(tmp_path) == records
    check_same_groups(tmp_path, records_checksum(records), records)
    with pytest.raises(RunError, match=r"has changed since this run began \(removed: a.jpg .* new run directory"):
        check_same_groups(tmp_path, records_checksum(records), records[1:])
    (tmp_path / "data.json").unlink()
    with pytest.raises(RunError, match=r"other images, captions or splits"):
        check_same_groups(tmp_path, records_checksum(records), records[1:])
    assert capsys.readouterr().out == ""
    check_same_groups(tmp_path, None, records)
    assert "an earlier version began this run; it is not checked" in capsys.readouterr().out


def test_a_damaged_record_and_other_files_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('{"groups": [["a.jpg"]]}')
    with pytest.raises(RunError, match=r"data.json is damaged .* Remove it"):
        read_records(tmp_path)
    check_same_file(tmp_path / "vocabulary.txt", None, "1")
    check_same_file(tmp_path / "vocabulary.txt", "1", "1")
    with pytest.raises(RunError, match=r"vocabulary.txt is not the one with which this run began"):
        check_same_file(tmp_path / "vocabulary.txt", "1", "2")
