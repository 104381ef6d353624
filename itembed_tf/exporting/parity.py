"""Parity of a reloaded export with the live model: sample inputs that reach every branch, and the comparison."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from itembed_tf.data.images import load_image
from itembed_tf.errors import UserError
from itembed_tf.exporting.contract import Parity
from itembed_tf.exporting.pair import EncoderPair
from itembed_tf.text import Vocabulary

# Maximum absolute difference of any component of a unit length float32 embedding. Graph and eager mode run the same
# float32 kernels, but batch norms are folded and sums reordered: 1e-7 to 1e-6 is usual, a wrong weight or pixel gives
# 1e-2.
TOLERANCE = 1e-5
UNIT_TOLERANCE = 1e-5


class ParityError(UserError, RuntimeError):
    """A reloaded export differs from the live model; the message gives the difference and the sample."""


def compare_embeddings(
    name: str, live: Any, exported: Any, samples: Sequence[str], may_be_zero: np.ndarray | bool = False
) -> Parity:
    """Compare embeddings [n, D] of the live model and of the reloaded export.

    Args:
        name: of the export, for the error message.
        live, exported: float32 [n, D].
        samples: n descriptions, for the error message.
        may_be_zero: bool [n], samples without any known word, for which an untrained model gives 0.

    Raises:
        ParityError: another shape or dtype, a difference above `TOLERANCE`, a vector not of unit length, or NaN.
    """
    live, exported = np.asarray(live), np.asarray(exported)
    if exported.dtype != np.float32 or exported.shape != live.shape:
        raise ParityError(f"{name}: returns {exported.dtype} {exported.shape}, the live model float32 {live.shape}")
    difference = max_differences(live, exported)
    norms = np.linalg.norm(exported.astype(np.float64), axis=1)
    off_unit = np.where(may_be_zero & (norms == 0), 0, np.abs(norms - 1))
    for errors, tolerance, text in (
        (difference, TOLERANCE, "differs from the live model by"),
        (off_unit, UNIT_TOLERANCE, "is off unit length by"),
    ):
        worst = int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))
        if not errors[worst] <= tolerance:  # NaN fails too
            raise ParityError(
                f"{name}: after reloading, its embedding {text} {errors[worst]:.2g} (tolerance {tolerance:g}) on "
                f"{samples[worst]}; nothing was written, older versions are unchanged"
            )
    cosine = (live.astype(np.float64) * exported).sum(axis=1)[norms > 0] / norms[norms > 0]
    return Parity(max_abs_difference=float(difference.max()), min_cosine=float(cosine.min()))


def max_differences(live: np.ndarray, exported: np.ndarray) -> np.ndarray:
    """Maximum absolute difference of the components of each embedding: [n, D] twice -> float64 [n]; NaN stays NaN."""
    return np.abs(live.astype(np.float64) - exported).max(axis=1)


def sample_images() -> dict[str, bytes]:
    """Description -> small image files of several formats and shapes; the same bytes at every call."""
    random = np.random.default_rng(0)

    def smooth(height: int, width: int, channels: int) -> tf.Tensor:
        coarse = random.uniform(0, 255, (1, 4, 5, channels)).astype(np.float32)
        return tf.cast(tf.image.resize(coarse, (height, width))[0], tf.uint8)

    return {
        "a JPEG, 320 x 240": tf.io.encode_jpeg(smooth(240, 320, 3)).numpy(),
        "a progressive JPEG, 90 x 300": tf.io.encode_jpeg(smooth(300, 90, 3), progressive=True).numpy(),
        "a grayscale JPEG, 64 x 64": tf.io.encode_jpeg(smooth(64, 64, 1), format="grayscale").numpy(),
        "a PNG, 257 x 129": tf.io.encode_png(smooth(129, 257, 3)).numpy(),
        "a PNG with transparency, 50 x 70": tf.io.encode_png(smooth(70, 50, 4)).numpy(),
        "a 1 x 1 PNG": tf.io.encode_png(smooth(1, 1, 3)).numpy(),
        "a BMP, 40 x 24": _bmp(smooth(24, 40, 3).numpy()),
    }


def sample_inputs(pair: EncoderPair) -> tuple[Any, list[str]]:
    """Inputs of the image encoder, prepared `sample_images` or `sample_features`, and n descriptions: [n, ...], n."""
    if pair.features:
        features = sample_features(pair.features)
        return tf.constant(features), [f"sample features {i}" for i in range(len(features))]
    images = sample_images()
    return tf.stack([load_image(data, size=pair.size, fit=pair.fit) for data in images.values()]), list(images)


def sample_features(width: int) -> np.ndarray:
    """Features float32 [8, width] of several scales and signs; the same at every call."""
    random = np.random.default_rng(0)
    return (random.normal(0, 1, (8, width)) * np.geomspace(0.1, 10, 8)[:, None]).astype(np.float32)


def sample_texts(vocabulary: Vocabulary) -> list[bytes]:
    """Texts of known words in several lengths and cases, and edge cases: unknown, accented, not UTF-8, empty."""
    words = vocabulary.words
    spread = [words[i * len(words) // 12] for i in range(12)]
    texts = [
        " ".join(spread[:6]),
        " ".join(spread[6:]) + ".",
        " ".join(reversed(spread)).upper(),
        words[0],
        " ".join(words[i % len(words)] for i in range(2 * vocabulary.length)),
        f"{spread[1]}, zzqxunknownzz - {spread[2]}! {spread[3]}'s cafe\u0301 \U0001f3c4 42",
        "",
    ]
    return [text.encode("utf-8") for text in texts] + [b"\xff\xfe " + spread[4].encode("utf-8") + b" \xc3"]


def _bmp(pixels: np.ndarray) -> bytes:
    """A 24-bit BMP of uint8 [h, w, 3], rows bottom-up and padded to 4 bytes."""
    height, width, _ = pixels.shape
    padding = b"\0" * (-3 * width % 4)
    rows = b"".join(row[:, ::-1].tobytes() + padding for row in pixels[::-1])
    header = struct.pack("<2sIII", b"BM", 54 + len(rows), 0, 54)
    return header + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 2835, 2835, 0, 0) + rows
