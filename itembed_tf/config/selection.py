"""Train teaches, dev chooses, test does neither: a config that asks for less is refused before anything is read."""

from __future__ import annotations

from itembed_tf.config.schema import Config
from itembed_tf.config.toml import ConfigError


def check_selection(config: Config) -> None:
    """Refuse a config without a split to learn from, or that would choose weights without a split to choose by.

    Raises:
        ConfigError: naming the key and what to write instead.
    """
    splits = list(config.dataset.splits)
    if "train" not in splits:
        raise ConfigError(
            f"dataset.splits = {splits}: a training learns from train, and its vocabulary is built from train alone; "
            'add "train"'
        )
    choosing = [i for i, stage in enumerate(config.stages) if stage.keep == "best"]
    if choosing and "dev" not in splits:
        raise ConfigError(
            f'stages.{choosing[0]}.keep = "best" chooses weights by dev, and dataset.splits = {splits} has no dev: add '
            '"dev", or set keep = "last" and a number of epochs that was chosen before. Test never chooses'
        )
