"""Fit the sentence features on training captions and word vectors."""

from __future__ import annotations

import keras
import numpy as np
from tqdm import tqdm

from itembed_tf.models.inference import inference_function, row_batches
from itembed_tf.sentence_features.hglmm import fit_mixture, rotate
from itembed_tf.sentence_features.layers import FisherVector, MeanVector, TfIdf

MAX_PCA_VALUES = 250_000_000  # float32 values in memory for PCA (1 GB); more captions are sampled
MAX_EXACT_WIDTH = 4000  # dimensions up to which PCA is exact; above, a full eigendecomposition takes many minutes
BATCH = 64  # captions encoded at a time


def fit_sentences(
    features: keras.Model, ids: np.ndarray, table: np.ndarray | None, *, components: int, size: int, seed: int
) -> None:
    """Fit a new `layers.sentence_features` model in place.

    Args:
        features: the model.
        ids: token ids of the training captions, int32 [n, L].
        table: word vectors float32 [vocabulary_size, d], row 0 is padding; None for tf-idf.
        components, size: as in `layers.sentence_features`.
        seed: random seed of FastICA, k-means and sampling.

    Raises:
        ValueError: word vectors are missing, or there are too few words or captions.
    """
    words = features.layers[1]
    if isinstance(words, TfIdf):
        words.set_weights(tf_idf(ids, *(variable.shape[0] for variable in words.weights)))
    elif table is None:
        raise ValueError(
            'sentence.kind = "mean" and "hglmm" need word vectors, and word_vectors.source = "random" has none; '
            'set another source, or sentence.kind = "tf-idf"'
        )
    elif isinstance(words, MeanVector):
        words.set_weights([table])
    elif isinstance(words, FisherVector):
        rotated = rotate(table, seed)
        mixture = fit_mixture(rotated[np.any(rotated != 0, axis=1)], components=components, seed=seed)
        words.set_weights([rotated, mixture.weights, mixture.location, mixture.scale, mixture.laplacian])
    if size:
        features.get_layer("projection").set_weights(_principal_axes(features, ids, size, seed))


def tf_idf(ids: np.ndarray, vocabulary_size: int, columns: int) -> list[np.ndarray]:
    """Columns and idf of the `columns` words that occur in most captions.

    idf = ln((1 + n) / (1 + df)) + 1 (as scikit-learn), df: number of captions with the word. Ties: lower id first.

    Returns:
        The column + 1 of each id, int32 [vocabulary_size], 0 for none; and the idf, float32 [columns].
    """
    of_caption = np.sort(ids, axis=1)
    first = np.diff(of_caption, axis=1, prepend=0) > 0  # each id once, without padding
    df = np.bincount(of_caption[first], minlength=vocabulary_size)
    chosen = np.sort(np.argsort(-df[1:], kind="stable")[:columns] + 1)
    place = np.zeros(vocabulary_size, np.int32)
    place[chosen] = np.arange(1, columns + 1)
    return [place, (np.log((1 + len(ids)) / (1 + df[chosen])) + 1).astype(np.float32)]


def _principal_axes(features: keras.Model, ids: np.ndarray, size: int, seed: int) -> list[np.ndarray]:
    """PCA mean [F] and axes [F, size] of the features, over captions with a known word."""
    from sklearn.decomposition import PCA

    before = keras.Model(features.input, features.layers[1].output)
    width = before.output.shape[-1]
    ids = ids[ids.any(axis=1)]
    max_rows = max(MAX_PCA_VALUES // width, size)
    if len(ids) > max_rows:
        ids = ids[np.sort(np.random.default_rng(seed).choice(len(ids), max_rows, replace=False))]
    if len(ids) < size:
        raise ValueError(
            f"sentence.size is {size}, but only {len(ids)} training captions have a known word; use a smaller size"
        )
    rows = np.empty((len(ids), width), np.float32)
    done = 0
    batches = map(inference_function(before), row_batches(ids, BATCH))
    for batch in tqdm(batches, desc="captions for PCA", total=-(-len(ids) // BATCH), unit=" batches"):
        rows[done : done + len(batch)] = batch.numpy()
        done += len(batch)
    solver = "covariance_eigh" if width <= MAX_EXACT_WIDTH else "randomized"
    pca = PCA(size, svd_solver=solver, copy=False, random_state=seed).fit(rows)
    return [pca.mean_, pca.components_.T]
