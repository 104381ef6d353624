"""Exports of tiny encoders, built once per session and copied into the folders of the tests."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.served import toy_export
from itembed_tf.export_layout import ENCODERS


class ToyExports:
    """Versions 1, 2, ... of one pair of encoders, each with different weights; a version is built on first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def copy(self, out: Path, *numbers: int) -> Path:
        """Copy versions (default: 1) into the folder of exports `out`; returns `out`."""
        for number in numbers or (1,):
            for encoder in ENCODERS:
                shutil.copytree(self._build(number) / encoder / str(number), out / encoder / str(number))
        return out

    def _build(self, number: int) -> Path:
        folder = self._folder / str(number)
        return folder if folder.exists() else toy_export(folder, seed=number - 1, version=number)
