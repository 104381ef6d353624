"""The model card of an export: ``README.md`` with front matter that Hugging Face reads, the figures and how to call it.

It describes what a folder holds: SavedModels, LiteRT files, ONNX files, or several of these.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itembed_tf.config import Config, arguments, load_config
from itembed_tf.data.readers import known_license
from itembed_tf.export_layout import CONTRACT_FILE, ENCODERS
from itembed_tf.exporting.card_calls import CALLS
from itembed_tf.exporting.front_matter import front_matter
from itembed_tf.files import PARTIAL, write_atomically
from itembed_tf.retrieval import QUERY_DIRECTIONS, RetrievalTable
from itembed_tf.retrieval.table import DIRECTION_NAMES
from itembed_tf.training.run_directory import read_metrics

CARD_FILE = "README.md"
FORMATS = {"SavedModel": f"{ENCODERS[1]}/*/saved_model.pb", "LiteRT": "*.tflite", "ONNX": "*.onnx"}
CUT = (
    "These encoders are those of the run with shortened embeddings (PCA). `encoders.json` or the settings of a file "
    "hold, under `cut`, the recall on dev before and after."
)
CHANGED = (
    "These encoders average or prepare images otherwise than those that the run measured, so no figures are given."
)
UNMEASURED = "The run has not measured its encoders."
LITERT_NOTE = (
    "\nThe figures are of the float32 model. What each file loses on dev is in `<encoder>.json`, under `files`."
)


def write_card(
    out: str | Path,
    run: str | Path,
    overrides: Sequence[str] = (),
    *,
    pca: bool = False,
    metrics: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``README.md`` beside the files of an export, when all of them are there; return its path.

    The figures of the run are in it only where the exported encoders are those that the run measured.

    Args:
        out: folder of the export.
        run: run directory.
        overrides: ``section.key=value`` of the export.
        pca: whether the embeddings were shortened.
        metrics: content of metrics.json; None reads it.
    """
    config = load_config(Path(run) / "config.toml", [each for each in overrides if each.startswith("card.")])
    metrics = read_metrics(Path(run)) if metrics is None else metrics
    block = next((metrics[split] for split in ("test", "dev") if split in metrics), None)
    changed = any(not each.startswith(("card.", "dataset.")) for each in overrides)
    reason = CUT if pca else CHANGED if changed else UNMEASURED if block is None else ""
    table = None if reason or block is None else RetrievalTable.from_json(block)
    text = model_card(Path(out), Path(run).resolve().name, config, table, reason, **arguments(config.card))
    return write_atomically(Path(out) / CARD_FILE, text)


def model_card(
    folder: Path,
    title: str,
    config: Config,
    table: RetrievalTable | None,
    reason: str = "",
    *,
    languages: Sequence[str],
    license: str,
    data_license: str,
) -> str:
    """The text of a model card.

    Args:
        folder: of the export.
        title: name of the model.
        config: of the run.
        table: figures of the encoders, or None.
        reason: why there are no figures.
        languages, license, data_license: the section ``card``.
    """
    formats = [name for name, pattern in FORMATS.items() if any(folder.glob(pattern))]
    settings = _settings(folder)
    notes = LITERT_NOTE if table and "LiteRT" in formats else ""
    of_data = data_license or known_license(config.dataset.name) or "unknown"
    parts = [
        front_matter(title, formats, table, languages=languages, license=license),
        f"# {title}\n",
        "Two encoders, of images and of texts, that map both into one space: the dot product of two embeddings is "
        f"their cosine similarity. Formats: {', '.join(formats)}. Made with itembed_tf (TensorFlow, Keras).\n",
        f"- **Contract hash**: `{settings['contract']}`. Only embeddings with one contract hash can be compared.\n"
        f"- **Embedding**: float32, {_dimensions(settings)} dimensions, unit length.\n"
        f"- **Languages**: {', '.join(languages) or 'unknown'}. **Licence of the weights**: {license}.\n",
        f"## Figures\n\n{figures(table) + notes if table else reason}\n",
        f"## Training data\n\nDataset: {config.dataset.name}. Licence of the dataset: {of_data}\n",
        f"## Files\n\n{sizes(folder)}\n",
        "## How to call it\n",
        *(f"### {name}\n\n{CALLS[name](folder, settings)}\n" for name in formats),
        "## Limits\n\nThe encoders know the kind of images and the words that they were trained on. A text without a "
        "known word has an embedding without meaning: ids that are all 0, or `known_words` 0.\n",
    ]
    return "\n".join(parts)


def figures(table: RetrievalTable) -> str:
    """The retrieval table in Markdown, each figure as in metrics.json with its 95 % interval."""
    lines = [
        f"{table.protocol}\n" if table.protocol else "",
        "| query | figure | value | 95 % interval |",
        "|---|---|---|---|",
    ]
    for direction in QUERY_DIRECTIONS:
        for name, value in table[direction].values.items():
            lines.append(_row(DIRECTION_NAMES[direction], name, value, table[direction].intervals.get(name)))
    lines.append(_row("both", "rsum", table.rsum, table.rsum_interval))
    return "\n".join(lines) + "\n\nRecall (R@K) in percent; MedR and MeanR are ranks, 1 is the best."


def _row(query: str, name: str, value: float, bounds: Sequence[float] | None) -> str:
    interval = f"{bounds[0]:.1f} to {bounds[1]:.1f}" if bounds else ""
    return f"| {query} | {name} | {value:.1f} | {interval} |"


def sizes(folder: Path) -> str:
    """The files of an export in Markdown, a SavedModel as one line."""
    total: dict[str, int] = {}
    for file in sorted(folder.rglob("*")):
        parts = file.relative_to(folder).parts
        if file.is_file() and parts != (CARD_FILE,) and not any(part.startswith((".", PARTIAL)) for part in parts):
            name = f"{'/'.join(parts[:2])}/" if parts[0] in ENCODERS else "/".join(parts)
            total[name] = total.get(name, 0) + file.stat().st_size
    return "\n".join(["| file | bytes |", "|---|---|", *(f"| `{name}` | {size:,} |" for name, size in total.items())])


def _settings(folder: Path) -> dict[str, Any]:
    """The settings of any of the encoders in a folder; all of them have one contract hash."""
    files = [folder / CONTRACT_FILE, *sorted(folder.glob("*_encoder*.json"), reverse=True)]
    found = next(file for file in files if file.is_file())
    return dict(json.loads(found.read_text(encoding="utf-8")))


def _dimensions(settings: Mapping[str, Any]) -> int:
    return int(settings.get("embedding_size") or settings["output"]["embedding"]["shape"][-1])
