"""Small pictures -> pairs that show the same photograph or drawing, in three sieves of rising cost (NumPy).

1. A perceptual hash of 64 bits: signs of the 8 x 8 lowest frequencies (pHash: DCT-II of the 32 x 32 grey picture).
   Pairs within RADIUS bits go on. A coefficient below DEAD of the root mean square counts as negative: where a drawing
   is symmetric, half of the coefficients are zero but for noise, and their signs would be the noise's.
2. An 8 x 8 colour picture without its brightness and contrast.
3. The 32 x 32 colour picture, blurred; one is moved, stretched, brightened and contrasted upon the other by least
   squares (the first-order expansion, good for half a cell: 2 % of a side), and what is left over is looked at block
   by block. It is the worst block that counts, so that one other mouth in a face is enough.

The figures were measured on 7,000 photographs of Flickr8k and 3,709 drawings of OpenMoji with altered copies of 400 of
each (docs/doctor.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

SIDE = 32
RADIUS = 12  # bits of 64: photographs cropped by up to 4 % are within 10; so is 1 of 47,000 unlike pairs within 12
DEAD = 0.1
FLAT = 0.15  # share of cells without any slope that makes a drawing: 5 % of the photographs have it, 99 % of OpenMoji
# Of photographs, of drawings. Mean square in the second sieve, in units of the variance: copies reach 0.05 and 0.023.
COARSE = (0.1, 0.03)
# Grey levels in the worst block: copies stay under 5 (brightened till white: under 19) and others are over 30; copies
# of drawings stay under 3, where drawings of another meaning begin.
WORST = (15.0, 3.0)
GAIN = (0.6, 1.7)  # contrast, and brightness, of one picture over the other's
# On contrast, brightness and the four moves: what a picture does not determine (a plain surface has no place) stays.
RIDGE = (1000.0, 1.0, 100.0, 100.0, 100.0, 100.0)
ROWS, COLUMNS, BATCH = 64, 8192, 512  # pairs of hashes in hand at once, and pairs of pictures

_LINE = np.arange(SIDE)
_COSINES = np.cos(np.pi * (2 * _LINE[None] + 1) * _LINE[:8, None] / (2 * SIDE)).astype(np.float32)
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_BLUR = np.zeros((SIDE, SIDE), np.float32)
for _offset, _weight in zip((-2, -1, 0, 1, 2), (1, 4, 6, 4, 1)):
    np.add.at(_BLUR, (_LINE, np.clip(_LINE + _offset, 0, SIDE - 1)), _weight / 16)
_ACROSS = np.linspace(-1, 1, SIDE, dtype=np.float32)[:, None]
_DOWN = _ACROSS[:, None]
_INNER = (slice(None), slice(2, SIDE - 2), slice(2, SIDE - 2))  # at the border a crop has no counterpart


class Pair(NamedTuple):
    """Two pictures that are alike: their numbers, grey levels in the worst block, and whether one is mirrored."""

    first: int
    second: int
    difference: float
    mirrored: bool


def find_alike(pixels: np.ndarray, groups: np.ndarray, *, mirrored: bool) -> list[Pair]:
    """Pairs of pictures of different groups that are alike: enough of them to connect all that belongs together.

    Two pictures whose groups are connected already are not compared, so that a thousand copies of one picture cost and
    give a thousand pairs, not half a million.

    Args:
        pixels: uint8 [n, 32, 32, 3]; about as much memory again is taken.
        groups: int [n]; pictures of one group belong together anyway.
        mirrored: whether a picture and its mirror image are the same.
    """
    numbers = np.unique(groups, return_inverse=True)[1].reshape(-1)
    sets = np.arange(numbers.max(initial=-1) + 1)  # of each group: the least number of the groups it is connected with
    hashes, (blurred, drawn, coarse) = perceptual_hash(pixels), _prepared(pixels)
    pairs: list[Pair] = []
    for mirror in (False, True) if mirrored else (False,):
        others = perceptual_hash(pixels[:, :, ::-1]) if mirror else hashes
        label = "comparing mirror images" if mirror else "comparing pictures"
        bar = tqdm(near_hashes(hashes, others), total=-(-len(hashes) // ROWS), desc=label, unit=" blocks")
        for near in bar:
            while len(near := near[sets[numbers[near[:, 0]]] != sets[numbers[near[:, 1]]]]):
                batch, near = near[: 16 * BATCH], near[16 * BATCH :]
                batch = batch[_likely(coarse, drawn, batch, mirror)]
                for start in range(0, len(batch), BATCH):
                    some = batch[start : start + BATCH]
                    theirs = blurred[some[:, 1]]
                    found = difference(blurred[some[:, 0]], theirs[:, :, ::-1] if mirror else theirs)
                    for k in np.flatnonzero(found <= np.take(WORST, drawn[some].any(axis=1))):
                        one, other = sorted(sets[numbers[some[k]]])
                        if one != other:
                            sets[sets == other] = one
                            pairs.append(Pair(int(some[k, 0]), int(some[k, 1]), float(found[k]), mirror))
    return pairs


def perceptual_hash(pixels: np.ndarray) -> np.ndarray:
    """uint64 [n] of uint8 [n, 32, 32, 3]; a picture without any structure has 0."""
    hashes = np.zeros(len(pixels), np.uint64)
    for at in range(0, len(pixels), 4096):
        grey = pixels[at : at + 4096].astype(np.float32) @ _GREY
        waves = (_COSINES @ grey @ _COSINES.T).reshape(len(grey), 64)
        waves[:, 0] = 0  # the mean
        bits = waves > np.maximum(DEAD * np.sqrt((waves**2).mean(axis=1, keepdims=True)), 1.0)
        hashes[at : at + 4096] = np.packbits(bits, axis=1).view(">u8")[:, 0]
    return hashes


def near_hashes(hashes: np.ndarray, others: np.ndarray) -> Iterator[np.ndarray]:
    """Pairs i < j, int [k, 2], with hashes[i] within RADIUS bits of others[j]; one array for every ROWS of i.

    All pairs are counted, block by block: exact; 7,600 million pairs (123,287 pictures, MSCOCO) take 22 s on one core.
    """
    n = len(hashes)
    for row in range(0, n, ROWS):
        found = [np.zeros((0, 2), np.int64)]
        for column in range(row - row % COLUMNS, n, COLUMNS):
            bits = np.bitwise_count(hashes[row : row + ROWS, None] ^ others[None, column : column + COLUMNS])
            i, j = np.nonzero(bits <= RADIUS)
            near = np.stack([i + row, j + column], axis=1)
            found.append(near[near[:, 0] < near[:, 1]])
        yield np.concatenate(found)


def _prepared(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blurred uint8 [n, 32, 32, 3]; bool [n], is it a drawing; its colours in 8 x 8 cells float16 [n, 8, 8, 3].

    The blur takes the detail that a shift by half a cell would change. The colours have mean 0 and variance 1, and
    are nearly 0 where there is no structure.
    """
    n = len(pixels)
    blurred, drawn, coarse = np.zeros_like(pixels), np.zeros(n, bool), np.zeros((n, 8, 8, 3), np.float16)
    for at in range(0, n, 1024):
        here = slice(at, at + 1024)
        soft = np.moveaxis(_BLUR @ np.moveaxis(pixels[here].astype(np.float32), 3, 1) @ _BLUR.T, 1, 3)
        blurred[here] = np.rint(soft)
        down, right = np.gradient(soft.mean(axis=3), axis=(1, 2))
        drawn[here] = (np.hypot(down, right) < 1).mean(axis=(1, 2)) >= FLAT
        cells = soft.reshape(-1, 8, 4, 8, 4, 3).mean(axis=(2, 4))
        cells -= cells.mean(axis=(1, 2, 3), keepdims=True)
        coarse[here] = cells / np.maximum(cells.std(axis=(1, 2, 3), keepdims=True), 8)
    return blurred, drawn, coarse


def _likely(coarse: np.ndarray, drawn: np.ndarray, pairs: np.ndarray, mirror: bool) -> np.ndarray:
    """bool [k], which of the pairs [k, 2] pass the second sieve."""
    theirs = coarse[pairs[:, 1]]
    apart = coarse[pairs[:, 0]].astype(np.float32) - (theirs[:, :, ::-1] if mirror else theirs)
    return (apart**2).mean(axis=(1, 2, 3)) < np.take(COARSE, drawn[pairs].any(axis=1))


def difference(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """How far pictures are from each other once one is laid upon the other.

    Args:
        ours, theirs: uint8 [n, 32, 32, 3], blurred.

    Returns:
        float32 [n], root mean square of what is left in the worst of 7 x 7 blocks, in grey levels; infinity where the
        contrast or the brightness of one would have to be changed beyond GAIN.
    """
    n, one, other = len(ours), ours.astype(np.float32), theirs.astype(np.float32)
    middle = (one + other) / 2
    down, right = np.gradient(middle, axis=1), np.gradient(middle, axis=2)
    moves = [one, np.ones_like(one), right, down, right * _ACROSS, down * _DOWN]
    columns = np.stack([move[_INNER].reshape(n, 28 * 28 * 3) for move in moves], axis=1)
    wanted = (other - one)[_INNER].reshape(n, 28 * 28 * 3, 1)
    normal = (columns @ columns.transpose(0, 2, 1)).astype(np.float64) + np.diag(RIDGE)
    change = np.linalg.solve(normal, (columns @ wanted).astype(np.float64))[..., 0]
    laid = one[_INNER].reshape(n, -1) + (change[:, None].astype(np.float32) @ columns)[:, 0]
    left = (other[_INNER].reshape(n, -1) - np.clip(laid, 0, 255)).reshape(n, 7, 4, 7, 4, 3)
    worst = np.sqrt((left**2).mean(axis=(2, 4, 5))).max(axis=(1, 2), initial=0)
    brighter = (other.mean(axis=(1, 2, 3)) + 8) / (one.mean(axis=(1, 2, 3)) + 8)
    ratios = np.stack([1 + change[:, 0], brighter])
    return np.where(((ratios >= GAIN[0]) & (ratios <= GAIN[1])).all(axis=0), worst, np.inf).astype(np.float32)
