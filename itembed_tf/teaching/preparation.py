"""The data of lessons from encoders, and from a finished run whose dataset is available."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itembed_tf.config import Config, arguments, load_config, member_configs
from itembed_tf.data.batches import flatten
from itembed_tf.data.readers import read_dataset
from itembed_tf.data.unreadable import drop_unreadable
from itembed_tf.exporting.calibration import SMALLEST_DEV, Samples, draw_samples
from itembed_tf.exporting.pair import EncoderPair, load_pair, weights_checksum
from itembed_tf.progress import Steps
from itembed_tf.teaching.data import TeachingData, TeachingError
from itembed_tf.training.run_directory import open_run, read_skipped

CAPTIONS = 4096  # of train, where the run has no calibration
DEV_GROUPS = 1000  # of dev


def teaching_data(pair: EncoderPair, config: Config, samples: Samples | None, *, keep: bool) -> TeachingData | None:
    """The data of lessons, from what the encoders were calibrated with.

    Args:
        pair: the encoders; the text encoder is the text tower (`cannot_be_taught`).
        config: of their run.
        samples: of train and dev; None where dev is too small to measure anything.
        keep: whether it is wanted.

    Returns:
        None where it is not wanted, and without `samples`.
    """
    if not keep or samples is None:
        return None
    images, captions = samples.dev_images, samples.dev_captions
    groups = np.intersect1d(images.groups, captions.groups)
    groups = np.random.default_rng(0).permutation(groups)[:DEV_GROUPS]
    shown, asked = np.isin(images.groups, groups), np.isin(captions.groups, groups)
    return TeachingData(
        contract=pair.contract,
        image_weights=weights_checksum(pair.image_encoder),
        image_settings=pair.image_settings,
        encoding_settings=pair.encoding_settings,
        towers=tuple(
            {**arguments(each.text_tower), "embedding_size": each.embedding_size} for each in member_configs(config)
        ),
        vocabulary=pair.vocabulary,
        weights=tuple(np.asarray(variable.value) for variable in pair.text_encoder.variables),
        captions=samples.captions.ids.astype(np.int32),
        caption_groups=samples.captions.groups.astype(np.int32),
        dev_images=images.vectors[shown].astype(np.float16),
        dev_image_groups=images.groups[shown].astype(np.int32),
        dev_captions=captions.ids[asked].astype(np.int32),
        dev_caption_groups=captions.groups[asked].astype(np.int32),
    )


def cannot_be_taught(config: Config) -> str:
    """Why the text encoder of a run cannot learn a name, and what to do; "" if it can."""
    if any(each.text_tower.variant == "features" for each in member_configs(config)):
        return (
            "its text encoder computes fixed sentence features, which have no row for a new word (text_tower.variant = "
            '"features"). Train with another variant, such as "wide"'
        )
    if config.memory.rows:
        return (
            f"its text encoder has a memory of training images (memory.rows = {config.memory.rows}). Train one without "
            "it for an index that learns new names"
        )
    return ""


def data_of_run(run: str | Path, contract: str) -> TeachingData:
    """The data of lessons from a finished run without ``teaching.npz``; its dataset must be available.

    Args:
        run: run directory.
        contract: contract hash of the encoders of the index.

    Raises:
        TeachingError: the run has other encoders, a text encoder that cannot learn a word, or too small a dev.
        RunError: the run has not finished.
        FileNotFoundError: its dataset is not there.
    """
    opened, steps = open_run(run), Steps(["load the run", "embed training captions and dev"])
    if reason := cannot_be_taught(opened.config):
        raise TeachingError(f"{run} cannot be taught: {reason}")
    steps.start("load the run")
    _, pair = load_pair(opened.path)
    if pair.contract != contract:
        raise TeachingError(
            f"{run} has encoders of the contract {pair.contract[:16]}, and the index of {contract[:16]}: give the run "
            "with which the index was built (exports with --pca or --set cannot be taught)"
        )
    config = load_config(opened.path / "config.toml", ['dataset.splits=["train", "dev"]'])
    groups = drop_unreadable(read_dataset(**arguments(config.dataset)), read_skipped(opened.path) or [], 100.0)
    train, dev = (flatten([group for group in groups if group.split == split]) for split in ("train", "dev"))
    steps.start("embed training captions and dev")
    rows, batch_size = config.calibration.rows or CAPTIONS, config.evaluation.batch_size
    data = teaching_data(pair, config, draw_samples(pair, train, dev, rows=rows, batch_size=batch_size), keep=True)
    if data is None:
        raise TeachingError(
            f"{run} cannot be taught: its dev has fewer than {SMALLEST_DEV} groups, on which the harm that a lesson "
            "does could be measured"
        )
    return data
