"""A localisation experiment of a config, and the files it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from itembed_tf.config import Config, dump_config
from itembed_tf.files import write_atomically
from itembed_tf.localisation.entities import read_entities, summary
from itembed_tf.localisation.experiment import evaluate, learn, new_model, prepare
from itembed_tf.localisation.page import write_localisation_page
from itembed_tf.localisation.proposals import compute_proposals, read_proposals, write_proposals


def localise(config: Config, folder: Path, *, proposals: str, most: int, places: bool) -> dict[str, Any]:
    """Read, learn and measure as the config says, and write `folder`; gives what metrics.json holds."""
    images = read_entities(config.dataset.root, config.dataset.splits)
    holds = summary(images)
    print("\n".join(f"  {count:>9,} {what}" for what, count in holds.items()))
    boxes = read_proposals(proposals, images, most) if proposals else compute_proposals(images, most)
    write_proposals(folder / "proposals.jsonl", boxes)
    write_atomically(folder / "config.toml", dump_config(config))
    material = prepare(config, images, boxes, positions=places)
    held_out = "test" if "test" in material.regions else "dev"
    model = new_model(config, material)
    stages = []
    for place, stage in enumerate(config.stages):
        entry = learn(model, config, material, stage, place)
        for split in {"dev", held_out} & set(material.regions):
            found, entry[split] = evaluate(model, material, split)
        stages.append(entry)
        print(f"stage {stage.name}: {line(entry[held_out]['all'])}")
    found, figures = evaluate(model, material, held_out)
    metrics = {"schema": 1, "data": holds, "split": held_out, "stages": stages, held_out: figures}
    write_atomically(folder / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    title, notice = Path(config.dataset.root).resolve().name, Path(config.dataset.root) / "ATTRIBUTION.txt"
    said = notice.read_text(encoding="utf-8").strip() if notice.is_file() else ""
    regions = material.regions[held_out]
    write_localisation_page(folder, figures, found, regions, title=title, split=held_out, attribution=said)
    return metrics


def line(figures: dict[str, Any]) -> str:
    """The figures of one set of phrases in a line."""
    recalls = ", ".join(f"{k} {figures[k]:.1f} (random {figures['random'][k]:.1f})" for k in figures["random"])
    return f"{recalls}, whole image {figures['whole_image']:.1f}, upper bound {figures['upper_bound']:.1f}"
