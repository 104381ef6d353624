"""A localisation run: read annotations and proposals, train, evaluate, write metrics and page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras

from itembed_tf.config import Config, dump_config
from itembed_tf.files import write_atomically
from itembed_tf.localisation.entities import read_entities, summary
from itembed_tf.localisation.experiment import evaluate, new_model, prepare, train
from itembed_tf.localisation.page import write_localisation_page
from itembed_tf.localisation.proposals import compute_proposals, read_proposals, write_proposals
from itembed_tf.locks import locked_folder
from itembed_tf.progress import Steps

READ, PROPOSE, ENCODE, TRAIN, WRITE = "read annotations", "proposals", "encode regions", "train", "evaluate and write"


def localise(config: Config, folder: Path, *, proposals: str, max_proposals: int, positions: bool) -> dict[str, Any]:
    """Train and evaluate phrase localisation as configured, and write the run directory.

    Args:
        config: of the experiment.
        folder: run directory.
        proposals: file of region proposals; "" computes them.
        max_proposals: maximum number of proposals an image.
        positions: add position features of the boxes.

    Returns:
        The content of metrics.json.

    Raises:
        Locked: another process writes to `folder`.
    """
    with locked_folder(folder, "give another run directory"):
        return _localise(config, folder, proposals=proposals, max_proposals=max_proposals, positions=positions)


def _localise(config: Config, folder: Path, *, proposals: str, max_proposals: int, positions: bool) -> dict[str, Any]:
    steps = Steps([READ, PROPOSE, ENCODE, TRAIN, WRITE])
    steps.start(READ)
    images = read_entities(config.dataset.root, config.dataset.splits)
    counts = summary(images)
    print("\n".join(f"  {count:>9,} {what}" for what, count in counts.items()))
    steps.start(PROPOSE)
    boxes = read_proposals(proposals, images, max_proposals) if proposals else compute_proposals(images, max_proposals)
    write_proposals(folder / "proposals.jsonl", boxes)
    write_atomically(folder / "config.toml", dump_config(config))
    steps.start(ENCODE)
    data = prepare(config, images, boxes, positions=positions)
    held_out = "test" if "test" in data.regions else "dev"
    keras.utils.set_random_seed(config.seed)
    model = new_model(config, data)
    steps.start(TRAIN)
    stages = []
    for index, stage in enumerate(config.stages):
        entry = train(model, config, data, stage, index)
        for split in {"dev", held_out} & set(data.regions):
            entry[split] = evaluate(model, data, split)[1]
        stages.append(entry)
        print(f"stage {stage.name}: {format_recalls(entry[held_out]['all'])}")
    steps.start(WRITE)
    results, figures = evaluate(model, data, held_out)
    metrics = {"schema": 1, "data": counts, "split": held_out, "stages": stages, held_out: figures}
    write_atomically(folder / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    root = Path(config.dataset.root)
    notice = root / "ATTRIBUTION.txt"
    attribution = notice.read_text(encoding="utf-8").strip() if notice.is_file() else ""
    title = root.resolve().name
    write_localisation_page(
        folder, figures, results, data.regions[held_out], title=title, split=held_out, attribution=attribution
    )
    return metrics


def format_recalls(figures: dict[str, Any]) -> str:
    """Recalls of a set of phrases with chance level, whole-image baseline and upper bound, in one line."""
    recalls = ", ".join(f"{k} {figures[k]:.1f} (chance {figures['random'][k]:.1f})" for k in figures["random"])
    return f"{recalls}, whole image {figures['whole_image']:.1f}, upper bound {figures['upper_bound']:.1f}"
