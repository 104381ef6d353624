"""The YAML front matter of a model card: task, language, licence, and the figures of a run as a model index.

The keys are those of Hugging Face's model cards (https://github.com/huggingface/hub-docs/blob/main/modelcard.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from itembed_tf.retrieval import QUERY_DIRECTIONS, RetrievalTable
from itembed_tf.retrieval.table import DIRECTION_NAMES

TASK = {"type": "image-text-retrieval", "name": "Image-text retrieval"}
METRIC_TYPES = {"MedR": "median_rank", "MeanR": "mean_rank", "mAP": "mean_average_precision"}


def front_matter(
    title: str, formats: Sequence[str], table: RetrievalTable | None, *, languages: Sequence[str], license: str
) -> str:
    """The block between two ``---`` lines with which a model card starts.

    Args:
        title: name of the model.
        formats: of the files: "SavedModel", "LiteRT", "ONNX".
        table: figures of the encoders; None where they were not measured.
        languages, license: settings of the card.
    """
    tags = ["image-text-retrieval", "text-to-image-retrieval", "image-to-text-retrieval", "embeddings"]
    content: dict[str, Any] = {
        "language": list(languages),
        "license": license,
        "library_name": "itembed_tf",
        "pipeline_tag": "feature-extraction",
        "tags": [*tags, *(name.lower() for name in formats)],
        "metrics": sorted({metric["type"] for metric in _metrics(table)}) if table else [],
        "model-index": model_index(title, table) if table else [],
    }
    return "\n".join(["---", *_block({name: value for name, value in content.items() if value}, ""), "---"]) + "\n"


def model_index(title: str, table: RetrievalTable) -> list[dict[str, Any]]:
    """The figures of a retrieval table in the form of a model index, with protocol and 95 % intervals."""
    gallery = {"gallery_images": table.gallery_images, "gallery_captions": table.gallery_captions}
    dataset = {"type": table.dataset, "name": table.dataset, "split": table.split, "args": gallery}
    return [{"name": title, "results": [{"task": TASK, "dataset": dataset, "metrics": _metrics(table)}]}]


def _metrics(table: RetrievalTable) -> list[dict[str, Any]]:
    metrics = []
    for direction in QUERY_DIRECTIONS:
        figures = table[direction]
        for name, value in figures.values.items():
            args = {"direction": direction, "figure": name, **_interval(table, figures.intervals.get(name))}
            type_ = METRIC_TYPES.get(name, name.lower().replace("r@", "recall_at_").replace("-", "_"))
            title = f"{DIRECTION_NAMES[direction]} {name}"
            metrics.append({"type": type_, "name": title, "value": value, "config": table.protocol, "args": args})
    args = {"figure": "rsum", **_interval(table, table.rsum_interval)}
    return [*metrics, {"type": "rsum", "name": "rsum", "value": table.rsum, "config": table.protocol, "args": args}]


def _interval(table: RetrievalTable, bounds: Sequence[float] | None) -> dict[str, Any]:
    return {"interval_95": list(bounds), **table.bootstrap} if bounds else {}


def _block(value: Mapping[str, Any] | Sequence[Any], indent: str) -> Iterator[str]:
    """A mapping or a list in YAML's block style, line by line; texts, numbers and empty ones as in JSON."""
    named = isinstance(value, Mapping)
    for name, item in value.items() if isinstance(value, Mapping) else ((None, item) for item in value):
        start = f"{indent}{name}:" if named else f"{indent}-"
        if isinstance(item, (Mapping, list)) and item:
            inner = list(_block(item, indent + "  "))
            if named:
                yield start
            else:  # the first line of the item stands behind the dash
                inner[0] = f"{start} {inner[0].lstrip()}"
            yield from inner
        else:
            yield f"{start} {_scalar(item)}"


def _scalar(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # YAML 1.1 reads 5e-05 as a text: a number needs a point.
    return re.sub(r"^(-?\d+)e", r"\1.0e", text) if isinstance(value, float) else text
