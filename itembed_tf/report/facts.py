"""Details of a run for its report: data, model, training time, versions."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from itembed_tf.config import Config, member_configs
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
    encoders = member_configs(config)
    variants = [each.text_tower.variant for each in encoders]
    variants = [f"{v} ({config.sentence.kind})" if v == "features" else v for v in variants]
    features, backbones = config.image_tower.features, _names(each.image_tower.backbone for each in encoders)
    sources = _names(each.word_vectors.source for each in encoders)
    return {
        "dataset": f"{config.dataset.name} {config.dataset.root}".strip(),
        "classes": f"{metrics['classes']:,}",
        "vocabulary": f"{vocabulary.size - 1:,} words; word vectors: {sources}",
        "image tower": f"features of {features}" if features else f"{backbones}, {config.image.size} pixels",
        "text tower": f"{_names(variants)}, {model.get_layer('text_tower').count_params():,} parameters",
        "embedding": f"{config.embedding_size} dimensions",
        "training time": f"{seconds / 60:.1f} minutes",
        **({"members": str(len(config.members))} if config.members else {}),
        "seed": str(config.seed),
        "versions": ", ".join(
            f"{name} {importlib.metadata.version(name)}" for name in ("tensorflow", "keras", "numpy")
        ),
    }


def _names(names: Iterable[str]) -> str:
    """The different names of the members of an ensemble, each once."""
    return ", ".join(dict.fromkeys(names))
