"""Details of a run for its report: data, model, training time, versions."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from itembed_tf.config import Config
from itembed_tf.text import Vocabulary

if TYPE_CHECKING:
    import keras


def run_facts(config: Config, model: keras.Model, vocabulary: Vocabulary, metrics: Mapping[str, Any]) -> dict[str, str]:
    """Name -> value, in the order of the report.

    Args:
        config, model, vocabulary: of the run.
        metrics: as in metrics.json; "classes" and the seconds of "stages" are used.
    """
    seconds = sum(stage["seconds"] for stage in metrics["stages"])
    variant = config.text_tower.variant
    variant += f" ({config.sentence.kind})" if variant == "features" else ""
    return {
        "dataset": f"{config.dataset.name} {config.dataset.root}".strip(),
        "classes": f"{metrics['classes']:,}",
        "vocabulary": f"{vocabulary.size - 1:,} words; word vectors: {config.word_vectors.source}",
        "image tower": f"{config.image_tower.backbone}, {config.image.size} pixels",
        "text tower": f"{variant}, {model.get_layer('text_tower').count_params():,} parameters",
        "embedding": f"{config.embedding_size} dimensions",
        "training time": f"{seconds / 60:.1f} minutes",
        "seed": str(config.seed),
        "versions": ", ".join(
            f"{name} {importlib.metadata.version(name)}" for name in ("tensorflow", "keras", "numpy")
        ),
    }
