"""The members of an ensemble: trained one after the other, then joined, their embeddings brought to one size by PCA."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from itembed_tf.config import Config, arguments, dump_config, frozen_backbone, member_configs
from itembed_tf.data.batches import flatten
from itembed_tf.evaluation.embeddings import Embeddings, embedder
from itembed_tf.exporting.pca import principal_axes
from itembed_tf.models.ensemble import project_ensemble
from itembed_tf.pipeline import steps as titles
from itembed_tf.pipeline.encoder import train_encoders
from itembed_tf.pipeline.stages import Histories
from itembed_tf.pipeline.steps import member_suffix
from itembed_tf.pipeline.summaries import stage_summaries
from itembed_tf.pipeline.training_data import TrainingData
from itembed_tf.progress import Steps, running_clock
from itembed_tf.training.build import build_ensemble, load_model
from itembed_tf.training.checkpoints import Checkpoint, drop_checkpoint, load_checkpoint, save_checkpoint
from itembed_tf.training.distribution import ONE, Replicas
from itembed_tf.training.frozen_outputs import image_features
from itembed_tf.training.loggers import TrainingLogger
from itembed_tf.training.run_directory import (
    open_run,
    read_architectures,
    save_weights,
    write_architectures,
    write_config,
    write_metrics,
)
from itembed_tf.training.state import RunState

FOLDER = "members"
PCA_GROUPS = 10_000  # groups of train that PCA is fitted on; more change the axes little


def train_members(
    config: Config,
    path: Path,
    data: TrainingData,
    words: Sequence[np.ndarray | None],
    saved: Checkpoint | None,
    steps: Steps,
    loggers: Sequence[TrainingLogger] = (),
    replicas: Replicas = ONE,
) -> tuple[keras.Model, Histories]:
    """Train the members of an ensemble; return it in float32, with the histories of the stages of all members.

    Each member is a run of its own in ``members/1``, ``members/2``, ..., with everything but exports and report; the
    checkpoint of the whole run says which are finished.

    Args:
        config: with members.
        path: run directory of the ensemble.
        data: of the run.
        words: initial word table of each member.
        saved: checkpoint of `path`.
        steps: of the run.
        loggers: get the epochs of each member, from 1 on.
        replicas: of one process.
    """
    histories = list(saved.state.histories) if saved else []
    configs = member_configs(config)
    _save_progress(path, config, histories, data)
    for number, (member, table) in enumerate(zip(configs, words, strict=True), start=1):
        folder, stages = path / FOLDER / str(number), len(member.stages)
        if len(histories) >= number * stages:
            print(f"member {number} of {len(configs)} is finished", flush=True)
        else:
            write_config(folder, member)
            if architectures := read_architectures(path):
                write_architectures(folder, architectures)
            data.vocabulary.save(folder / "vocabulary.txt")
            keras.utils.set_random_seed(member.seed)
            suffix = member_suffix(number)
            model, own = train_encoders(
                member, folder, data, table, load_checkpoint(folder), steps, suffix, loggers=loggers, replicas=replicas
            )
            save_weights(folder, model)
            write_metrics(folder, _member_metrics(member, data, own))
            histories += own
            _save_progress(path, config, histories, data)
        drop_checkpoint(folder)
    steps.start(titles.JOIN)
    members = [load_model(open_run(path / FOLDER / str(number))) for number in range(1, len(configs) + 1)]
    ensemble = build_ensemble(config, members)
    axes, kept = principal_axes(_train_embeddings(configs, members, data), config.embedding_size)
    project_ensemble(ensemble, axes)
    total = axes.shape[0]
    print(
        f"{len(members)} members: PCA keeps {kept:.2f} % of {total:,} dimensions in {config.embedding_size:,}",
        flush=True,
    )
    return ensemble, histories


def _save_progress(path: Path, config: Config, histories: Histories, data: TrainingData) -> None:
    save_checkpoint(path, Checkpoint(RunState(histories, None, data.checksums, dump_config(config)), {}))


def _member_metrics(member: Config, data: TrainingData, histories: Histories) -> dict[str, object]:
    return {
        "schema": 1,
        "dataset": member.dataset.name,
        "finished": True,
        "classes": member.classes.clusters or len(data.by_split["train"]),
        "vocabulary": data.vocabulary.checksum(),
        "stages": stage_summaries(member, histories),
    }


def _train_embeddings(configs: Sequence[Config], members: Sequence[keras.Model], data: TrainingData) -> Embeddings:
    """The embeddings of train, or of a part of it, those of the members side by side, as the projection gets them."""
    groups = data.by_split["train"]
    items = flatten(groups[:: -(-len(groups) // PCA_GROUPS)])
    parts = []
    for number, (config, member) in enumerate(zip(configs, members), start=1):
        flip, features = config.evaluation.flip, None
        if frozen_backbone(config) and config.precision == "float32":
            features = image_features(config, member, items, 1 + flip, mirror=flip)
        settings = arguments(config.image) | arguments(config.evaluation) | {"crops": 0}
        with running_clock(f"embedding train by member {number}"):
            parts.append(embedder(member, items, data.vocabulary, **settings, features=features)())
    images, captions = ([getattr(part, kind) for part in parts] for kind in ("images", "captions"))
    return Embeddings(np.concatenate(images, axis=1), np.concatenate(captions, axis=1))
