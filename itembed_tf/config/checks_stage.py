"""The settings of the training stages, checked against each other and against the model."""

from __future__ import annotations

from itembed_tf.config.backbone_forms import kind_of
from itembed_tf.config.backbones import BACKBONES
from itembed_tf.config.choices import FROZEN_LAYERS, PARTS
from itembed_tf.config.losses import DISTILLATION, HARD_NEGATIVES, INSTANCE_LOSSES, LOSS_SETTINGS
from itembed_tf.config.refuse import refuse, refuse_choice, refuse_ignored
from itembed_tf.config.schema import Config, Stage


def check_stages(config: Config) -> None:
    """Check the stages for training of the two encoders.

    Raises:
        ConfigError: naming the key, its value and what to write instead.
    """
    for i, stage in enumerate(config.stages):
        where = f"stages.{i}"
        check_losses(where, stage)
        if HARD_NEGATIVES in stage.losses:
            others = [name for name in LOSS_SETTINGS if name != HARD_NEGATIVES]
            refuse_choice(f"{where}.losses", list(stage.losses), HARD_NEGATIVES, others, "is for `itembed localise`")
        if DISTILLATION in stage.losses and not config.distill_from:
            refuse(
                f"{where}.losses",
                list(stage.losses),
                "distillation needs a teacher, a finished run: --set distill_from=RUN",
            )
        if DISTILLATION in stage.losses and stage.mining:
            refuse(
                f"{where}.mining",
                stage.mining,
                "must be 0 with the loss distillation: the teacher has not seen mined captions",
            )
        _check_classifier(where, stage, config)
        _check_frozen(where, stage, config)
        _check_views(where, stage, config)
        check_schedule(where, stage)
        if stage.batch_size % stage.accumulate:
            refuse(
                f"{where}.accumulate",
                stage.accumulate,
                f"must divide {where}.batch_size = {stage.batch_size} without rest",
            )
        if stage.mining and config.data.captions > 1:
            refuse("data.captions", config.data.captions, f"must be 1 with {where}.mining = {stage.mining}")
        if stage.keep == "best" and "dev" not in config.dataset.splits:
            refuse(
                f"{where}.keep",
                "best",
                f'chooses weights by dev, and dataset.splits = {list(config.dataset.splits)} has no "dev": add it, or '
                'set keep = "last" and a number of epochs chosen before; test is never used to choose',
            )


def check_losses(where: str, stage: Stage) -> None:
    """A stage needs a loss with a weight above 0."""
    if not any(loss.weight for loss in stage.losses.values()):
        weights = {name: loss.weight for name, loss in stage.losses.items()}
        refuse(f"{where}.losses", weights, f"no loss has a weight above 0; losses: {', '.join(LOSS_SETTINGS)}")


def check_schedule(where: str, stage: Stage) -> None:
    """Optimiser and schedule: nothing that the chosen ones ignore."""
    if stage.optimizer != "sgd":
        refuse_ignored(where, stage, ["momentum"], f'only {where}.optimizer = "sgd" has a momentum setting')
    if stage.schedule != "steps":
        refuse_ignored(where, stage, ["decay_epochs", "decay_factor"], f'only {where}.schedule = "steps" decays')
    elif not stage.decay_epochs:
        refuse(f"{where}.decay_epochs", [], f'{where}.schedule = "steps" needs epochs, or set schedule = "constant"')
    if stage.schedule == "cosine" and 0 < stage.epochs <= stage.warmup_epochs:
        refuse(
            f"{where}.warmup_epochs",
            stage.warmup_epochs,
            f'must be less than epochs = {stage.epochs} with schedule = "cosine"; else set schedule = "constant"',
        )


def _check_classifier(where: str, stage: Stage, config: Config) -> None:
    instance = [name for name in INSTANCE_LOSSES if name in stage.losses]
    if instance and config.model.classifier == "none":
        refuse(
            "model.classifier",
            "none",
            f"{' and '.join(instance)} in {where}.losses need a classifier: name other losses, such as infonce, or set "
            'model.classifier = "imprinted" or "random"',
        )
    if stage.jit and config.model.softmax == "sampled":
        refuse(
            f"{where}.jit",
            True,
            'XLA needs shapes that are known before the step, and with model.softmax = "sampled" the number of classes '
            'varies: set jit = false, or softmax = "full"',
        )


def _check_frozen(where: str, stage: Stage, config: Config) -> None:
    """Parts that exist in this model, and in this backbone."""
    tower = config.image_tower
    parts = [part for part in PARTS if part != "words" or config.text_tower.variant != "features"]
    parts = [part for part in parts if part != "classifier" or config.model.classifier != "none"]
    if tower.features:
        blocks, known = [], True
    else:
        known = not kind_of(tower.backbone)  # of others, the blocks are known when the network is built
        names = BACKBONES[tower.backbone].freezable(tower.levels) if known else ()
        blocks = [*FROZEN_LAYERS, *(f"backbone.{block}" for block in names)]
    allowed = [*parts, *blocks]
    for part in stage.freeze:
        if part not in allowed and (known or not part.startswith("backbone.")):
            refuse_choice(f"{where}.freeze", stage.freeze, part, allowed, "is not a part of this model")
    if tower.crops != 1 and "backbone" not in stage.freeze:
        refuse(
            f"{where}.freeze",
            stage.freeze,
            f'image_tower.crops = {tower.crops} needs a frozen backbone: add "backbone", or set image_tower.crops = 1',
        )
    if stage.epochs and set(parts) - {"words"} <= set(stage.freeze):
        refuse(f"{where}.freeze", stage.freeze, "leaves nothing to train: remove a part, or set epochs = 0")


def _check_views(where: str, stage: Stage, config: Config) -> None:
    """Cached features: of a frozen backbone, and of whole captions."""
    if not stage.cached_views:
        return
    if "backbone" not in stage.freeze:
        refuse(
            f"{where}.cached_views",
            stage.cached_views,
            f"caches features of a frozen backbone, and {where}.freeze = {list(stage.freeze)} does not freeze it: add "
            '"backbone" to freeze, or set cached_views = 0',
        )
    changing = {"data.word_dropout": config.data.word_dropout, f"{where}.mining": stage.mining}
    lost = [name for name, value in changing.items() if value]
    if lost and config.text_tower.variant == "features":
        refuse(
            f"{where}.cached_views",
            stage.cached_views,
            f"caches the features of whole captions too, one per image: set {' and '.join(lost)} to 0, or cached_views "
            "to 0",
        )
