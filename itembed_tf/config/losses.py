"""Loss settings: one record per loss, with its weight and hyper-parameters. See `itembed_tf.training.losses`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from itembed_tf.config.key import key


@dataclass(frozen=True)
class Loss:
    """Settings that every loss has."""

    weight: float = key(1.0, "factor of the loss in the objective", minimum=0)

    @property
    def parameters(self) -> dict[str, Any]:
        """All fields but the weight: the keyword arguments of the loss function."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "weight"}


@dataclass(frozen=True)
class Instance(Loss):
    """Instance loss: softmax cross-entropy over the classes."""

    label_smoothing: float = key(0.0, "probability spread evenly over all classes", minimum=0, below=1)


@dataclass(frozen=True)
class Hinge(Loss):
    """Ranking losses, which are hinges on cosines."""

    margin: float = key(0.2, "margin of the hinge", minimum=0)


@dataclass(frozen=True)
class InfoNCE(Loss):
    """InfoNCE: softmax over the pairs of a batch."""

    temperature: float = key(0.05, "divides the cosines", above=0)


@dataclass(frozen=True)
class Distillation(Loss):
    """Distillation: the similarities of the run distill_from as soft targets."""

    temperature: float = key(0.05, "divides the cosines of both", above=0)


@dataclass(frozen=True)
class Sigmoid(Loss):
    """Sigmoid loss of every pair of a batch."""

    temperature: float = key(0.05, "divides cosine - margin", above=0)
    margin: float = key(0.2, "cosine of probability 0.5")


@dataclass(frozen=True)
class TopK(Loss):
    """Hinge of the hardest negatives of a batch."""

    margin: float = key(0.2, "margin of the hinge, on Euclidean distances", minimum=0)
    top: int = key(10, "number of hardest negatives per anchor; 0 for all", minimum=0)


INSTANCE_LOSSES = ("instance_image", "instance_text")
HARD_NEGATIVES = "hard_negatives"  # itembed_tf.localisation only
DISTILLATION = "distillation"  # with Config.distill_from

LOSS_SETTINGS: dict[str, type[Loss]] = {
    "instance_image": Instance,
    "instance_text": Instance,
    "ranking": Hinge,
    "ranking_sum": Hinge,
    "ranking_max": Hinge,
    "infonce": InfoNCE,
    "sigmoid": Sigmoid,
    "topk_image": TopK,
    "topk_text": TopK,
    "structure_image": TopK,
    "structure_text": TopK,
    DISTILLATION: Distillation,
    HARD_NEGATIVES: Hinge,
}

FORMER_KEYS = ("margin", "temperature", "top", "label_smoothing")  # keys of a stage once, for all its losses
