"""Analysis of a finished run: page and figures about what its encoders learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from itembed_tf.analysis.measures import analyze, overlap_figures
from itembed_tf.data.batches import flatten
from itembed_tf.evaluation.embeddings import embed_split
from itembed_tf.evaluation.evaluate import evaluate_embeddings
from itembed_tf.files import write_atomically
from itembed_tf.pipeline.outputs import write_page
from itembed_tf.training.epoch_log import read_history
from itembed_tf.training.run_directory import open_run, read_metrics, read_skipped

SENTENCES = 2_000  # some four times those of the page that a training ends with


def analyze_run(path: str | Path, out: str | Path, split: str, sentences: int) -> dict[str, Any]:
    """Analyse one split of a finished run; write `out`/index.html and `out`/analysis.json, and give the latter.

    Raises:
        RunError: the run is not there or not finished.
        ValueError: its data set has nothing in that split.
    """
    run = open_run(path)
    model, config, groups, embeddings = embed_split(run, split)
    items, metrics = flatten(groups), read_metrics(run.path)
    found = analyze(model, items, embeddings, config, run.vocabulary, classes=metrics["classes"], sentences=sentences)
    block = evaluate_embeddings(config, split, groups, embeddings).to_json() | {"overlap": overlap_figures(found)}
    about = {key: value for key, value in metrics.items() if key not in ("train", "dev", "test")} | {split: block}
    history = read_history(run.path)
    skipped = read_skipped(run.path) or []
    title = f"{run.path.name}, {split}"
    write_page(Path(out), title, config, model, run.vocabulary, about, history, items, embeddings, skipped, found)
    told = {"run": run.path.name, **block, **found}
    write_atomically(Path(out) / "analysis.json", json.dumps(told, allow_nan=False) + "\n")
    return told


def format_analysis(told: dict[str, Any]) -> str:
    """S, the words that tell most and least, and the similarities before and after, as lines to print."""
    figures, words, similarity = overlap_figures(told), told["words"], told["similarity"]
    lines = [told["protocol"]]
    if figures["S"] is not None:
        pairs = f"{figures['matching_pairs']:,} matching and {figures['other_pairs']:,} other pairs"
        means = f"mean similarity {figures['mean_matching']:.3f} and {figures['mean_other']:.3f}"
        lines.append(f"overlap S {figures['S']:.4f} of {pairs} ({means}; {figures['bins']} bins)")
    for name, rows in (("most", words["most"]), ("least", words["least"])):
        if rows:
            lines.append(f"words that tell {name}, by the change of the score without them:")
            lines += [f"  {row['change']:+.3f}  {row['word']}  ({row['count']} times)" for row in rows[:5]]
    for name in ("before", "after"):
        if similarity[name]:
            total = len(similarity["pictures"])
            lines.append(
                f"{name} training, {similarity[name]['found']} of {total} pictures are nearest to their own sentence"
            )
    return "\n".join(lines)
