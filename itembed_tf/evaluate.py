"""Program: a run directory -> embeddings of one split -> the retrieval table.

python -m itembed_tf.evaluate RUN [--split dev] [--set evaluation.shifts=all]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from itembed_tf.broken import drop_broken, find_broken
from itembed_tf.config import Config, ConfigError, arguments, load_config
from itembed_tf.data import Items, flatten, picture_batches
from itembed_tf.datasets import read_dataset
from itembed_tf.image import load_image
from itembed_tf.model import encoder, feature_encoder
from itembed_tf.retrieval import retrieval_table
from itembed_tf.run import RunError, load_model, open_run, read_skipped
from itembed_tf.text import Vocabulary


@dataclass(frozen=True)
class Embeddings:
    """Both sides of a split: unit length float32 [n, D] and [m, D], in the order of its `Items`."""

    images: np.ndarray
    captions: np.ndarray


def retrieval(
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
) -> Callable[[], tuple[dict[str, Any], Embeddings]]:
    """A function that measures the model as it then stands: the retrieval table of the items, and their embeddings.

    It can be called again after more training; nothing is traced or read twice.

    Args:
        model: the dual-path model.
        items: the pictures and captions of one split.
        vocabulary: of the run.
        size, fit: how a picture is prepared (`itembed_tf.image.load_image`).
        flip, shifts: how the encoders average (`itembed_tf.model.encoder`).
        batch_size: pictures or captions encoded at a time.
        features: of the pictures by a frozen backbone, [n, F] a view (with `flip`, two views); None decodes them.
    """
    text_side, ids = _compiled(encoder(model, "text", shifts=shifts)), vocabulary.encode(items.captions)
    if features is None:
        image_side = _compiled(encoder(model, "image", flip=flip))
        pictures: Any = picture_batches(items.images, lambda data, i: load_image(data, size=size, fit=fit), batch_size)
    else:
        image_side = _compiled(feature_encoder(model, views=1 + flip))
        pictures = _rows(np.stack(features[: 1 + flip], axis=1), batch_size)

    def measure() -> tuple[dict[str, Any], Embeddings]:
        images = _encode(image_side, pictures, len(items.images), "pictures")
        captions = _encode(text_side, _rows(ids, batch_size), len(ids), "captions")
        table = retrieval_table(images, captions, items.image_groups, items.caption_groups)
        return table, Embeddings(images, captions)

    return measure


def _compiled(side: keras.Model) -> Callable[[Any], tf.Tensor]:
    signature = tf.TensorSpec((None, *side.input.shape[1:]), side.input.dtype)
    return tf.function(lambda x: side(x, training=False), input_signature=[signature])


def _rows(array: np.ndarray, batch_size: int) -> list[np.ndarray]:
    return [array[i : i + batch_size] for i in range(0, len(array), batch_size)]


def _encode(side: Callable[[Any], tf.Tensor], batches: Iterable[Any], total: int, unit: str) -> np.ndarray:
    """All batches through one encoder: float32 [total, D]."""
    parts = []
    with tqdm(total=total, desc=f"encoding {unit}", unit=f" {unit}", leave=False) as bar:
        for batch in batches:
            parts.append(side(tf.convert_to_tensor(batch)).numpy())
            bar.update(len(parts[-1]))
    return np.concatenate(parts)


def evaluate_run(path: str | Path, split: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The metrics block of one split of a finished run: protocol, gallery sizes and the retrieval table.

    Raises:
        RunError: the run is not there or not finished, or its data set has nothing in that split.
    """
    run = open_run(path)
    model = load_model(run)
    config = load_config(run.path / "config.toml", [f'dataset.splits=["{split}"]', *overrides])
    groups = read_dataset(**arguments(config.dataset))
    broken = find_broken(groups)
    for picture in broken[:20]:
        print(f"skipped: {picture['image']}: {picture['reason']}")
    # The limit was kept over all splits together; what the run knew of may be more than that of one split alone.
    known = {picture["image"] for picture in read_skipped(run.path) or []}
    new = any(picture["image"] not in known for picture in broken)
    items = flatten(drop_broken(groups, broken, config.max_broken_percent if new else 100.0))
    table, _ = retrieval(model, items, run.vocabulary, **arguments(config.image), **arguments(config.evaluation))()
    return metrics_block(config, split, items, table)


def metrics_block(config: Config, split: str, items: Items, table: dict[str, Any]) -> dict[str, Any]:
    """The table with what it was measured on, as metrics.json holds it."""
    averaging = f"flip={'yes' if config.evaluation.flip else 'no'} shifts={config.evaluation.shifts}"
    return {
        "protocol": f"{config.dataset.name} {split}: whole split as gallery, any item of its group; {averaging}",
        "split": split,
        "gallery_images": len(items.images),
        "gallery_captions": len(items.captions),
        **table,
    }


def format_block(block: dict[str, Any]) -> str:
    """The block as lines to print."""
    lines = [f"{block['protocol']}", f"{'':14}{'R@1':>7}{'R@5':>7}{'R@10':>7}{'MedR':>7}{'MeanR':>8}"]
    for query, asked, gallery in (
        ("image_query", "picture", f"{block['gallery_captions']} sentences"),
        ("text_query", "sentence", f"{block['gallery_images']} pictures"),
    ):
        t = block[query]
        recalls = "".join(f"{t[f'R@{k}']:7.1f}" for k in (1, 5, 10))
        lines.append(f"{asked + ' query':14}{recalls}{t['MedR']:7.0f}{t['MeanR']:8.1f}  of {gallery}")
    return "\n".join([*lines, f"rsum {block['rsum']:.1f}"])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m itembed_tf.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("run", help="run directory of a finished run")
    parser.add_argument("--split", default="dev", choices=("train", "dev", "test"))
    parser.add_argument(
        "--set", action="append", default=[], metavar="section.key=value", help="another setting than the run's"
    )
    args = parser.parse_args(argv)
    try:
        print(format_block(evaluate_run(args.run, args.split, args.set)))
    except (ConfigError, RunError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
