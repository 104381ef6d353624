"""What a training run is trained on: readable groups, tokenizer, vocabulary and word vectors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from itembed_tf.config import Config, arguments, member_configs
from itembed_tf.data.batches import Items, TeacherEmbeddings, flatten
from itembed_tf.data.feature_file import features_checksum, read_features
from itembed_tf.data.readers import Group, read_data
from itembed_tf.data.summary import format_counts
from itembed_tf.data.unreadable import UnreadableImage, drop_unreadable, find_unreadable, refuse_too_many
from itembed_tf.progress import running_clock
from itembed_tf.text import Vocabulary
from itembed_tf.text.caption_warnings import caption_warnings
from itembed_tf.text.word_table import with_tokenizer, word_tables
from itembed_tf.training.checkpoints import Checkpoint
from itembed_tf.training.errors import RunError
from itembed_tf.training.run_data import (
    GroupRecord,
    check_same_file,
    check_same_groups,
    group_records,
    read_records,
    records_checksum,
    write_records,
)
from itembed_tf.training.run_directory import Run, read_skipped, write_config, write_skipped


@dataclass(frozen=True)
class TrainingData:
    """What all encoders of a run share.

    Attributes:
        by_split: readable groups by split.
        skipped: unreadable images.
        items: images and captions of train.
        captions: the words of each caption of `items`.
        vocabulary: of the run.
        ids: word ids of the captions, int32 [m, L].
        checksums: of groups and vocabulary, for checkpoints.
        teacher: embeddings of `items` by the teacher; None without one.
    """

    by_split: dict[str, list[Group]]
    skipped: Sequence[UnreadableImage]
    items: Items
    captions: Sequence[Sequence[str]]
    vocabulary: Vocabulary
    ids: np.ndarray
    checksums: dict[str, str]
    teacher: TeacherEmbeddings | None = None


@contextmanager
def unreadable_named(groups: Sequence[Group], max_pixels: int) -> Iterator[None]:
    """Name the image that an error comes from: one that became unreadable after it was checked.

    Raises:
        RunError: in place of the error, where an image of `groups` is unreadable now.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise
    except (tf.errors.OpError, FileNotFoundError) as error:
        unreadable = find_unreadable(groups, max_pixels=max_pixels)
        if not unreadable:
            raise
        more = f" (and {len(unreadable) - 1} more)" if len(unreadable) > 1 else ""
        raise RunError(
            f"the image {unreadable[0].image}{more} was readable when the training began, and is not now: "
            f"{unreadable[0].reason}. Restore it and give the same command again"
        ) from error


def readable_groups(
    config: Config, path: Path, saved: Checkpoint | None
) -> tuple[list[Group], list[UnreadableImage], dict[str, str]]:
    """The groups of the dataset without unreadable images, these images, and the checksum of the groups.

    The images are not checked again where the data is the same as when the run began; a continued run refuses other
    data.
    """
    with running_clock("reading the dataset"):
        data = read_data(**arguments(config.dataset))

    def without(unreadable: Sequence[UnreadableImage]) -> tuple[list[Group], list[GroupRecord]]:
        readable = drop_unreadable(data.groups, unreadable, max_percent=100.0)
        return readable, group_records(readable, config.dataset.root, config.dataset.images)

    skipped = read_skipped(path)
    if skipped is not None:
        groups, records = without(skipped)
    if skipped is None or not (saved or records == read_records(path)):
        no_images = bool(config.image_tower.features)  # none is decoded
        skipped = [] if no_images else find_unreadable(data.groups, max_pixels=config.max_pixels)
        groups, records = without(skipped)
    for each in skipped[:20]:
        print(f"skipped: {each.image}: {each.reason}")
    before = saved.state.data.get("groups") if saved else None
    if saved:
        check_same_groups(path, before, records)
    else:
        refuse_too_many(skipped, sum(len(group.images) for group in data.groups), config.max_broken_percent)
    if before is None:
        write_records(path, records)
    write_skipped(path, skipped)  # not where there are too many, so that a rerun checks repaired images again
    print(
        f"{config.dataset.name}: {format_counts(data, groups)}; {len(skipped):,} unreadable images skipped", flush=True
    )
    checksums = {"groups": records_checksum(records)}
    if config.image_tower.features:
        checksums["features"] = _check_features(config, groups, saved)
    return groups, skipped, checksums


def _check_features(config: Config, groups: Sequence[Group], saved: Checkpoint | None) -> str:
    """Check that image_tower.features has a row for every image, the same ones as when the run began.

    Returns:
        The checksum of the features.
    """
    file = config.image_tower.features
    rows = read_features(file, flatten(groups).image_ids)
    print(f"features: {file} has {rows.shape[1]:,} numbers for each of the {len(rows):,} images", flush=True)
    content = features_checksum(file)
    if saved:
        check_same_file(Path(file), saved.state.data.get("features"), content)
    return content


def choose_tokenizer(config: Config, path: Path, captions: Sequence[str], former: Run | None) -> Config:
    """The config with the tokenizer that "auto" gives: that of the former run, or one for the training captions.

    A continued run has it in its config, and exports repeat it.
    """
    if former and config.text.tokenizer == "auto":
        tokenizer = former.config.text.tokenizer
        line = f'tokenizer: "{tokenizer}", as in {former.path} (text.tokenizer = "auto")'
        return print_and_keep(path, replace(config, text=replace(config.text, tokenizer=tokenizer)), line)
    return print_and_keep(path, *with_tokenizer(config, captions))


def print_and_keep(path: Path, config: Config, line: str) -> Config:
    """Where there is a line about what "auto" is: print it, and write the config into the run directory."""
    if line:
        print(line, flush=True)
        write_config(path, config)
    return config


def word_vectors(config: Config, captions: Sequence[Sequence[str]]) -> tuple[Vocabulary, list[np.ndarray | None]]:
    """The vocabulary, built from the training captions alone, and the initial word table of each encoder, if any."""
    configs = member_configs(config)
    with running_clock("building the vocabulary"):
        tables = word_tables(configs, captions)
    vocabulary = tables[0].vocabulary
    others = f" and {configs[0].word_vectors.source}" if configs[0].word_vectors.extra_words else ""
    print(f"vocabulary: {vocabulary.size - 1:,} words of {len(captions):,} training captions{others}", flush=True)
    for source, (member, table) in {c.word_vectors.source: (c, t) for c, t in zip(configs, tables)}.items():
        if table.vectors is not None:
            percent = 100 * table.coverage
            print(
                f"word vectors: {source} has {percent:.1f} % of the captions' words; the others are initialised at "
                "random",
                flush=True,
            )
        coverage = table.coverage if table.vectors is not None else None
        for warning in caption_warnings(member, captions, vocabulary, coverage):
            warnings.warn(warning, stacklevel=2)
    return vocabulary, [table.vectors for table in tables]
