"""What follows the last stage: weights, the measured table, the encoders and the report, then metrics.json."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from itembed_tf.analysis.measures import analyze, overlap_figures
from itembed_tf.config import Config, arguments
from itembed_tf.data.batches import Items, flatten
from itembed_tf.data.readers import Group, attribution
from itembed_tf.evaluation.embeddings import Embeddings, embedder, metrics_block
from itembed_tf.evaluation.protocols import selection_score
from itembed_tf.exporting import encoder_pair, write_litert_text_encoder, write_saved_models
from itembed_tf.report import write_report
from itembed_tf.text import Vocabulary
from itembed_tf.training.run_directory import drop_checkpoint, load_model, open_run, save_weights, write_metrics


def finish_run(
    config: Config,
    path: Path,
    model: keras.Model,
    vocabulary: Vocabulary,
    by_split: dict[str, list[Group]],
    histories: list[list[dict[str, Any]]],
    skipped: list[dict[str, str]],
    features: Callable[[Items], list[np.ndarray]] | None,
) -> dict[str, Any]:
    """Measure the trained model on test (without one, on dev), write everything a user takes away, give the metrics.

    What is measured and exported is the float32 model read back from the run directory, not the one in memory.
    metrics.json says ``"finished": true`` only when all of it is on disk.

    Args:
        features: what the backbone says of pictures, as `embedder` takes it, where no stage has changed the backbone;
            None where the pictures are to be encoded.
    """
    classes = config.classes.clusters or len(by_split["train"])
    save_weights(path, model)
    metrics: dict[str, Any] = {
        "schema": 1,
        "dataset": config.dataset.name,
        "finished": False,
        "classes": classes,
        "stages": _stage_summaries(config, histories),
    }
    write_metrics(path, metrics)
    kept = load_model(open_run(path), classes=classes)
    shown = next((split for split in ("test", "dev") if by_split.get(split)), "train")
    items = flatten(by_split[shown])
    known = features(items) if features else None
    settings = arguments(config.image) | arguments(config.evaluation)
    embeddings = embedder(kept, items, vocabulary, **settings, features=known)()
    metrics[shown] = metrics_block(config, shown, by_split[shown], embeddings, keep=path)
    analysis = analyze(kept, items, embeddings, config, vocabulary, classes=classes)
    metrics[shown]["overlap"] = overlap_figures(analysis)
    pair = encoder_pair(kept, vocabulary, config)
    write_saved_models(path / "encoders", pair)
    write_litert_text_encoder(path / "encoders", pair)
    history = [entry for stage in histories for entry in stage]
    about = metrics | {"finished": True}  # it is, when metrics.json says so a moment later
    write_page(
        path / "report", path.name, config, kept, vocabulary, about, history, items, embeddings, skipped, analysis
    )
    metrics["finished"] = True
    write_metrics(path, metrics)
    drop_checkpoint(path)
    return metrics


def _stage_summaries(config: Config, histories: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    summaries: list[dict[str, Any]] = []
    for stage, history in zip(config.stages, histories, strict=True):
        came = [summaries[-1]["val"]] if summaries and summaries[-1]["val"] else []
        tables = came + [entry["val"] for entry in history if "val" in entry]
        summaries.append(_stage_summary(stage.name, history, _kept(stage.keep, tables, config.dataset.name)))
    return summaries


def _stage_summary(name: str, history: list[dict[str, Any]], val: dict[str, Any]) -> dict[str, Any]:
    """One stage of metrics.json: its totals, its last training numbers, and dev of the weights that it kept."""
    seconds = sum(entry["seconds"] for entry in history)
    images = sum(entry["seconds"] * entry["images_per_s"] for entry in history)
    return {
        "name": name,
        "epochs": len(history),
        "seconds": round(seconds, 1),
        "images_per_s": round(images / seconds, 1) if seconds else 0.0,
        "train": history[-1]["train"] if history else {},
        "val": val,
    }


def _kept(keep: str, tables: list[dict[str, Any]], data_set: str) -> dict[str, Any]:
    """The table of the weights kept. The first is of those that the stage was given: they may be the best."""
    if not tables:
        return {}
    return tables[-1] if keep == "last" else max(tables, key=lambda table: selection_score(table, data_set))


def write_page(
    folder: Path,
    title: str,
    config: Config,
    model: keras.Model,
    vocabulary: Vocabulary,
    metrics: dict[str, Any],
    history: list[dict[str, Any]],
    items: Items,
    embeddings: Embeddings,
    skipped: list[dict[str, str]],
    analysis: dict[str, Any],
) -> None:
    """The report of a run about one split, with the facts of its config; see `itembed_tf.report.write_report`."""
    seconds = sum(stage["seconds"] for stage in metrics["stages"])
    variant = config.text_tower.variant
    variant += f" ({config.sentence.kind})" if variant == "features" else ""
    facts = {
        "data set": f"{config.dataset.name} {config.dataset.root}".strip(),
        "classes": f"{metrics['classes']:,}",
        "vocabulary": f"{vocabulary.size - 1:,} words, {config.word_vectors.source} vectors",
        "image tower": f"{config.image_tower.backbone}, {config.image.size} pixels",
        "text tower": f"{variant}, {model.get_layer('text_tower').count_params():,} parameters",
        "embedding": f"{config.embedding_size} numbers",
        "training time": f"{seconds / 60:.1f} minutes",
        "seed": str(config.seed),
        "versions": ", ".join(
            f"{name} {importlib.metadata.version(name)}" for name in ("tensorflow", "keras", "numpy")
        ),
    }
    write_report(
        folder,
        title=title,
        metrics=metrics,
        history=history,
        images=items.images,
        image_embeddings=embeddings.images,
        captions=items.captions,
        caption_embeddings=embeddings.captions,
        image_groups=items.image_groups,
        caption_groups=items.caption_groups,
        skipped=skipped,
        attribution=attribution(config.dataset.name),
        facts=facts,
        analysis=analysis,
    )
