"""The settings of one training stage, with their defaults, and the stages of a config that names none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from itembed_tf.config.key import key
from itembed_tf.config.losses import InfoNCE, Instance, Loss


@dataclass(frozen=True)
class Stage:
    feeds: ClassVar[str] = "itembed_tf.training.stage.train_stage"
    name: str = key("instance", "its name in logs and metrics")
    epochs: int = key(10, "passes over the training pictures", minimum=0)
    batch_size: int = key(128, "pictures a step", minimum=2)
    freeze: tuple[str, ...] = key(
        ("backbone",),
        "parts that stay as they are: backbone, image_head, text_tower, words, classifier; or, of the backbone, "
        "backbone_batch_norm, backbone_depthwise, or blocks by name: backbone.stem, backbone.block1, ...",
    )
    cached_views: int = key(
        0, "frozen backbone: views of each picture encoded once and kept; 0 decodes at every step", minimum=0
    )
    losses: dict[str, Loss] = key(
        {"instance_image": Instance(), "instance_text": Instance()},
        "for each loss its weight, or a table of its weight and hyper-parameters",
    )
    mining: int = key(
        0, "random captions among which the ranking negative is sought, as in the released code; 0 for none", minimum=0
    )
    optimizer: str = key("adamw", "update rule", choices=("sgd", "adam", "adamw"))
    learning_rate: float = key(1e-3, "base learning rate", minimum=0)
    multipliers: dict[str, float] = key(
        {},
        "learning-rate factor of a part: backbone, image_head, text_tower, words, classifier, gamma, beta, "
        "backbone_gamma, first_convolution, classifier_bias",
    )
    momentum: float = key(0.9, "sgd: Nesterov momentum", minimum=0)
    weight_decay: float = key(1e-4, "sgd: L2 on all parameters; adamw: decoupled, on weight matrices", minimum=0)
    clip_norm: float = key(0.0, "largest global gradient norm; 0 for no limit", minimum=0)
    schedule: str = key("cosine", "of the learning rate", choices=("constant", "steps", "cosine"))
    warmup_epochs: float = key(0.0, "epochs of linear rise from 0", minimum=0)
    decay_epochs: tuple[int, ...] = key((), "steps: epochs after which the rate falls")
    decay_factor: float = key(0.1, "steps: what it is multiplied by")
    average: float = key(
        0.0, "decay of the running average of weights that is evaluated and kept; 0 for none", minimum=0
    )
    keep: str = key("best", "weights kept: best on dev by the figures that count, or last", choices=("best", "last"))
    evaluate_every: int = key(1, "epochs between evaluations on dev", minimum=1)
    checkpoint_minutes: float = key(1.0, "time between checkpoints; a killed run goes on from the last one", minimum=0)
    jit: bool = key(False, "compile the step with XLA")


# The stage of configs/flickr8k.toml with smaller batches: a start for some thousand pictures of one's own, on a CPU.
DEFAULT_STAGES = (
    Stage(
        name="I",
        epochs=24,
        cached_views=4,
        losses={"instance_image": Instance(), "instance_text": Instance(), "infonce": InfoNCE(weight=3.0)},
        weight_decay=0.05,
        average=0.99,
    ),
)
