"""Exports of tiny encoders, built once per test run and copied into the folders of the tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.served import toy_export
from itembed_tf.export_layout import ENCODERS
from tests.support.shared import shared_folder


class ToyExports:
    """Versions 1, 2, ... of one pair of encoders, each with different weights; a version is built on first use."""

    def __init__(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self._tmp_path_factory = tmp_path_factory

    def copy(self, out: Path, *numbers: int) -> Path:
        """Copy versions (default: 1) into the folder of exports `out`; returns `out`."""
        for number in numbers or (1,):
            for encoder in ENCODERS:
                shutil.copytree(self.folder(number) / encoder / str(number), out / encoder / str(number))
        return out

    def folder(self, number: int = 1) -> Path:
        """The exports of one version, ``encoders.json`` included, to read only."""

        def write(folder: Path) -> None:
            toy_export(folder, seed=number - 1, version=number)

        return shared_folder(self._tmp_path_factory, f"toy_exports/{number}", write)
