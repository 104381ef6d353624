"""The config of each encoder of an ensemble."""

from __future__ import annotations

from dataclasses import replace

from itembed_tf.config.dump import arguments
from itembed_tf.config.measurement import Memory
from itembed_tf.config.schema import Config
from itembed_tf.config.towers import ImageTower

SEEDS = 2**32  # of NumPy
SEEDS_OF_RUN = 100  # apart, so that the ensembles of two seeds share no member


def member_configs(config: Config) -> tuple[Config, ...]:
    """The config of each member of an ensemble; without members, the config alone.

    The members have different seeds. Member n of a config with seed s has the seed 100 s + n - 1, so that the first
    member of an ensemble with seed 0 is the encoder that the config without members trains.
    """
    if not config.members:
        return (config,)
    return tuple(
        replace(
            config,
            **arguments(member),
            members=(),
            memory=Memory(),  # the ensemble has one
            seed=(SEEDS_OF_RUN * config.seed + number) % SEEDS,
            stages=tuple(replace(stage, name=f"{stage.name}, member {number + 1}") for stage in config.stages),
        )
        for number, member in enumerate(config.members)
    )


def distinct_backbones(config: Config) -> tuple[list[ImageTower], list[int]]:
    """The image towers whose features differ, and for each member the number of the one that it takes features of.

    Members with equal features share one backbone, where no stage trains it. Random weights differ by the seed.
    """
    towers = [member.image_tower for member in config.members]
    if not frozen_backbone(config):
        return towers, list(range(len(towers)))
    keys = [_features_key(tower, number) for number, tower in enumerate(towers)]
    first = [keys.index(key) for key in keys]
    order = list(dict.fromkeys(first))
    return [towers[number] for number in order], [order.index(number) for number in first]


def _features_key(tower: ImageTower, number: int) -> tuple[object, ...]:
    own = number if tower.weights == "none" else None
    return tower.backbone, tower.weights, tower.pixels, tower.levels, tower.crops, own


def frozen_backbone(config: Config) -> bool:
    """Whether no stage trains the backbone."""
    return all("backbone" in stage.freeze for stage in config.stages)
