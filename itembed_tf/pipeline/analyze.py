"""Analysis of a finished run: a report and a JSON file about one split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itembed_tf.analysis.analyze import analyze
from itembed_tf.analysis.records import Analysis, WordMean
from itembed_tf.data.batches import flatten
from itembed_tf.data.readers import attribution
from itembed_tf.evaluation.embeddings import embed_split
from itembed_tf.evaluation.evaluate import evaluate_embeddings
from itembed_tf.files import write_atomically
from itembed_tf.progress import Steps
from itembed_tf.report import run_facts, write_report
from itembed_tf.retrieval import RetrievalTable
from itembed_tf.training.epoch_log import read_history
from itembed_tf.training.run_directory import open_run, read_metrics, read_skipped


@dataclass(frozen=True)
class RunAnalysis:
    """The analysis of one split of a run, with its retrieval table."""

    run: str
    table: RetrievalTable
    analysis: Analysis

    def to_json(self) -> dict[str, Any]:
        """The content of analysis.json."""
        return {"run": self.run, **self.table.to_json(), **self.analysis.to_json()}


def analyze_run(
    path: str | Path, out: str | Path, split: str, captions: int, overrides: Sequence[str] = ()
) -> RunAnalysis:
    """Analyse one split of a finished run; write `out`/index.html and `out`/analysis.json.

    Args:
        path: run directory.
        out: folder for both files.
        split: "train", "dev" or "test".
        captions: number of captions sampled for word importance.
        overrides: settings to change, as "section.key=value".

    Raises:
        RunError: the run does not exist or is not finished.
        ValueError: its dataset has no such split.
    """
    steps = Steps([f"embed the {split} split", "evaluate and analyse", "write the page"])
    steps.start(steps.titles[0])
    run = open_run(path)
    model, config, groups, embeddings = embed_split(run, split, overrides)
    items, metrics = flatten(groups), read_metrics(run.path)
    steps.start(steps.titles[1])
    analysis = analyze(model, items, embeddings, config, run.vocabulary, classes=metrics["classes"], captions=captions)
    result = RunAnalysis(run.path.name, evaluate_embeddings(config, split, groups, embeddings), analysis)
    steps.start(steps.titles[2])
    write_report(
        out,
        title=f"{run.path.name}, {split}",
        metrics=metrics,
        split=split,
        table=result.table,
        history=read_history(run.path),
        items=items,
        embeddings=embeddings,
        skipped=read_skipped(run.path) or [],
        attribution=attribution(config.dataset.name),
        facts=run_facts(config, model, run.vocabulary, metrics),
        analysis=analysis,
    )
    write_atomically(Path(out) / "analysis.json", json.dumps(result.to_json(), allow_nan=False) + "\n")
    return result


def format_analysis(result: RunAnalysis) -> str:
    """S, the most and least important words, and the similarities before and after training, as lines to print."""
    overlap, words, similarity = result.analysis.overlap.summary(), result.analysis.words, result.analysis.similarity
    lines = [result.table.protocol]
    if overlap["S"] is not None:
        pairs = f"{overlap['matching_pairs']:,} matching and {overlap['other_pairs']:,} other pairs"
        means = f"mean similarity {overlap['mean_matching']:.3f} and {overlap['mean_other']:.3f}"
        lines.append(f"overlap S = {overlap['S']:.4f} of {pairs} ({means}; {overlap['bins']} bins)")
    lines += _word_lines("most important words (mean change of the similarity without the word):", words.most)
    lines += _word_lines("least important or misleading words:", words.least)
    for name, matrix in (("before", similarity.before), ("after", similarity.after)):
        if matrix:
            total = len(similarity.images)
            lines.append(f"{name} training, {matrix.correct} of {total} images are most similar to their own caption")
    return "\n".join(lines)


def _word_lines(title: str, words: tuple[WordMean, ...]) -> list[str]:
    return [title, *(f"  {each.change:+.3f}  {each.word}  ({each.count} times)" for each in words[:5])] if words else []
