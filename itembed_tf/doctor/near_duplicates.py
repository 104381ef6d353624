"""Near-duplicate detection on 32 x 32 thumbnails, in three stages of rising cost (NumPy).

1. Perceptual hash of 64 bits: signs of the 8 x 8 lowest frequencies (pHash: DCT-II of the grey 32 x 32 image). Pairs
   within RADIUS bits continue. Coefficients below DEAD_ZONE times the root mean square count as negative: in a
   symmetric drawing half of the coefficients are zero but for noise, and their signs would be random.
2. Mean squared difference of 8 x 8 colour thumbnails, normalised for brightness and contrast.
3. Registration of the blurred 32 x 32 colour images by least squares: translation, scale, brightness and contrast (a
   first-order expansion, valid up to half a pixel, 2 % of a side). The residual of the worst block decides, so that a
   small local change, such as another mouth in a face, is enough to tell two images apart.

Thresholds were measured on 7,000 photographs of Flickr8k and 3,709 drawings of OpenMoji, with altered copies of 400 of
each (docs/doctor.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

SIDE = 32
RADIUS = 12  # bits of 64: photographs cropped by up to 4 % are within 10, and 1 of 47,000 unrelated pairs within 12
DEAD_ZONE = 0.1
FLAT = 0.15  # share of pixels without gradient that makes a drawing: 5 % of photographs have it, 99 % of OpenMoji
# Thresholds for photographs and for drawings. Stage 2, in units of the variance: copies reach 0.05 and 0.023.
COARSE = (0.1, 0.03)
# Stage 3, in grey levels: copies of photographs stay below 5 (overexposed: below 19), other pairs are above 30; copies
# of drawings stay below 3, where drawings of other meanings begin.
WORST = (15.0, 3.0)
PLAIN = 3.0  # standard deviation of every channel, grey levels: below it an image is one colour
GAIN = (0.6, 1.7)  # minimum and maximum ratio of contrast, and of brightness
# Regularisation of contrast, brightness and four motion parameters, which plain images do not determine.
RIDGE = (1000.0, 1.0, 100.0, 100.0, 100.0, 100.0)
ROWS, COLUMNS, BATCH = 64, 8192, 512  # block of the hash comparison, and image pairs per batch

_POSITIONS = np.arange(SIDE)
_COSINES = np.cos(np.pi * (2 * _POSITIONS[None] + 1) * _POSITIONS[:8, None] / (2 * SIDE)).astype(np.float32)
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_BLUR = np.zeros((SIDE, SIDE), np.float32)
for _offset, _weight in zip((-2, -1, 0, 1, 2), (1, 4, 6, 4, 1)):
    np.add.at(_BLUR, (_POSITIONS, np.clip(_POSITIONS + _offset, 0, SIDE - 1)), _weight / 16)
_X = np.linspace(-1, 1, SIDE, dtype=np.float32)[:, None]
_Y = _X[:, None]
_INNER = (slice(None), slice(2, SIDE - 2), slice(2, SIDE - 2))  # the border of a crop has no counterpart


class Pair(NamedTuple):
    """Two near-duplicate images: their indices, the residual of the worst block (grey levels), and whether mirrored."""

    first: int
    second: int
    difference: float
    mirrored: bool


def find_near_duplicates(pixels: np.ndarray, groups: np.ndarray, *, mirrored: bool) -> list[Pair]:
    """Find pairs of near-duplicate images in different groups: enough pairs to connect each set of duplicates.

    Images whose groups are connected already are not compared, so that a thousand copies of one image give a thousand
    pairs rather than half a million.

    Args:
        pixels: uint8 [n, 32, 32, 3]; the comparison takes about as much memory again.
        groups: int [n], the group of each image.
        mirrored: whether mirror images are duplicates.
    """
    numbers = np.unique(groups, return_inverse=True)[1].reshape(-1)
    sets = np.arange(numbers.max(initial=-1) + 1)  # the smallest group number in each group's set
    hashes, (blurred, drawing, coarse) = perceptual_hash(pixels), _prepare(pixels)
    pairs: list[Pair] = []
    for mirror in (False, True) if mirrored else (False,):
        others = perceptual_hash(pixels[:, :, ::-1]) if mirror else hashes
        title = "comparing mirror images" if mirror else "comparing images"
        bar = tqdm(near_hashes(hashes, others), total=-(-len(hashes) // ROWS), desc=title, unit=" blocks")
        for near in bar:
            while len(near := near[sets[numbers[near[:, 0]]] != sets[numbers[near[:, 1]]]]):
                candidates, near = near[: 16 * BATCH], near[16 * BATCH :]
                candidates = candidates[_coarse_match(coarse, drawing, candidates, mirror)]
                for start in range(0, len(candidates), BATCH):
                    batch = candidates[start : start + BATCH]
                    second = blurred[batch[:, 1]]
                    residuals = difference(blurred[batch[:, 0]], second[:, :, ::-1] if mirror else second)
                    for k in np.flatnonzero(residuals <= np.take(WORST, drawing[batch].any(axis=1))):
                        low, high = sorted(sets[numbers[batch[k]]])
                        if low != high:
                            sets[sets == high] = low
                            pairs.append(Pair(int(batch[k, 0]), int(batch[k, 1]), float(residuals[k]), mirror))
    return pairs


def perceptual_hash(pixels: np.ndarray) -> np.ndarray:
    """Perceptual hashes uint64 [n] of images uint8 [n, 32, 32, 3]; 0 for images without structure."""
    hashes = np.zeros(len(pixels), np.uint64)
    for start in range(0, len(pixels), 4096):
        grey = pixels[start : start + 4096].astype(np.float32) @ _GREY
        frequencies = (_COSINES @ grey @ _COSINES.T).reshape(len(grey), 64)
        frequencies[:, 0] = 0  # the mean
        level = np.sqrt((frequencies**2).mean(axis=1, keepdims=True))
        bits = frequencies > np.maximum(DEAD_ZONE * level, 1.0)
        hashes[start : start + 4096] = np.packbits(bits, axis=1).view(">u8")[:, 0]
    return hashes


def near_hashes(hashes: np.ndarray, others: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs i < j, int [k, 2], with hashes[i] within RADIUS bits of others[j]; one array per ROWS values of i.

    Exhaustive: all 7,600 million pairs of MSCOCO's 123,287 images take 22 s on one core.
    """
    n = len(hashes)
    for row in range(0, n, ROWS):
        blocks = [np.zeros((0, 2), np.int64)]
        for column in range(row - row % COLUMNS, n, COLUMNS):
            bits = np.bitwise_count(hashes[row : row + ROWS, None] ^ others[None, column : column + COLUMNS])
            i, j = np.nonzero(bits <= RADIUS)
            near = np.stack([i + row, j + column], axis=1)
            blocks.append(near[near[:, 0] < near[:, 1]])
        yield np.concatenate(blocks)


def _prepare(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blurred images uint8 [n, 32, 32, 3]; whether each is a drawing, bool [n]; colour thumbnails float16 [n, 8, 8, 3].

    The blur removes detail that a shift by half a pixel would change. Thumbnails have mean 0 and variance 1, and are
    nearly 0 for images without structure.
    """
    n = len(pixels)
    blurred, drawing, coarse = np.zeros_like(pixels), np.zeros(n, bool), np.zeros((n, 8, 8, 3), np.float16)
    for start in range(0, n, 1024):
        part = slice(start, start + 1024)
        soft = np.moveaxis(_BLUR @ np.moveaxis(pixels[part].astype(np.float32), 3, 1) @ _BLUR.T, 1, 3)
        blurred[part] = np.rint(soft)
        dy, dx = np.gradient(soft.mean(axis=3), axis=(1, 2))
        drawing[part] = (np.hypot(dy, dx) < 1).mean(axis=(1, 2)) >= FLAT
        cells = soft.reshape(-1, 8, 4, 8, 4, 3).mean(axis=(2, 4))
        cells -= cells.mean(axis=(1, 2, 3), keepdims=True)
        coarse[part] = cells / np.maximum(cells.std(axis=(1, 2, 3), keepdims=True), 8)
    return blurred, drawing, coarse


def _coarse_match(coarse: np.ndarray, drawing: np.ndarray, pairs: np.ndarray, mirror: bool) -> np.ndarray:
    """Whether each pair [k, 2] passes stage 2, bool [k]."""
    second = coarse[pairs[:, 1]]
    apart = coarse[pairs[:, 0]].astype(np.float32) - (second[:, :, ::-1] if mirror else second)
    return (apart**2).mean(axis=(1, 2, 3)) < np.take(COARSE, drawing[pairs].any(axis=1))


def difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Difference of image pairs after registration.

    Args:
        first, second: uint8 [n, 32, 32, 3], blurred.

    Returns:
        float32 [n], the root mean square residual of the worst of 7 x 7 blocks, in grey levels; infinity where contrast
        or brightness would have to change beyond GAIN. Of two plain images it is the difference of their colours, as
        contrast and brightness would turn one colour into almost any other.
    """
    n, one, other = len(first), first.astype(np.float32), second.astype(np.float32)
    mean = (one + other) / 2
    dy, dx = np.gradient(mean, axis=1), np.gradient(mean, axis=2)
    basis = [one, np.ones_like(one), dx, dy, dx * _X, dy * _Y]
    columns = np.stack([each[_INNER].reshape(n, 28 * 28 * 3) for each in basis], axis=1)
    target = (other - one)[_INNER].reshape(n, 28 * 28 * 3, 1)
    normal = (columns @ columns.transpose(0, 2, 1)).astype(np.float64) + np.diag(RIDGE)
    solution = np.linalg.solve(normal, (columns @ target).astype(np.float64))[..., 0]
    registered = one[_INNER].reshape(n, -1) + (solution[:, None].astype(np.float32) @ columns)[:, 0]
    residual = (other[_INNER].reshape(n, -1) - np.clip(registered, 0, 255)).reshape(n, 7, 4, 7, 4, 3)
    worst = np.sqrt((residual**2).mean(axis=(2, 4, 5))).max(axis=(1, 2), initial=0)
    brightness = (other.mean(axis=(1, 2, 3)) + 8) / (one.mean(axis=(1, 2, 3)) + 8)
    ratios = np.stack([1 + solution[:, 0], brightness])
    worst = np.where(((ratios >= GAIN[0]) & (ratios <= GAIN[1])).all(axis=0), worst, np.inf)
    plain = (_spread(one) < PLAIN) & (_spread(other) < PLAIN)
    return np.where(plain, np.abs(other - one).max(axis=(1, 2, 3)), worst).astype(np.float32)


def _spread(images: np.ndarray) -> np.ndarray:
    """The largest standard deviation of a channel of each image [n, 32, 32, 3]."""
    return images.std(axis=(1, 2)).max(axis=1)
