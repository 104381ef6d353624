"""A config cannot ask for a choice on test, nor for a training without train."""

from __future__ import annotations

import pytest

from itembed_tf.config import ConfigError, check_selection, load_config


def check(splits: str, *overrides: str) -> None:
    check_selection(load_config(None, [f"dataset.splits={splits}", *overrides]))


def test_what_is_asked_for_rightly_passes():
    for splits in ('["train", "dev", "test"]', '["train", "dev"]'):
        check(splits)
    check('["train", "test"]', "stages.0.keep=last")
    check('["train"]', "stages.0.keep=last")


@pytest.mark.parametrize("splits", ['["train", "test"]', '["train"]'])
def test_the_best_epoch_is_chosen_on_dev_or_not_at_all(splits):
    with pytest.raises(ConfigError, match=r'stages\.0\.keep = "best" chooses weights by dev.*keep = "last"'):
        check(splits)


def test_without_train_there_is_no_training():
    with pytest.raises(ConfigError, match=r"dataset\.splits = \['dev', 'test'\].*vocabulary is built from train alone"):
        check('["dev", "test"]')


def test_an_instance_loss_asks_for_a_classifier():
    settings = '["train", "dev"]', "model.classifier=none"
    with pytest.raises(ConfigError, match=r'stages\.0\.losses: instance_image and instance_text.*classifier = "none"'):
        check(*settings)
    check(*settings, "stages.0.losses={infonce = 1.0}")


def test_cached_sentences_are_whole():
    settings = '["train", "dev"]', "text_tower.variant=features", "data.word_dropout=0.1"
    with pytest.raises(ConfigError, match=r"stages\.0\.cached_views keeps .* set data\.word_dropout to 0, or"):
        check(*settings)
    check(*settings, "stages.0.cached_views=0")
    check(*settings[:2])


def test_crops_are_for_a_frozen_backbone():
    with pytest.raises(ConfigError, match=r'stages\.0\.freeze: with image_tower\.crops = 5 .* add "backbone"'):
        check('["train", "dev"]', "image_tower.crops=5", 'stages.0.freeze=["backbone.stem"]', "stages.0.cached_views=0")
    check('["train", "dev"]', "image_tower.crops=5")
