"""Embeddings of a split by a run's model, and the metrics block that a protocol makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from itembed_tf.config import Config, ConfigError, arguments, load_config
from itembed_tf.data.batches import Items, flatten
from itembed_tf.data.images import load_image
from itembed_tf.data.readers import Group, read_dataset
from itembed_tf.data.sources import image_batches
from itembed_tf.data.unreadable import drop_unreadable, find_unreadable
from itembed_tf.evaluation.gallery import Gallery
from itembed_tf.evaluation.protocols import PROTOCOLS, QUERY_DIRECTIONS, counted, measure, protocol_for
from itembed_tf.evaluation.rank_files import write_ranks
from itembed_tf.files import checksum
from itembed_tf.models.dual_path import encoder, feature_encoder
from itembed_tf.models.inference import inference_function, row_batches
from itembed_tf.retrieval import scores_of
from itembed_tf.text import Vocabulary
from itembed_tf.training.build import load_model
from itembed_tf.training.run_directory import Run, open_run, read_skipped


@dataclass(frozen=True)
class Embeddings:
    """Both sides of a split: unit length float32 [n, D] and [m, D], in the order of its `Items`."""

    images: np.ndarray
    captions: np.ndarray


def embedder(
    model: keras.Model,
    items: Items,
    vocabulary: Vocabulary,
    *,
    size: int,
    fit: str,
    flip: bool,
    shifts: str,
    batch_size: int,
    features: Sequence[np.ndarray] | None = None,
) -> Callable[[], Embeddings]:
    """A function that embeds the items by the model as it then stands.

    It can be called again after more training; nothing is traced or read twice.

    Args:
        model: the dual-path model.
        items: the pictures and captions of one split.
        vocabulary: of the run.
        size, fit: how a picture is prepared (`itembed_tf.data.images.load_image`).
        flip, shifts: how the encoders average (`itembed_tf.models.dual_path.encoder`).
        batch_size: pictures or captions encoded at a time.
        features: of the pictures by a frozen backbone, [n, F] a view (with `flip`, two views); None decodes them.
    """
    text_side, ids = inference_function(encoder(model, "text", shifts=shifts)), vocabulary.encode(items.captions)
    if features is None:
        image_side = inference_function(encoder(model, "image", flip=flip))
        decoded = image_batches(items.images, lambda data, i: load_image(data, size=size, fit=fit), batch_size)
    else:
        image_side = inference_function(feature_encoder(model, views=1 + flip))
        views = np.stack(features[: 1 + flip], axis=1)

    def embed() -> Embeddings:
        image_batches = decoded if features is None else row_batches(views, batch_size)
        images = _encode(image_side, image_batches, len(items.images), "pictures")
        return Embeddings(images, _encode(text_side, row_batches(ids, batch_size), len(ids), "captions"))

    return embed


def _encode(side: Callable[[Any], tf.Tensor], batches: Iterable[Any], total: int, unit: str) -> np.ndarray:
    """All batches through one encoder: float32 [total, D]."""
    parts = []
    with tqdm(total=total, desc=f"encoding {unit}", unit=f" {unit}", leave=False) as bar:
        for batch in batches:
            parts.append(side(batch).numpy())
            bar.update(len(parts[-1]))
    return np.concatenate(parts)


def evaluate_run(
    path: str | Path, split: str, overrides: Sequence[str] = (), protocol: str | None = None
) -> dict[str, Any]:
    """The metrics block of one split of a finished run: protocol, gallery sizes, the retrieval table and its intervals.

    With the run's own settings, the ranks are kept in the run directory, for `itembed_tf.compare`.

    Raises:
        RunError: the run is not there or not finished, or its data set has nothing in that split.
        ConfigError: an override that cannot be, or of dataset.splits.
        ValueError: the protocol does not fit the split.
    """
    run = open_run(path)
    _, config, groups, embeddings = embed_split(run, split, overrides)
    return metrics_block(config, split, groups, embeddings, protocol, None if overrides else run.path)


def embed_split(
    run: Run, split: str, overrides: Sequence[str] = (), model: keras.Model | None = None
) -> tuple[keras.Model, Config, list[Group], Embeddings]:
    """The model of a finished run, its config, the readable groups of one split, and their embeddings.

    `model` is that of the run, where it is at hand; None loads it.
    """
    if any(override.partition("=")[0].strip() == "dataset.splits" for override in overrides):
        raise ConfigError("dataset.splits is not to be set here: --split says which one is measured")
    model = load_model(run) if model is None else model
    config = load_config(run.path / "config.toml", [*overrides, f'dataset.splits=["{split}"]'])
    groups = read_dataset(**arguments(config.dataset))
    broken = find_unreadable(groups)
    for picture in broken[:20]:
        print(f"skipped: {picture['image']}: {picture['reason']}")
    # The limit was kept over all splits together; what the run knew of may be more than that of one split alone.
    known = {picture["image"] for picture in read_skipped(run.path) or []}
    new = any(picture["image"] not in known for picture in broken)
    groups = drop_unreadable(groups, broken, config.max_broken_percent if new else 100.0)
    embed = embedder(model, flatten(groups), run.vocabulary, **arguments(config.image), **arguments(config.evaluation))
    return model, config, groups, embed()


def metrics_block(
    config: Config,
    split: str,
    groups: Sequence[Group],
    embeddings: Embeddings,
    protocol: str | None = None,
    keep: Path | None = None,
) -> dict[str, Any]:
    """The figures with what they were measured on and how, as metrics.json holds them.

    Args:
        config: of the run.
        split: what the groups are.
        groups: of the embeddings, in their order.
        embeddings: as `embedder` has them.
        protocol: one of `protocols.PROTOCOLS`; None: the one that the data set's published figures follow.
        keep: run directory that takes the ranks; None keeps none.
    """
    images, captions = ([g.id for g in groups for _ in side(g)] for side in (lambda g: g.images, lambda g: g.captions))
    ids = [number for g in groups for number in g.caption_ids]
    known = np.array(ids, np.int64) if len(ids) == len(captions) else None
    gallery = Gallery(np.array(images), np.array(captions), known)
    name = protocol or protocol_for(config.dataset.name, gallery)
    measured, asked = measure(name, scores_of(embeddings.images, embeddings.captions), gallery)
    averaging = f"flip={'yes' if config.evaluation.flip else 'no'} shifts={config.evaluation.shifts}"
    block = {
        "protocol": f"{config.dataset.name} {split}, {name}: {PROTOCOLS[name][1]}; {averaging}",
        "split": split,
        "dataset": config.dataset.name,
        "gallery": checksum(*(part for g in groups for part in (g.id, str(len(g.images)), *g.captions)))[:16],
        **measured,
    }
    if keep:
        write_ranks(keep, block, asked)
    return block


def format_block(block: dict[str, Any]) -> str:
    """The block as lines to print, its intervals below the recalls."""
    lines = [f"{block['protocol']}", f"{'':14}{'R@1':>7}{'R@5':>7}{'R@10':>7}{'MedR':>7}{'MeanR':>8}"]
    words = {
        "image_query": ("picture", f"{block['gallery_captions']} sentences"),
        "text_query": ("sentence", f"{block['gallery_images']} pictures"),
    }
    ways = counted(block["name"])
    for query in ways:
        asked, gallery = words[query]
        t, bounds = block[query], block["interval_95"][query]
        recalls = "".join(f"{t[f'R@{k}']:7.1f}" for k in (1, 5, 10))
        lines.append(f"{asked + ' query':14}{recalls}{t['MedR']:7.0f}{t['MeanR']:8.1f}  of {gallery}")
        for i, word in enumerate(("95 % from", "to")):
            lines.append(f"{word:>11}   " + "".join(f"{bounds[f'R@{k}'][i]:7.1f}" for k in (1, 5, 10)))
        for name in [name for name in bounds if name not in ("R@1", "R@5", "R@10")]:
            low, high = bounds[name]
            lines.append(f"{name:>11}   {t[name]:7.1f}  (95 %: {low:.1f} to {high:.1f})")
    if ways == QUERY_DIRECTIONS:
        low, high = block["interval_95"]["rsum"]
        lines.append(f"rsum {block['rsum']:.1f}  (95 %: {low:.1f} to {high:.1f})")
    return "\n".join(lines)
