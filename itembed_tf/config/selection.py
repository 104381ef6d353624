"""A config that cannot be learnt or chosen by is refused before anything is read.

Train teaches, dev chooses, test does neither; and what a loss compares must be there.
"""

from __future__ import annotations

from itembed_tf.config.errors import ConfigError
from itembed_tf.config.schema import Config


def check_selection(config: Config) -> None:
    """Refuse a config without a split to learn from, without one to choose weights by, or without a loss's classifier.

    Raises:
        ConfigError: naming the key and what to write instead.
    """
    splits = list(config.dataset.splits)
    if "train" not in splits:
        raise ConfigError(
            f"dataset.splits = {splits}: a training learns from train, and its vocabulary is built from train alone; "
            'add "train"'
        )
    for i, stage in enumerate(config.stages):
        asked = [name for name in stage.losses if name.startswith("instance_")]
        if asked and config.model.classifier == "none":
            raise ConfigError(
                f'stages.{i}.losses: {" and ".join(asked)} need class weights, and model.classifier = "none" has none: '
                'name others, such as infonce, or set model.classifier = "imprinted"'
            )
        if config.image_tower.crops != 1 and "backbone" not in stage.freeze:
            raise ConfigError(
                f"stages.{i}.freeze: with image_tower.crops = {config.image_tower.crops} no part of the CNN can be "
                'trained: add "backbone", or set image_tower.crops = 1'
            )
        changing = {"data.word_dropout": config.data.word_dropout, f"stages.{i}.mining": stage.mining}
        lost = [name for name, value in changing.items() if value]
        if lost and stage.cached_views and config.text_tower.variant == "features":
            raise ConfigError(
                f"stages.{i}.cached_views keeps the features of sentences too, whole and of one picture each: set "
                f"{' and '.join(lost)} to 0, or cached_views to 0"
            )
    choosing = [i for i, stage in enumerate(config.stages) if stage.keep == "best"]
    if choosing and "dev" not in splits:
        raise ConfigError(
            f'stages.{choosing[0]}.keep = "best" chooses weights by dev, and dataset.splits = {splits} has no dev: add '
            '"dev", or set keep = "last" and a number of epochs that was chosen before. Test never chooses'
        )
