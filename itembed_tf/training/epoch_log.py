"""What is told of every finished epoch: a line on the screen, one in history.jsonl, and curves for TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tensorflow as tf

from itembed_tf.files import write_atomically


def report_epoch(path: Path, writer: Any, before: list[list[dict[str, Any]]], entry: dict[str, Any]) -> None:
    """One line on the screen, one in history.jsonl, and the same numbers for TensorBoard."""
    step = sum(len(history) for history in before) + entry["epoch"]
    flat = {f"train/{key}": value for key, value in entry["train"].items()} | {"learning_rate": entry["learning_rate"]}
    line = f"stage {entry['stage']} epoch {entry['epoch']}: loss {entry['train']['loss']:.3f}"
    if val := entry.get("val"):
        flat |= {f"dev/{query} {key}": val[query][key] for query in ("image_query", "text_query") for key in val[query]}
        flat["dev/rsum"] = val["rsum"]
        line += f", dev rsum {val['rsum']:.1f}"
        line += "".join(f", {q.replace('_', ' ')} R@1 {val[q]['R@1']:.1f}" for q in ("image_query", "text_query"))
    print(f"{line} ({entry['images_per_s']:.0f} images/s)", flush=True)
    with writer.as_default(step):
        for name, value in flat.items():
            tf.summary.scalar(name, value)
    writer.flush()
    file = path / "history.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()[: step - 1] if file.exists() else []
    write_atomically(file, "\n".join([*lines, json.dumps(entry)]) + "\n")
