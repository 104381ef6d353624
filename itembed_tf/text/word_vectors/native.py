"""Safe reader of gensim's KeyedVectors files, which are pickles, with placeholders for the objects in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from itembed_tf.safe_pickle import safe_load
from itembed_tf.text.word_vectors.formats import Rows, Wanted, check_width, select


class _Saved:
    """Placeholder for an object of a pickle: it stores arguments and state, and runs nothing."""

    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> _Saved:
        self = object.__new__(cls)
        self.args, self.state = args, None
        return self

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _SavedVectors(_Saved):
    pass


class _SavedArray(_Saved):
    """Placeholder for an ndarray. State: version, shape, dtype, Fortran order, bytes."""

    def array(self) -> np.ndarray:
        _, shape, dtype, fortran, raw = self.state
        kind, order = dtype.args[0], dtype.state[1]
        if kind not in ("f2", "f4", "f8") or order not in ("<", ">") or not isinstance(raw, bytes):
            raise ValueError("vectors that are not plain floats")
        return np.frombuffer(raw, order + kind).reshape(shape, order="F" if fortran else "C")


PLACEHOLDERS = {
    ("gensim.models.keyedvectors", "KeyedVectors"): _SavedVectors,
    ("numpy", "ndarray"): _Saved,
    ("numpy", "dtype"): _Saved,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _SavedArray for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Saved for core in ("core", "_core")},
}


def read_keyed_vectors(path: Path, wanted: Wanted, width: int) -> Rows:
    """Read a file of gensim 4's `KeyedVectors.save(path)`: the pickle, and `path`.vectors.npy for large vectors.

    Raises:
        FileNotFoundError: `path`.vectors.npy is missing.
        ValueError: the pickle has anything but KeyedVectors, or vectors of another width.
    """
    try:
        with path.open("rb") as file:
            saved = safe_load(file, PLACEHOLDERS)
        state = saved.state
        words, inline = state["index_to_key"], state.get("vectors")
        matrix = inline.array() if inline is not None else None
        if not isinstance(saved, _SavedVectors) or not all(isinstance(word, str) for word in words):
            raise ValueError("no list of words")
    except Exception as error:  # a damaged or hostile pickle can raise anything
        raise ValueError(
            f"{path} is refused as gensim KeyedVectors: {error or type(error).__name__}. No code in it was run. Write "
            'it with gensim 4 as model.wv.save(path), or as .wv.save_word2vec_format(path) and source = "word2vec"'
        ) from None
    if matrix is None:
        beside = path.with_name(f"{path.name}.vectors.npy")
        if not beside.is_file():
            raise FileNotFoundError(f"{beside} is missing; {path.name} needs it in the same folder. Copy both files")
        try:
            matrix = np.load(beside, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise ValueError(f"{beside} is not a complete array of numbers ({error}); copy it again") from None
    if matrix.ndim != 2 or matrix.dtype.kind != "f" or len(matrix) < len(words):
        raise ValueError(
            f"{path}: {len(words)} words, but vectors of shape {matrix.shape} and dtype {matrix.dtype}; save it again "
            "with gensim 4"
        )
    check_width(str(path), matrix.shape[1], width)
    return select(words, matrix, wanted)
