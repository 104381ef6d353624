"""The checks of a config for `itembed localise`."""

from __future__ import annotations

from itembed_tf.config.checks import check_files, check_splits
from itembed_tf.config.checks_model import check_image_tower, check_sentence, check_word_vectors
from itembed_tf.config.checks_stage import check_losses, check_schedule
from itembed_tf.config.dump import toml_value
from itembed_tf.config.losses import DISTILLATION, INSTANCE_LOSSES, LOSS_SETTINGS
from itembed_tf.config.refuse import refuse, refuse_choice, refuse_ignored
from itembed_tf.config.schema import Config

# Stage keys without effect there: both branches are trained from start to end on fixed features.
IGNORED = ("accumulate", "freeze", "cached_views", "mining", "multipliers", "average", "keep", "evaluate_every", "jit")


def check_localisation(config: Config) -> None:
    """Check a config for localisation, its files included, and refuse the settings that it ignores.

    Raises:
        ConfigError: naming the key, its value and what to write instead.
    """
    splits = config.dataset.splits
    if "train" not in splits or len(splits) < 2:
        refuse("dataset.splits", splits, 'must have "train" and a split to evaluate, "dev" or "test"')
    check_splits(config)
    for key in ("precision", "max_broken_percent", "max_pixels", "determinism", "from_run", "distill_from", "members"):
        refuse_ignored_top(config, key)
    refuse_ignored("image_tower", config.image_tower, ["crops"], "localisation crops the image to its regions")
    refuse_ignored("image_tower", config.image_tower, ["features"], "localisation encodes regions of the images")
    check_image_tower(config)
    check_word_vectors(config)
    check_sentence(config)
    allowed = [name for name in LOSS_SETTINGS if name not in (*INSTANCE_LOSSES, DISTILLATION)]
    for i, stage in enumerate(config.stages):
        where = f"stages.{i}"
        check_losses(where, stage)
        for name in stage.losses:
            if name not in allowed:
                refuse_choice(
                    f"{where}.losses", list(stage.losses), name, allowed, "has no classifier and no teacher here"
                )
        check_schedule(where, stage)
        refuse_ignored(where, stage, IGNORED, "localisation does not use it")
    check_files(config)


def refuse_ignored_top(config: Config, key: str) -> None:
    """Refuse a top-level setting that localisation does not read."""
    default = getattr(Config(), key)
    value = getattr(config, key)
    if value != default:
        refuse(key, value, f"would be ignored: localisation does not use it. Leave it at {toml_value(default)}")
