"""Image features from a ``.npy`` file of the user, with the image id of each row in the ``.txt`` file beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from itembed_tf.data.cached_rows import cached_rows
from itembed_tf.errors import UserError
from itembed_tf.files import cache_folder, checksum, file_checksum

BATCH = 1024  # rows read at a time
LISTED = 5  # ids in an error message
DTYPES = (np.float16, np.float32)


class FeatureFileError(UserError, ValueError):
    """A feature file that cannot be used; the message gives its path and what to do."""


def ids_file(features: str | Path) -> Path:
    """The file of the ids: one a line, UTF-8, in the order of the rows."""
    return Path(features).expanduser().with_suffix(".txt")


def feature_width(features: str | Path) -> int:
    """F of a file of features [N, F], from its header.

    Raises:
        FeatureFileError: as `read_features`.
        FileNotFoundError: there is no such file.
    """
    return int(_open(features).shape[1])


def read_features(features: str | Path, ids: Sequence[str]) -> NDArray[np.float32]:
    """The features of images, memory-mapped float32 [n, F] in the order of `ids`.

    They are written into the cache folder once, because a memory-mapped file can be read in its own order only.

    Args:
        features: path of the ``.npy`` file, float32 or float16 [N, F].
        ids: of the images (`itembed_tf.data.readers.image_ids`); the file may have more.

    Raises:
        FeatureFileError: another dtype or shape, ids that do not fit the rows, an image without a row, or features
            that are not finite.
        FileNotFoundError: there is no such file.
    """
    rows, row_of = _open(features), _row_of(features)
    missing = [each for each in ids if each not in row_of]
    if missing:
        listed = ", ".join(missing[:LISTED]) + (f" and {len(missing) - LISTED:,} more" if len(missing) > LISTED else "")
        raise FeatureFileError(
            f"{ids_file(features)} lacks {len(missing):,} of {len(ids):,} images of the dataset: {listed}. Its ids "
            f"are like {next(iter(row_of))}; itembed_tf.data.readers.image_ids gives those of a dataset"
        )
    wanted = np.array([row_of[each] for each in ids], np.int64)
    path = cache_folder("features") / f"{checksum(features_checksum(features), wanted.tobytes())[:32]}-file.npy"

    def batches(first: int) -> Iterator[tf.Tensor]:
        for start in range(first, len(wanted), BATCH):
            part = np.float32(rows[wanted[start : start + BATCH]])
            if not np.isfinite(part).all():
                bad = start + int(np.flatnonzero(~np.isfinite(part).all(axis=1))[0])
                raise FeatureFileError(f"{features}: the features of {ids[bad]} (row {wanted[bad]}) are not finite")
            yield tf.constant(part)

    return cached_rows(path, batches, (len(wanted), rows.shape[1]), f"features of {Path(features).name}")


def features_checksum(features: str | Path) -> str:
    """Checksum of the features and of their ids."""
    return checksum(*(file_checksum(path) for path in (Path(features).expanduser(), ids_file(features))))


def _open(features: str | Path) -> np.ndarray:
    path = Path(features).expanduser()
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FeatureFileError(f"{path} is damaged or no .npy file ({error}); write it with numpy.save") from error
    if not isinstance(rows, np.ndarray) or rows.dtype not in DTYPES or rows.ndim != 2 or not rows.size:
        what = f"{rows.dtype} {list(rows.shape)}" if isinstance(rows, np.ndarray) else "several arrays"
        raise FeatureFileError(f"{path} holds {what}; it must be float32 or float16 [images, features]")
    return rows


def _row_of(features: str | Path) -> dict[str, int]:
    """Image id -> row."""
    path, rows = ids_file(features), len(_open(features))
    return _read_ids(path, rows, path.stat().st_mtime_ns)


@cache
def _read_ids(path: Path, rows: int, modified: int) -> dict[str, int]:
    """Memoised: a process reads the file again only if its modification time has changed."""
    try:
        ids = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FeatureFileError(f"{path} is not UTF-8 text ({error}); write one image id a line") from error
    if len(ids) != rows:
        raise FeatureFileError(f"{path} has {len(ids):,} ids, and the .npy file beside it {rows:,} rows")
    twice = [each for each, count in Counter(ids).items() if count > 1 or not each.strip()]
    if twice:
        listed = ", ".join(map(repr, twice[:LISTED]))
        raise FeatureFileError(f"{path}: {len(twice):,} ids are empty or there twice: {listed}; an image has one row")
    return {each: row for row, each in enumerate(ids)}
