"""Encoding on a Ray cluster: an index is the same as that of one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.index_build import content
from itembed_tf import extras
from itembed_tf.extras import MissingExtra
from itembed_tf.index.build import build_index
from itembed_tf.index.ray_encoding import ray_read_ahead
from itembed_tf.index.sources import file_entry, find_source
from tests.support.images import image_bytes


@pytest.mark.benchmark
def test_two_workers_build_the_index_of_one_process(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from benchmarks.served import toy_export

    photos, encoders = tmp_path / "photos", toy_export(tmp_path / "exports")
    photos.mkdir()
    for number in range(80):
        (photos / f"{number}.png").write_bytes(image_bytes(number % 70))
    (photos / "page.png").write_bytes(b"<html>")
    source = find_source(str(photos))
    build_index(tmp_path / "one", [source], encoders=encoders)
    report = build_index(tmp_path / "two", [source], encoders=encoders, ray_workers=2)
    assert report.added == 80 and list(report.unreadable) == [str(photos / "page.png")]
    assert content(tmp_path / "two") == content(tmp_path / "one")


def test_without_ray_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(image_bytes(1))
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    entries = [file_entry(str(tmp_path / "a.png"), str(tmp_path))]
    with pytest.raises(MissingExtra, match=r"needs ray, which is not installed; run: pip install 'itembed_tf\[ray\]'"):
        list(ray_read_ahead(entries, tmp_path, "c0" * 32, workers=1, max_pixels=100))
    assert list(ray_read_ahead([], tmp_path, "c0" * 32, workers=1, max_pixels=100)) == []
