"""Does the artefact answer as the live model does? Samples that try every path, and the comparison."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from itembed_tf.text import Vocabulary

# Largest absolute difference of any component of a unit float32 embedding. Graph and eager mode run the same float32
# kernels, but batch norms are folded and sums reordered: 1e-7 to 1e-6 is usual, a wrong weight or pixel gives 1e-2.
TOLERANCE = 1e-5
UNIT_TOLERANCE = 1e-5


class ParityError(RuntimeError):
    """A reloaded artefact does not answer as the live model does; the message gives the figure and the sample."""


def compare_embeddings(
    name: str, live: Any, served: Any, samples: Sequence[str], may_be_zero: np.ndarray | bool = False
) -> dict[str, float]:
    """Compare embeddings [n, D] of the live model and of the reloaded artefact.

    Args:
        name: what was reloaded, for the error.
        live, served: float32 [n, D].
        samples: n descriptions, for the error.
        may_be_zero: bool [n], samples that say nothing (no known word): a model that has not learnt yet gives 0.

    Returns:
        ``max_abs_difference`` and ``min_cosine`` over the samples.

    Raises:
        ParityError: another shape or dtype, a difference above `TOLERANCE`, a vector not of unit length, or NaN.
    """
    live, served = np.asarray(live), np.asarray(served)
    if served.dtype != np.float32 or served.shape != live.shape:
        raise ParityError(f"{name}: gives {served.dtype} {served.shape}, the live model float32 {live.shape}")
    difference = differences(live, served)
    norms = np.linalg.norm(served.astype(np.float64), axis=1)
    off_unit = np.where(may_be_zero & (norms == 0), 0, np.abs(norms - 1))
    for figures, allowed, what in (
        (difference, TOLERANCE, "differs from the live model by"),
        (off_unit, UNIT_TOLERANCE, "is off unit length by"),
    ):
        worst = int(np.argmax(np.where(np.isnan(figures), np.inf, figures)))
        if not figures[worst] <= allowed:  # written so that NaN fails
            raise ParityError(
                f"{name}: reloaded, its embedding {what} {figures[worst]:.2g} (allowed {allowed:g}) on "
                f"{samples[worst]}; nothing was published, older versions are as they were"
            )
    cosine = (live.astype(np.float64) * served).sum(axis=1)[norms > 0] / norms[norms > 0]
    return {"max_abs_difference": float(difference.max()), "min_cosine": float(cosine.min())}


def differences(live: np.ndarray, served: np.ndarray) -> np.ndarray:
    """Of embeddings [n, D]: the largest absolute difference of any component of each, float64 [n]; NaN stays NaN."""
    return np.abs(live.astype(np.float64) - served).max(axis=1)


def sample_pictures() -> dict[str, bytes]:
    """Small pictures in several formats and shapes, by description; the same bytes at every call."""
    random = np.random.default_rng(0)

    def smooth(height: int, width: int, channels: int) -> tf.Tensor:
        coarse = random.uniform(0, 255, (1, 4, 5, channels)).astype(np.float32)
        return tf.cast(tf.image.resize(coarse, (height, width))[0], tf.uint8)

    return {
        "a JPEG, 320 x 240": tf.io.encode_jpeg(smooth(240, 320, 3)).numpy(),
        "a progressive JPEG, 90 x 300": tf.io.encode_jpeg(smooth(300, 90, 3), progressive=True).numpy(),
        "a grey JPEG, 64 x 64": tf.io.encode_jpeg(smooth(64, 64, 1), format="grayscale").numpy(),
        "a PNG, 257 x 129": tf.io.encode_png(smooth(129, 257, 3)).numpy(),
        "a PNG with transparency, 50 x 70": tf.io.encode_png(smooth(70, 50, 4)).numpy(),
        "a PNG of one pixel": tf.io.encode_png(smooth(1, 1, 3)).numpy(),
        "a BMP, 40 x 24": _bmp(smooth(24, 40, 3).numpy()),
    }


def sample_sentences(vocabulary: Vocabulary) -> list[bytes]:
    """Sentences of known words in several lengths and cases, and awkward ones: unknown, accented, not UTF-8, empty."""
    words = vocabulary.words
    spread = [words[i * len(words) // 12] for i in range(12)]
    sentences = [
        " ".join(spread[:6]),
        " ".join(spread[6:]) + ".",
        " ".join(reversed(spread)).upper(),
        words[0],
        " ".join(words[i % len(words)] for i in range(2 * vocabulary.length)),
        f"{spread[1]}, zzqxunknownzz - {spread[2]}! {spread[3]}'s cafe\u0301 \U0001f3c4 42",
        "",
    ]
    return [s.encode("utf-8") for s in sentences] + [b"\xff\xfe " + spread[4].encode("utf-8") + b" \xc3"]


def _bmp(pixels: np.ndarray) -> bytes:
    """A 24-bit BMP of uint8 [h, w, 3], rows bottom-up and padded to 4 bytes."""
    height, width, _ = pixels.shape
    padding = b"\0" * (-3 * width % 4)
    rows = b"".join(row[:, ::-1].tobytes() + padding for row in pixels[::-1])
    header = struct.pack("<2sIII", b"BM", 54 + len(rows), 0, 54)
    return header + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 2835, 2835, 0, 0) + rows
