"""Vectors for `benchmarks.index` and `benchmarks.milvus`: real embeddings, tiled with noise.

The rows are the training images of a run, each many times, with noise whose standard deviation per dimension is
proportional to that of the images; the queries are dev images and dev captions, as they are. The hubness biases are
computed from samples of the training captions and images. Embeddings of more than 512 dimensions are projected on the
512 principal ones of the training images and captions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itembed_tf.retrieval.hubness import Bank, Correction, biases

DIMENSIONS = 512
NOISE = 0.7  # standard deviations of the images; a row has a cosine of about 0.82 with the image from which it is made
BANK = 2000
CORRECTION = Correction(a=0.75, k=32)
CHUNK = 20_000


@dataclass(frozen=True)
class Vectors:
    """Rows and queries.

    Attributes:
        vectors: float16 [n, 512], memory-mapped.
        biases: float32 [n, 2]: for text queries and for image queries.
        queries: float32 [n, 514] by kind, "image" and "text": half of dev, 500 images and 1,250 captions.
        samples: float16 [n, 512] by kind: the other half, by which an index measures the effort that it needs. They
            take the place of the training images of a calibration, from which the rows are made here.
    """

    vectors: NDArray[np.float16]
    biases: NDArray[np.float32]
    queries: dict[str, NDArray[np.float32]]
    samples: dict[str, NDArray[np.float16]]


def tiled(run: Path, work: Path, count: int, log: bool = True) -> Vectors:
    """`count` rows from the embeddings of a run on Flickr8k; kept in `work` for the next call."""
    real = _embeddings(run, work)
    projection = _projection(real)
    images, captions, dev_images, dev_captions = (
        _unit(real[name] @ projection) for name in ("train_images", "train_captions", "dev_images", "dev_captions")
    )
    file = work / f"vectors-{count}.npy"
    random = np.random.default_rng(0)
    banks = {
        "image": images[random.permutation(len(images))[:BANK]].astype(np.float16),
        "text": captions[random.permutation(len(captions))[:BANK]].astype(np.float16),
    }
    if not file.exists():
        _write(file, count, images, banks, log)
    dev = {"image": dev_images, "text": dev_captions[::2]}
    kinds = {"image": [0, 1], "text": [1, 0]}
    queries = {
        kind: np.concatenate([vectors[1::2], np.tile(kinds[kind], (len(vectors[1::2]), 1))], axis=1).astype(np.float32)
        for kind, vectors in dev.items()
    }
    samples = {kind: vectors[::2].astype(np.float16) for kind, vectors in dev.items()}
    return Vectors(np.load(file, mmap_mode="r"), np.load(file.with_suffix(".biases.npy")), queries, samples)


def _embeddings(run: Path, work: Path) -> dict[str, NDArray[np.float32]]:
    """Train and dev images and captions of the run's dataset, embedded once."""
    file = work / "flickr8k.npz"
    if not file.exists():
        import itembed_tf
        from itembed_tf.config import arguments, load_config
        from itembed_tf.data.readers import read_dataset

        model = itembed_tf.load(run)
        found: dict[str, Any] = {}
        for split in ("train", "dev"):
            config = load_config(run / "config.toml", [f'dataset.splits=["{split}"]'])
            groups = read_dataset(**arguments(config.dataset))
            images: list[Any] = [image for group in groups for image in group.images]
            found[f"{split}_images"] = model.embed_images(images)
            found[f"{split}_captions"] = model.embed_texts([caption for g in groups for caption in g.captions])
        work.mkdir(parents=True, exist_ok=True)
        np.savez(file, **found)
    with np.load(file) as arrays:
        names = ("train_images", "train_captions", "dev_images", "dev_captions")
        return {name: arrays[name].astype(np.float32) for name in names}


def _projection(real: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    both = np.concatenate([real["train_images"], real["train_captions"][::5]])
    _, sizes, axes = np.linalg.svd(both, full_matrices=False)
    kept = (sizes[:DIMENSIONS] ** 2).sum() / (sizes**2).sum()
    print(f"embeddings of {both.shape[1]} dimensions, {DIMENSIONS} kept: {kept:.1%} of the squared length", flush=True)
    return axes[:DIMENSIONS].T


def _write(
    file: Path, count: int, images: NDArray[np.float32], banks: dict[str, NDArray[np.float16]], log: bool
) -> None:
    random = np.random.default_rng(1)
    spread = NOISE * images.std(axis=0)
    partial = file.with_name(f"partial-{file.name}")
    vectors = np.lib.format.open_memmap(partial, "w+", np.float16, (count, DIMENSIONS))
    both = np.empty((count, 2), np.float32)
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        noise = spread * random.standard_normal((size, DIMENSIONS), dtype=np.float32)
        rows = _unit(images[random.integers(0, len(images), size)] + noise)
        vectors[start : start + size] = rows
        for column, kind in enumerate(("text", "image")):
            bank = Bank(banks[kind], np.zeros(len(banks[kind]), np.int32))
            both[start : start + size, column] = biases(rows, bank, CORRECTION)
        if log and start % (10 * CHUNK) == 0:
            print(f"  rows {start + size:,} of {count:,}", flush=True)
    vectors.flush()
    np.save(file.with_suffix(".biases.npy"), both)
    partial.replace(file)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
