"""The calibration of exported encoders (`itembed_tf.retrieval.Calibration`), measured with the encoders themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itembed_tf.config import Config, arguments, load_config
from itembed_tf.data.batches import Items, flatten
from itembed_tf.data.feature_file import FeatureFileError, read_features
from itembed_tf.data.images import load_image
from itembed_tf.data.readers import ImageSource, read_dataset
from itembed_tf.data.sources import image_batches
from itembed_tf.data.unreadable import drop_unreadable
from itembed_tf.evaluation.calibration import Side, bank_rows, calibrate
from itembed_tf.evaluation.embeddings import encode_batches
from itembed_tf.exporting.pair import EncoderPair
from itembed_tf.models.inference import predict, row_batches
from itembed_tf.progress import running_clock
from itembed_tf.retrieval import CALIBRATION_FILE, Calibration, CalibrationError, read_calibration
from itembed_tf.training.run_directory import open_run, read_skipped

# Of train and of dev, where images must be decoded: 20 s on two cores. For image queries, a bank of 1,000 images gained
# 3 points of rsum on Flickr8k dev, one of 4,000 gained 6.
DECODED_IMAGES = 1024
SMALLEST_DEV = 8  # groups of dev with which anything is measured

# Positions in the images of a split -> their embeddings, float32 [n, D].
EmbedImages = Callable[[NDArray[np.intp]], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Captions:
    """Captions of a split that have a known word.

    Attributes:
        vectors: their embeddings, float32 [n, D].
        groups: int [n].
        ids: word ids, int [n, L], 0 = padding.
    """

    vectors: NDArray[np.float32]
    groups: NDArray[np.integer]
    ids: NDArray[np.integer]

    def side(self) -> Side:
        return Side(self.vectors, self.groups)


@dataclass(frozen=True, eq=False)
class Samples:
    """What of a run's data encoders are measured with: captions of train, images of dev and the captions of these."""

    captions: Captions
    dev_images: Side
    dev_captions: Captions


def draw_samples(
    pair: EncoderPair,
    train: Items,
    dev: Items,
    *,
    rows: int,
    batch_size: int,
    dev_images: EmbedImages | None = None,
) -> Samples | None:
    """Embed the captions of the bank, and dev.

    Args:
        pair: the encoders.
        train, dev: of their run.
        rows: training captions of the bank.
        batch_size: images or captions encoded at a time.
        dev_images: embeds images of dev from cached features; None decodes and encodes `DECODED_IMAGES` of them.

    Returns:
        None where `rows` is 0, or dev has fewer than `SMALLEST_DEV` groups.
    """
    if not rows or not len(train.images) or len(np.unique(dev.image_groups)) < SMALLEST_DEV:
        return None
    shown = np.arange(len(dev.images)) if dev_images else bank_rows(dev.image_groups, min(rows, DECODED_IMAGES))
    asked = np.flatnonzero(np.isin(dev.caption_groups, dev.image_groups[shown]))

    def captions(items: Items, which: NDArray[np.intp]) -> Captions:
        ids = pair.vocabulary.encode([items.captions[i] for i in which])
        known = ids.any(axis=1)
        which, ids = which[known], ids[known]
        vectors = encode_batches(pair.embed_ids, row_batches(ids, batch_size), len(ids), "captions")
        return Captions(vectors, items.caption_groups[which], ids)

    dev_captions, embed = captions(dev, asked), dev_images or decoding(pair, dev.images, batch_size)
    images = Side(embed(shown), dev.image_groups[shown])
    return Samples(captions(train, bank_rows(train.caption_groups, rows)), images, dev_captions)


def calibrate_pair(
    pair: EncoderPair,
    train: Items,
    samples: Samples | None,
    *,
    rows: int,
    batch_size: int,
    train_images: EmbedImages | None = None,
) -> Calibration | None:
    """Calibrate encoders on the train and dev that they were trained with.

    Args:
        pair: the encoders.
        train: of their run.
        samples: `draw_samples` with the same `rows`.
        rows: training captions, and training images, of a bank; 0 for no calibration.
        batch_size: images encoded at a time.
        train_images: embeds images of train from cached features; None decodes and encodes `DECODED_IMAGES` of them.

    Returns:
        None where `rows` is 0, and without `samples`.
    """
    if not rows or samples is None:
        return None
    images = bank_rows(train.image_groups, rows if train_images else min(rows, DECODED_IMAGES))
    bank = Side((train_images or decoding(pair, train.images, batch_size))(images), train.image_groups[images])
    dev_captions = samples.dev_captions
    with running_clock("choosing the hubness correction on dev"):
        return calibrate(
            pair.contract, bank, samples.captions.side(), samples.dev_images, dev_captions.side(), dev_captions.ids
        )


def decoding(pair: EncoderPair, sources: Sequence[ImageSource], batch_size: int) -> EmbedImages:
    """Embedding of images that are decoded and encoded."""

    def embed(which: NDArray[np.intp]) -> NDArray[np.float32]:
        chosen, size, fit = [sources[i] for i in which], pair.size, pair.fit
        batches = image_batches(chosen, lambda data, i: load_image(data, size=size, fit=fit), batch_size)
        return encode_batches(pair.embed_images, batches, len(chosen), "images")

    return embed


def _given(config: Config, pair: EncoderPair, items: Items) -> EmbedImages:
    """Embedding of images whose features are in the file of the run."""
    rows = read_features(config.image_tower.features, items.image_ids)

    def embed(which: NDArray[np.intp]) -> NDArray[np.float32]:
        return predict(pair.embed_images, rows[which], config.evaluation.batch_size)

    return embed


def calibration_of_export(
    run: str | Path, pair: EncoderPair, overrides: Sequence[str] = ()
) -> tuple[Calibration | None, str]:
    """The calibration for an export of a run, and a line that says where it is from, or why there is none.

    The run's own is taken where its encoders are the same. Otherwise the encoders are calibrated on the run's dataset.

    Args:
        run: run directory.
        pair: the encoders that were exported.
        overrides: of the section dataset, as "dataset.key=value", where the data has moved.

    Raises:
        ConfigError: an invalid override.
    """
    opened, splits = open_run(run), 'dataset.splits=["train", "dev"]'
    try:
        if (found := read_calibration(opened.path / "encoders", pair.contract)) is not None:
            return found, f"{CALIBRATION_FILE}: that of {opened.path}"
    except CalibrationError:  # of other settings than the export's, or damaged: made again
        pass
    config = load_config(opened.path / "config.toml", [*overrides, splits])
    if not config.calibration.rows:
        return None, f"no {CALIBRATION_FILE}: calibration.rows = 0 in the config of the run"
    try:
        with running_clock("reading train and dev for the calibration"):
            groups = read_dataset(**arguments(config.dataset))
    except (FileNotFoundError, ValueError) as error:
        reason = " ".join(str(error).split())
        return None, f"no {CALIBRATION_FILE}, which needs train and dev of the run: {reason}"
    groups = drop_unreadable(groups, read_skipped(opened.path) or [], max_percent=100.0)
    train, dev = (flatten([group for group in groups if group.split == split]) for split in ("train", "dev"))
    train_images = dev_images = None
    if config.image_tower.features:
        try:
            train_images, dev_images = _given(config, pair, train), _given(config, pair, dev)
        except (FileNotFoundError, FeatureFileError) as error:
            return None, f"no {CALIBRATION_FILE}, which needs the features of the run: {' '.join(str(error).split())}"
    settings = {**arguments(config.calibration), "batch_size": config.evaluation.batch_size}
    samples = draw_samples(pair, train, dev, **settings, dev_images=dev_images)
    calibration = calibrate_pair(pair, train, samples, **settings, train_images=train_images)
    if calibration is None:
        return None, f"no {CALIBRATION_FILE}: dev has fewer than {SMALLEST_DEV} groups to measure it on"
    return calibration, f"{CALIBRATION_FILE}: measured on dev"
