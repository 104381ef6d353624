"""The documentation as a site, and the archives of a release."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mkdocstrings") is None, reason="the extra docs is not installed")
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere():
    """A dead link, a page without an entry, or a public name without a docstring stops it."""
    built = subprocess.run(
        [sys.executable, ROOT / "docs" / "build_site.py"], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr[-2000:]
    assert "WARNING" not in built.stderr
    api = (ROOT / "build" / "site" / "reference" / "api.html").read_text(encoding="utf-8")
    assert "itembed_tf.api.model.ImageTextModel.embed_images" in api and "unit length" in api
    home = (ROOT / "build" / "site" / "index.html").read_text(encoding="utf-8")
    assert 'src="http' not in home and '<link rel="stylesheet" href="http' not in home


@pytest.mark.benchmark
def test_wheel_and_source_archive_are_built_and_pass_their_checks(tmp_path):
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    files = sorted(tmp_path.iterdir())
    assert [file.suffix for file in files] == [".whl", ".gz"] or [file.suffix for file in files] == [".gz", ".whl"]
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
