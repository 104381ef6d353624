"""The benchmark of image formats runs, and tells a wrong pixel from a refusal."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import image_formats
from benchmarks.image_formats import DECODERS, SIZE, judge


@pytest.mark.benchmark
def test_quick(capsys):
    pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    assert image_formats.main(["--quick"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("image_formats: 0 of 226 files wrong")


def test_what_passes_and_what_does_not():
    pixels = np.full((SIZE, SIZE, 3), 90, np.uint8)
    same = pixels.astype(np.float32)
    for outcomes, kind in (
        ({"training": same, "export": same + 2}, "equal"),
        ({"training": same, "export": same + 3}, "bad"),
        ({"training": same, "export": "an AVIF image"}, "equal, refused by the export by name"),
        ({"training": same, "export": DECODERS}, "bad"),
        ({"training": "an empty file", "evaluation": "an empty file"}, "refused"),
        ({"training": "an empty file", "evaluation": "a text"}, "bad"),
        ({"training": "an empty file", "evaluation": same}, "bad"),
        ({"training": "{{node DecodeImage}} failed"}, "bad"),
    ):
        assert judge(pixels, outcomes).kind == kind, outcomes
    assert judge(None, {"training": same}).kind == "bad", "Pillow refuses it"
