"""Training captions and word vectors -> the numbers of "sentence_features", which then stay as they are."""

from __future__ import annotations

import keras
import numpy as np
from tqdm import tqdm

from itembed_tf.models.inference import inference_function, row_batches
from itembed_tf.sentence_features.hglmm import fit_mixture, rotate
from itembed_tf.sentence_features.layers import FisherVector, MeanVector, TfIdf

HELD = 250_000_000  # numbers that the PCA reads at most: 1 GB, of more captions a random part
WHOLE = 4000  # numbers of a sentence up to which the PCA is solved whole; above, all eigenvectors take many minutes
BATCH = 64  # sentences encoded at a time


def fit_sentences(
    features: keras.Model, ids: np.ndarray, table: np.ndarray | None, *, components: int, size: int, seed: int
) -> None:
    """Fit a new "sentence_features" model (`two_branch.sentences.sentence_features`) in place.

    Args:
        features: that model.
        ids: int32 [n, L], of the training captions.
        table: word vectors float32 [vocabulary_size, d], row 0 padding; "tf-idf" needs none.
        components, size: of the model.
        seed: of FastICA, k-means and of what is drawn.

    Raises:
        ValueError: word vectors are needed and not there, or there are too few words or captions for what is asked.
    """
    words = features.layers[1]
    if isinstance(words, TfIdf):
        words.set_weights(tf_idf(ids, *(variable.shape[0] for variable in words.weights)))
    elif table is None:
        raise ValueError(
            'sentence.kind = "mean" and "hglmm" are made of word vectors, and word_vectors.source = "random" has none; '
            'name another source, or set sentence.kind = "tf-idf"'
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
    """Of the `columns` words of most captions: the column of each id + 1, int32 [vocabulary_size], 0 without; the idf.

    idf = ln((1 + n) / (1 + df)) + 1 (scikit-learn's), df the captions that hold the word. Of equals the first word.
    """
    of_caption = np.sort(ids, axis=1)
    first = np.diff(of_caption, axis=1, prepend=0) > 0  # each id once, padding never
    df = np.bincount(of_caption[first], minlength=vocabulary_size)
    chosen = np.sort(np.argsort(-df[1:], kind="stable")[:columns] + 1)
    place = np.zeros(vocabulary_size, np.int32)
    place[chosen] = np.arange(1, columns + 1)
    return [place, (np.log((1 + len(ids)) / (1 + df[chosen])) + 1).astype(np.float32)]


def _principal_axes(features: keras.Model, ids: np.ndarray, size: int, seed: int) -> list[np.ndarray]:
    """Mean [F] and axes [F, size] of what stands before the projection, over captions that hold a known word."""
    from sklearn.decomposition import PCA

    before = keras.Model(features.input, features.layers[1].output)
    width = before.output.shape[-1]
    ids = ids[ids.any(axis=1)]
    most = max(HELD // width, size)
    if len(ids) > most:
        ids = ids[np.sort(np.random.default_rng(seed).choice(len(ids), most, replace=False))]
    if len(ids) < size:
        raise ValueError(f"sentence.size is {size}, and {len(ids)} training captions hold a known word: choose fewer")
    rows = np.empty((len(ids), width), np.float32)
    done = 0
    batches = map(inference_function(before), row_batches(ids, BATCH))
    for batch in tqdm(batches, desc="sentences for PCA", total=-(-len(ids) // BATCH), unit=" batches"):
        rows[done : done + len(batch)] = batch.numpy()
        done += len(batch)
    solver = "covariance_eigh" if width <= WHOLE else "randomized"
    pca = PCA(size, svd_solver=solver, copy=False, random_state=seed).fit(rows)
    return [pca.mean_, pca.components_.T]
