"""The outputs of a training run: weights, retrieval table, encoders and report, then metrics.json."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from itembed_tf.analysis.analyze import analyze
from itembed_tf.config import Config, arguments
from itembed_tf.data.batches import Items, flatten
from itembed_tf.data.joined_features import Features
from itembed_tf.data.readers import Group, attribution
from itembed_tf.data.unreadable import UnreadableImage
from itembed_tf.evaluation.calibration import describe_calibration
from itembed_tf.evaluation.embeddings import embedder
from itembed_tf.evaluation.evaluate import evaluate_embeddings
from itembed_tf.exporting import encoder_pair, write_card, write_litert_text_encoder, write_saved_models
from itembed_tf.pipeline import steps as titles
from itembed_tf.pipeline.calibration import write_search_data
from itembed_tf.pipeline.summaries import stage_summaries
from itembed_tf.progress import Steps, running_clock
from itembed_tf.report import run_facts, write_report
from itembed_tf.text import Vocabulary
from itembed_tf.training.build import load_model
from itembed_tf.training.checkpoints import drop_checkpoint
from itembed_tf.training.run_directory import open_run, save_weights, write_metrics
from itembed_tf.training.state import EpochEntry


def finish_run(
    config: Config,
    path: Path,
    vocabulary: Vocabulary,
    by_split: dict[str, list[Group]],
    histories: Sequence[Sequence[EpochEntry]],
    skipped: Sequence[UnreadableImage],
    *,
    model: keras.Model,
    features: Callable[[Items], Sequence[Features]] | None,
    steps: Steps,
) -> dict[str, Any]:
    """Evaluate the trained model on test (without one, on dev), write all outputs and return the metrics.

    The float32 model read back from the run directory is evaluated and exported, not the one in memory. metrics.json
    has ``"finished": true`` only when everything is on disk.

    Args:
        model: the trained model.
        features: gives backbone features of images, as `embedder` takes them, where no stage has changed the backbone;
            None where the images must be encoded. With crops, which are not cached, they serve for train alone.
    """
    steps.start(titles.MEASURE)
    classes = config.classes.clusters or len(by_split["train"])
    save_weights(path, model)
    metrics: dict[str, Any] = {
        "schema": 1,
        "dataset": config.dataset.name,
        "finished": False,
        "classes": classes,
        "vocabulary": vocabulary.checksum(),
        "stages": stage_summaries(config, histories),
    }
    write_metrics(path, metrics)
    with running_clock("reading the weights back"):
        final = load_model(open_run(path), classes=classes)
    shown = next((split for split in ("test", "dev") if by_split.get(split)), "train")
    items = flatten(by_split[shown])
    cached = features(items) if features and not config.evaluation.crops else None
    settings = arguments(config.image) | arguments(config.evaluation)
    embeddings = embedder(final, items, vocabulary, **settings, features=cached)()
    table = evaluate_embeddings(config, shown, by_split[shown], embeddings, ranks_to=path)
    steps.start(titles.ANALYSE)
    analysis = analyze(final, items, embeddings, config, vocabulary, classes=classes)
    metrics[shown] = table.to_json() | {"overlap": analysis.overlap.summary()}
    steps.start(titles.EXPORT)
    pair = encoder_pair(final, vocabulary, config)
    write_saved_models(path / "encoders", pair)
    write_litert_text_encoder(path / "encoders", pair)
    steps.start(titles.CALIBRATE)
    dev_images = embeddings.images if shown == "dev" else None
    calibration = write_search_data(config, path / "encoders", pair, final, by_split, features, dev_images)
    corrected = None
    if calibration:
        corrected = evaluate_embeddings(
            config, shown, by_split[shown], embeddings, ranks_to=path, calibration=calibration
        )
        metrics[shown]["hubness_corrected"] = corrected.to_json()
        print("\n".join(describe_calibration(calibration)), flush=True)
    write_card(path / "encoders", path, metrics=metrics)
    steps.start(titles.REPORT)
    with running_clock("writing the report"):
        write_report(
            path / "report",
            title=path.name,
            metrics=metrics | {"finished": True},  # as metrics.json has it a moment later
            split=shown,
            table=table,
            corrected=corrected,
            history=[entry.to_json() for stage in histories for entry in stage],
            items=items,
            embeddings=embeddings,
            skipped=skipped,
            attribution=attribution(config.dataset.name),
            facts=run_facts(config, final, vocabulary, metrics),
            analysis=analysis,
        )
    metrics["finished"] = True
    write_metrics(path, metrics)
    drop_checkpoint(path)
    return metrics
