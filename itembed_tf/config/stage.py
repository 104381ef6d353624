"""The settings of one training stage, and the default stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from itembed_tf.config import choices
from itembed_tf.config.key import key
from itembed_tf.config.losses import InfoNCE, Instance, Loss


@dataclass(frozen=True)
class Stage:
    """A training stage. Stages run in order, each from the weights of the one before."""

    target: ClassVar[str] = "itembed_tf.training.stage.train_stage"
    name: str = key("instance", "name in logs and metrics")
    epochs: int = key(10, "passes over the training images", minimum=0, maximum=100_000)
    batch_size: int = key(128, "images per step", minimum=2, maximum=65536)
    accumulate: int = key(
        1,
        "parts that a batch is passed in, one after the other: memory of one part, losses of the whole batch",
        minimum=1,
        maximum=1024,
    )
    freeze: tuple[str, ...] = key(
        ("backbone",),
        "parts that are not trained: backbone, image_head, text_tower, words, classifier; of the backbone, "
        "backbone_batch_norm, backbone_depthwise, or a block: backbone.stem, backbone.block1, ...",
    )
    cached_views: int = key(
        0, "frozen backbone: augmented views of each image to encode once and cache; 0 for none", minimum=0, maximum=100
    )
    losses: dict[str, Loss] = key(
        {"instance_image": Instance(), "instance_text": Instance()},
        "for each loss its weight, or a table of its weight and hyper-parameters",
    )
    mining: int = key(
        0,
        "ranking: random captions to mine the negative from; 0 for none",
        minimum=0,
        maximum=65536,
        advanced=True,
    )
    negatives: str = key(
        "batch",
        "pairs of the other losses on several devices: of the whole batch, or of the part of each device (replica)",
        choices=choices.NEGATIVES,
    )
    optimizer: str = key("adamw", "optimiser", choices=choices.OPTIMIZERS)
    learning_rate: float = key(1e-3, "learning rate after warm-up", minimum=0, maximum=100)
    multipliers: dict[str, float] = key(
        {}, "learning-rate factors of parts", choices=choices.MULTIPLIERS, minimum=0, maximum=1000
    )
    momentum: float = key(0.9, "sgd: Nesterov momentum", minimum=0, below=1)
    weight_decay: float = key(1e-4, "sgd, adam: L2 of all weights; adamw: decoupled, of matrices", minimum=0, below=1)
    clip_norm: float = key(0.0, "maximum global gradient norm; 0 for no limit", minimum=0)
    schedule: str = key("cosine", "learning-rate schedule", choices=choices.SCHEDULES)
    warmup_epochs: float = key(0.0, "epochs of linear warm-up from 0", minimum=0, maximum=100_000)
    decay_epochs: tuple[int, ...] = key((), "steps: epochs after which the learning rate decays", minimum=1)
    decay_factor: float = key(0.1, "steps: factor of the learning rate at each of them", above=0, below=1)
    average: float = key(0.0, "decay of the moving average of weights to keep; 0 for none", minimum=0, below=1)
    keep: str = key("best", "weights to keep: best on dev, or last", choices=choices.KEEPS)
    evaluate_every: int = key(1, "epochs between evaluations on dev", minimum=1, maximum=100_000)
    checkpoint_minutes: float = key(1.0, "minutes between checkpoints", minimum=0, maximum=100_000)
    checkpoints: int = key(
        3,
        "checkpoints to keep; where the newest is damaged, the run continues from the one before",
        minimum=1,
        maximum=100,
    )
    jit: bool = key(False, "compile the step with XLA")


# The stage of configs/flickr8k.toml with smaller batches: for some thousand images, on a CPU.
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
