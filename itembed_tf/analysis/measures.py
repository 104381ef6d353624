"""What the encoders learned of one split, as plain numbers: overlap, words that tell, similarities before and after."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from itembed_tf.analysis.leave_one_out import leave_one_out, mean_changes
from itembed_tf.analysis.overlap import overlap, pair_densities
from itembed_tf.config import Config, arguments
from itembed_tf.data.batches import Items
from itembed_tf.evaluation.embeddings import Embeddings, embedder
from itembed_tf.models.dual_path import encoder, sentence_features
from itembed_tf.models.inference import inference_function, predict
from itembed_tf.text import Vocabulary
from itembed_tf.training.build import build_model

SEED = 0  # of what is drawn: two runs on one data set are looked at in the same places
SENTENCES = 500  # whose words are left out at the end of a training: some seconds
SHOWN = 8  # of these, with their words
AT_LEAST = 5  # times that a word was left out, for a mean
WORDS = 15  # with the largest and with the smallest means
GROUPS = 24  # whose similarities are shown before and after


def analyze(
    model: keras.Model,
    items: Items,
    embeddings: Embeddings,
    config: Config,
    vocabulary: Vocabulary,
    *,
    classes: int,
    sentences: int = SENTENCES,
) -> dict[str, Any]:
    """The blocks of analysis.json: "overlap", "words", "sentences" and "similarity" (docs/analysis.md).

    Args:
        model: the trained model, float32.
        items: the pictures and captions of one split.
        embeddings: of the items, by the model.
        config, vocabulary, classes: of the run.
        sentences: drawn at random for leaving out words.
    """
    densities = pair_densities(embeddings.images, embeddings.captions, items.image_groups, items.caption_groups)
    return {
        "overlap": {
            "S": _number(overlap(densities)),
            "mean_matching": _number(densities.mean_matching),
            "mean_other": _number(densities.mean_other),
            "matching": densities.matching.tolist(),  # counts in equal bins of [-1, 1]
            "other": densities.other.tolist(),
        },
        **_words(model, items, embeddings, config, vocabulary, sentences),
        "similarity": _before_and_after(model, items, embeddings, config, vocabulary, classes),
    }


def overlap_figures(analysis: dict[str, Any]) -> dict[str, Any]:
    """The overlap as metrics.json holds it: S, the two means, and how many pairs and bins they are of."""
    told = analysis["overlap"]
    pairs = {f"{kind}_pairs": sum(told[kind]) for kind in ("matching", "other")}
    return {key: told[key] for key in ("S", "mean_matching", "mean_other")} | pairs | {"bins": len(told["matching"])}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 5)


def _words(
    model: keras.Model, items: Items, embeddings: Embeddings, config: Config, vocabulary: Vocabulary, most: int
) -> dict[str, Any]:
    """Leave out the words of some sentences, each against the first picture of its group."""
    first = np.unique(items.image_groups, return_index=True)[1]  # groups are numbered from 0 on; each has a picture
    if config.evaluation.shifts == "all":  # a sentence is encoded at every place where it fits
        most = max(SHOWN, most // vocabulary.length)
    drawn: list[int] = []
    known: list[list[int]] = []
    for caption in np.random.default_rng(SEED).permutation(len(items.captions)).tolist():
        ids = [vocabulary.ids[w] for w in vocabulary.tokenize(items.captions[caption]) if w in vocabulary.ids]
        if len(ids) > 1 and len(drawn) < most:
            drawn.append(caption)
            known.append(ids)
    pictures = first[items.caption_groups[drawn]]
    found = leave_one_out(known, embeddings.images[pictures], _text_encoding(model, config), vocabulary.length)
    means = [
        {"word": vocabulary.words[mean.word - 1], "change": _number(mean.change), "count": mean.times}
        for mean in mean_changes(known, found, AT_LEAST)
    ]
    _, different = np.unique(items.caption_groups[drawn], return_index=True)
    shown = [
        {
            "picture": int(pictures[at]),
            "caption": drawn[at],
            "score": _number(found[at].score),
            "words": _with_changes(items.captions[drawn[at]], found[at].changes, vocabulary),
        }
        for at in np.sort(different)[:SHOWN].tolist()
    ]
    counts = {"sentences": len(drawn), "at_least": AT_LEAST, "different": len(means)}
    words = {**counts, "most": means[:WORDS], "least": means[WORDS:][-WORDS:][::-1]}
    return {"words": words, "sentences": shown}


def _text_encoding(model: keras.Model, config: Config) -> Callable[[np.ndarray], np.ndarray]:
    """A function from ids int32 [n, L] to embeddings float32 [n, D], as the run encodes its sentences."""
    encode = inference_function(encoder(model, "text", shifts=config.evaluation.shifts))
    batch = config.evaluation.batch_size
    return lambda ids: predict(encode, ids, batch, progress="leaving out words")


def _with_changes(caption: str, changes: np.ndarray, vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """The words of a caption; a change of None where one is unknown, or behind those that are read."""
    left = iter([_number(change) for change in changes])
    words = vocabulary.tokenize(caption)
    return [{"word": word, "change": next(left, None) if word in vocabulary.ids else None} for word in words]


def _before_and_after(
    model: keras.Model, items: Items, embeddings: Embeddings, config: Config, vocabulary: Vocabulary, classes: int
) -> dict[str, Any]:
    """The first picture and the first caption of some groups, each picture with each caption.

    "after" is by the trained model; "before" by one anew from the run's seed, its backbone with the weights that the
    config names, its words at random and its sentence features, where it has any, as they were fitted; or None where
    the backbone's weights are not at hand.
    """
    groups, pictures = np.unique(items.image_groups, return_index=True)
    captions = np.searchsorted(items.caption_groups, groups)
    some = np.sort(np.random.default_rng(SEED).permutation(len(groups))[:GROUPS])
    pictures, captions = pictures[some].tolist(), captions[some].tolist()
    number = np.arange(len(some), dtype=np.int32)
    few = Items([items.images[i] for i in pictures], number, [items.captions[i] for i in captions], number)
    try:
        fresh = build_model(
            dataclasses.replace(config, precision="float32"), vocabulary_size=vocabulary.size, classes=classes
        )
        old, new = sentence_features(model), sentence_features(fresh)
        if old is not None and new is not None:
            new.set_weights(old.get_weights())
        start = embedder(fresh, few, vocabulary, **arguments(config.image), **arguments(config.evaluation))()
        before = _pairs(start.images, start.captions)
    except OSError as error:
        print(f"no similarities of the untrained model: {error}", file=sys.stderr)
        before = None
    after = _pairs(embeddings.images[pictures], embeddings.captions[captions])
    return {"pictures": pictures, "captions": captions, "before": before, "after": after}


def _pairs(images: np.ndarray, captions: np.ndarray) -> dict[str, Any]:
    """Similarities [picture][caption], their means on and off the diagonal, and how many pictures find their own."""
    scores = images @ captions.T
    own = np.eye(len(scores), dtype=bool)
    return {
        "scores": [[round(float(score), 4) for score in row] for row in scores],
        "mean_matching": _number(scores[own].mean()),
        "mean_other": _number(scores[~own].mean()) if len(scores) > 1 else None,
        "found": int((scores.argmax(axis=1) == np.arange(len(scores))).sum()),
    }
