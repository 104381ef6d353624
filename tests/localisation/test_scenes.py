"""Composed scenes: read back by the same reader as Entities, with boxes where the drawings are."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from itembed_tf.localisation import scenes as scenes_program
from itembed_tf.localisation.compose import MAX_COVERED, Drawing
from itembed_tf.localisation.entities import AnnotatedImage, located, read_entities, summary
from itembed_tf.localisation.scenes import Kinds, write_scenes

COUNTS = {"train": 12, "dev": 6, "test": 6}


def drawing(name: str, number: int) -> Drawing:
    """An off-centre square on a transparent image, in a colour that no background has."""
    image = Image.new("RGBA", (64, 64))
    ImageDraw.Draw(image).rectangle((10, 20, 50, 60), fill=(number, 0, 0, 255))
    return Drawing(name, name, "other", image)


@pytest.fixture(scope="module")
def kinds() -> Kinds:
    known = [drawing(f"known thing {i}", 10 + i) for i in range(8)]
    new = {split: [drawing(f"{split} thing {i}", 40 + i) for i in range(6)] for split in ("dev", "test")}
    return Kinds(known, new)


@pytest.fixture(scope="module")
def scenes(kinds: Kinds, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes") / "out", kinds, COUNTS, 0, "drawn by us")


@pytest.fixture(scope="module")
def images(scenes: Path) -> list[AnnotatedImage]:
    return read_entities(scenes)


def test_reader_reads_generated_scenes(scenes: Path, images: list[AnnotatedImage]) -> None:
    assert {split: sum(p.split == split for p in images) for split in COUNTS} == COUNTS
    counted = summary(images)
    assert counted["sentences"] == 3 * 24 and counted["boxes clipped at the image border"] == 0
    assert all(counted[f"phrases left out: {why}"] == 24 for why in ("scene", "no box", "not visual"))
    assert all(len(image.boxes) >= 2 for image in images)
    assert (scenes / "ATTRIBUTION.txt").read_text() == "drawn by us\n"


def test_boxes_are_tight(images: list[AnnotatedImage]) -> None:
    for image in images:
        pixels = np.asarray(Image.open(image.path))
        dark = pixels[..., 1:].max(axis=2) < 40  # drawings; the background is pale
        inside = np.zeros_like(dark)
        for left, top, right, bottom in np.concatenate(list(image.boxes.values())):
            assert dark[top + 2 : bottom - 1, left + 2 : right - 1].mean() > 0.8
            inside[max(top - 1, 0) : bottom + 2, max(left - 1, 0) : right + 2] = True
        assert not (dark & ~inside).any()


def test_drawings_overlap_little(images: list[AnnotatedImage]) -> None:
    for image in images:
        boxes = np.concatenate(list(image.boxes.values())).astype(float)
        for a, b in itertools.combinations(boxes, 2):
            wide, high = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
            smaller = min(np.prod(box[2:] - box[:2] + 1) for box in (a, b))
            assert max(wide, 0) * max(high, 0) <= MAX_COVERED * smaller


def test_held_out_splits_mark_known_and_new_drawings(images: list[AnnotatedImage]) -> None:
    seen: dict[str, set[str]] = {}
    for image in images:
        for phrase in located(image):
            name = next(w for w in ("known", "dev", "test") if f"{w} thing" in phrase.text)
            assert phrase.types == ("other", "known" if name == "known" else "new")
            seen.setdefault(image.split, set()).add(name)
    assert seen == {"train": {"known"}, "dev": {"known", "dev"}, "test": {"known", "test"}}


def test_files_depend_only_on_the_seed(kinds: Kinds, scenes: Path, tmp_path: Path) -> None:
    again = write_scenes(tmp_path / "again", kinds, COUNTS, 0, "drawn by us")
    other = write_scenes(tmp_path / "other", kinds, COUNTS, 1, "drawn by us")
    for file in scenes.rglob("*.*"):
        assert (again / file.relative_to(scenes)).read_bytes() == file.read_bytes()
    image = "images/1000000.jpg"
    assert (other / image).read_bytes() != (scenes / image).read_bytes()


def test_program_overwrites_nothing_and_refuses_bad_arguments(
    kinds: Kinds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scenes_program, "openmoji_kinds", lambda count: kinds)  # real: data/readers/test_openmoji.py
    arguments = [str(tmp_path / "out"), "--train", "3", "--val", "1", "--test", "1"]
    assert scenes_program.main(arguments) == 0
    assert "next:" in capsys.readouterr().out
    assert len(read_entities(tmp_path / "out")) == 5
    assert "CC BY-SA" in (tmp_path / "out" / "ATTRIBUTION.txt").read_text()
    assert scenes_program.main(arguments) == 1 and "exists already" in capsys.readouterr().err
    assert scenes_program.main([str(tmp_path / "none"), "--kinds", "5"]) == 2
