"""The settings of the classes, of the classifier that both towers share, and of how the heads start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from itembed_tf.config import choices
from itembed_tf.config.key import key


@dataclass(frozen=True)
class Classes:
    """Classes of the instance loss."""

    target: ClassVar[str] = "itembed_tf.training.classes.class_labels"
    clusters: int = key(0, "k-means clusters of images as classes (table 4); 0: one class per group", minimum=0)


@dataclass(frozen=True)
class Model:
    """The shared classifier and the embeddings that are trained."""

    target: ClassVar[str] = "itembed_tf.models.dual_path.dual_path_model"
    classifier: str = key(
        "imprinted",
        "initial class weights: image features of each class (imprinted) or random; none: no instance loss",
        choices=choices.CLASSIFIERS,
    )
    scale: float = key(20.0, "s of the cosine classifier s cos(w, f); 0 for the paper's w . f", minimum=0, maximum=1000)
    bias: bool = key(False, "bias of the classifier")
    dropout: float = key(0.3, "dropout rate before the classifier", minimum=0, below=1)
    relu: bool = key(False, "train on ReLU(f), as the released code; the encoders give f")
    start: str = key(
        "random",
        "initial heads: random, or cca, the linear maps of canonical correlation analysis (head = fc in both towers, "
        "text_tower.variant = features)",
        choices=choices.STARTS,
    )
    softmax: str = key(
        "auto",
        "instance loss: over all classes (full), over all with a part of them on each device (sharded), over those of "
        "the batch and a random sample of the others (sampled), or as memory allows (auto)",
        choices=choices.SOFTMAXES,
    )
    sampled_classes: int = key(8192, "sampled: classes of a step, about", minimum=1)


@dataclass(frozen=True)
class Cca:
    """Canonical correlation analysis, for model.start = "cca"."""

    target: ClassVar[str] = "itembed_tf.sentence_features.cca.cca"
    regularisation: float = key(
        1e-2, "added to each variance, as a share of the largest of its modality", minimum=0, maximum=1
    )
