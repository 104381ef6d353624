"""Configs are parsed strictly, errors name the key, and a dumped config loads to the same values."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

import pytest

from itembed_tf.config import (
    Config,
    ConfigError,
    Member,
    Stage,
    arguments,
    describe_keys,
    dump_config,
    load_config,
    parse_losses,
)
from itembed_tf.config.losses import Hinge, InfoNCE, Instance, Sigmoid, TopK
from itembed_tf.config.overrides import apply_override
from itembed_tf.config.parse import parse_config
from itembed_tf.config.schema import DEFAULT_STAGES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIGS = sorted((Path(__file__).parents[2] / "configs").rglob("*.toml"))


def load(tmp_path: Path, text: str, *overrides: str) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides)


def test_without_a_file_the_defaults_apply():
    assert load_config() == Config()


@pytest.mark.parametrize("path", [None, *CONFIGS], ids=lambda path: path.name if path else "defaults")
def test_a_dumped_config_loads_to_the_same_values(path, tmp_path):
    config = load_config(path)
    assert load(tmp_path, dump_config(config)) == config


def test_a_config_of_three_stages_survives_dump_and_load(tmp_path):
    stages = (
        Stage(
            name='with "quotes" and \\',
            losses=parse_losses({"infonce": 1.0, "instance_text": {"label_smoothing": 0.1}}),
        ),
        Stage(name="ein schöner Name", freeze=(), multipliers={"backbone": 0.1}),
        Stage(name="", epochs=0),
    )
    config = dataclasses.replace(Config(), seed=7, stages=stages)
    assert load(tmp_path, dump_config(config)) == config


def test_a_file_lists_only_what_differs_from_the_defaults(tmp_path):
    config = load(tmp_path, "seed = 3\n[model]\nscale = 7.5\n[[stages]]\nname = 'only'\nlosses = {infonce = 2}\n")
    expected = dataclasses.replace(Config().model, scale=7.5)
    assert (config.seed, config.model) == (3, expected)
    assert config.stages == (Stage(name="only", losses=parse_losses({"infonce": 2.0})),)
    assert config.text == Config().text


BASE = """
seed = 3
[model]
scale = 7.5
bias = true
[[stages]]
name = "I"
epochs = 5
losses = { instance_image = 1.0, instance_text = 1.0 }
[[stages]]
name = "II"
"""


def test_a_config_over_a_base_lists_only_what_differs(tmp_path):
    (tmp_path / "base.toml").write_text(BASE, encoding="utf-8")
    changes = """
base = "base.toml"
[model]
bias = false
[[stages]]
name = "I"
losses = { ranking = 1.0 }
[[stages]]
name = "III"
epochs = 2
"""
    config = load(tmp_path, changes, "stages.1.epochs=0")
    assert (config.seed, config.model.scale, config.model.bias) == (3, 7.5, False)
    assert config.stages == (
        Stage(name="I", epochs=5, losses=parse_losses({"ranking": 1.0})),
        Stage(name="II", epochs=0),
        Stage(name="III", epochs=2),
    )
    assert load(tmp_path, dump_config(config)) == config


def test_a_base_is_relative_to_the_file_and_may_have_a_base_itself(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    (tmp_path / "base.toml").write_text("seed = 3\nembedding_size = 64\n", encoding="utf-8")
    (tmp_path / "deep" / "middle.toml").write_text('base = "../base.toml"\nseed = 4\n', encoding="utf-8")
    monkeypatch.chdir("/")
    config = load(tmp_path / "deep", 'base = "middle.toml"\n')
    assert (config.seed, config.embedding_size) == (4, 64)


def test_a_base_may_be_the_name_of_a_shipped_config(tmp_path):
    config = load(tmp_path, 'base = "photos"\nseed = 3\n')
    assert (config.seed, config.dataset.name) == (3, "folder")
    with pytest.raises(ConfigError, match=r"the base of .*did you mean 'photos.toml'"):
        load(tmp_path, 'base = "photo"\n')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('base = "gone.toml"', "gone.toml: no such config file, the base of"),
        ('base = "config.toml"', "leads back to"),
        ("base = 3", "expected the name of another config"),
        ('base = "base.toml"\n[[stages]]\nepochs = 2', "give each [[stages]] a name"),
        ('base = "base.toml"\n[[stages]]\nname = "I"\n[[stages]]\nname = "I"', "give each [[stages]] a name"),
    ],
)
def test_a_wrong_base_is_refused(text, expected, tmp_path):
    (tmp_path / "base.toml").write_text(BASE, encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(expected)):
        load(tmp_path, text)


@pytest.mark.parametrize("spelling", ["1e-4", "0.0001", "1E-4", "1.0e-4"])
def test_exponents_are_floats(spelling, tmp_path):
    assert load(tmp_path, f"[[stages]]\nlearning_rate = {spelling}\n").stages[0].learning_rate == 1e-4


def test_an_integer_is_accepted_as_a_float(tmp_path):
    scale = load(tmp_path, "[model]\nscale = 0\n").model.scale
    assert scale == 0.0 and isinstance(scale, float)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sede = 1", ["sede", "unknown key", "seed", "embedding_size"]),
        ("[model]\nscales = 1.0", ["model.scales", "unknown key", "scale", "dropout"]),
        ("[modle]\nscale = 1.0", ["modle", "unknown key", "model"]),
        ("[[stages]]\nname = 'a'\n[[stages]]\nepoch = 3", ["stages.1.epoch", "unknown key", "epochs"]),
        ("seed = 1.5", ["seed", "whole number", "1.5"]),
        ("seed = true", ["seed", "whole number", "true"]),
        ("seed = '1'", ["seed", "whole number", '"1"']),
        ("seed = -1", ["seed", "-1", "0 to 4294967295"]),
        ("[model]\nscale = true", ["model.scale", "a number", "true"]),
        ("[model]\nscale = 'big'", ["model.scale", "a number", '"big"']),
        ("[model]\nscale = nan", ["model.scale", "nan"]),
        ("[model]\nbias = 1", ["model.bias", "true or false", "1"]),
        ("[text]\ntokenizer = 'bpe'", ["text.tokenizer", '"bpe"', "words", "unicode"]),
        ("[image]\nsize = 8", ["image.size", "8", "32"]),
        ("[text_tower]\nblocks = 3", ["text_tower.blocks", "list", "3"]),
        ("[text_tower]\nblocks = [3, 'four']", ["text_tower.blocks[1]", "whole number", '"four"']),
        ("[[stages]]\nlosses = ['infonce']", ["stages.0.losses", "table", "infonce"]),
        ("[[stages]]\nlosses = {infonce = 'much'}", ["stages.0.losses.infonce", "a number", '"much"']),
        ("[[stages]]\nlosses = {infonc = 1}", ["stages.0.losses.infonc", "unknown loss", "mean 'infonce'", "sigmoid"]),
        ("[[stages]]\nlosses = {infonce = {margin = 1}}", ["stages.0.losses.infonce.margin", "weight, temperature"]),
        ("[[stages]]\nlosses = {infonce = {temperature = 0}}", ["infonce.temperature", "0", "> 0"]),
        ("[[stages]]\nlosses = {infonce = -1}", ["stages.0.losses.infonce.weight", "-1", ">= 0"]),
        ("[[stages]]\nlosses = {instance_text = {label_smoothing = 1}}", ["label_smoothing", ">= 0 and < 1"]),
        ("[[stages]]\ntemperature = 0.1", ["stages.0.temperature", "belongs to a loss", "infonce = { weight"]),
        ("[[stages]]\noptimizer = 'lion'", ["stages.0.optimizer", '"lion"', "sgd", "adam", "adamw"]),
        ("model = 3", ["model", "section", "[model]", "3"]),
        ("stages = 3", ["stages", "[[stages]]"]),
        ("stages = []", ["stages", "at least one"]),
        ("[stages]\nname = 'one'", ["stages", "[[stages]]"]),
        ("seed = \n[model]", ["config.toml", "not TOML", "line 1"]),
    ],
)
def test_a_wrong_key_type_or_value_is_refused(text, expected, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    missing = [word for word in expected if word not in str(caught.value)]
    assert not missing, f"the message lacks {missing}: {caught.value}"


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml.*itembed configs"):
        load_config(tmp_path / "nowhere.toml")


def test_overrides_replace_values_of_the_file(tmp_path):
    text = "seed = 3\n[model]\nscale = 7.5\n[[stages]]\nname = 'first'\n[[stages]]\nname = 'second'\n"
    config = load(
        tmp_path,
        text,
        "seed=4",
        "model.scale = 1e1",
        "model.bias=true",
        "image_tower.backbone=resnet50",  # a bare word is a string
        'text.tokenizer="unicode"',
        "dataset.splits=['train', 'dev']",
        "stages.1.learning_rate=1e-4",
        "stages.1.losses={infonce=1}",
        "stages.0.losses.ranking_max=2",
    )
    assert (config.seed, config.model.scale, config.model.bias) == (4, 10.0, True)
    assert (config.image_tower.backbone, config.text.tokenizer) == ("resnet50", "unicode")
    assert config.dataset.splits == ("train", "dev")
    assert [stage.name for stage in config.stages] == ["first", "second"]
    assert (config.stages[1].learning_rate, config.stages[1].losses) == (1e-4, {"infonce": InfoNCE()})
    assert config.stages[0].losses == {**Stage().losses, "ranking_max": Hinge(weight=2.0)}


def test_an_override_of_a_loss_keeps_its_other_settings():
    text = "losses = { infonce = { weight = 2.0, temperature = 0.1 }, ranking = 1.0 }"
    overrides = [
        "stages.0.losses.infonce=3.0",
        "stages.0.losses.ranking.margin=0.5",
        "stages.0.losses.sigmoid.margin=0",
    ]
    table = tomllib.loads(f"[[stages]]\n{text}")
    for override in overrides:
        apply_override(table, override)
    assert parse_config(table).stages[0].losses == {
        "infonce": InfoNCE(weight=3.0, temperature=0.1),
        "ranking": Hinge(weight=1.0, margin=0.5),
        "sigmoid": Sigmoid(margin=0.0),
    }


FORMER = """
[[stages]]
name = "I"
margin = 0.4
temperature = 0.1
top = 7
label_smoothing = 0.2

[stages.losses]
instance_image = 0.5
ranking = 2.0
infonce = 3.0
topk_text = 1.5
"""


def test_the_config_of_an_older_run_gives_its_losses_what_the_stage_had(tmp_path):
    """A run directory of before losses had settings lists all four keys for every stage, used or not."""
    assert load(tmp_path, FORMER).stages[0].losses == {
        "instance_image": Instance(weight=0.5, label_smoothing=0.2),
        "ranking": Hinge(weight=2.0, margin=0.4),
        "infonce": InfoNCE(weight=3.0, temperature=0.1),
        "topk_text": TopK(weight=1.5, margin=0.4, top=7),
    }


def test_an_override_of_a_default_stage_keeps_its_other_settings():
    config = load_config(None, ["stages.0.epochs=3"])
    assert config.stages == (dataclasses.replace(DEFAULT_STAGES[0], epochs=3), *DEFAULT_STAGES[1:])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.scale", ["model.scale", "section.key=value"]),
        ("model.scale=big", ["model.scale", "a number", '"big"']),
        ("model.scales=1", ["model.scales", "unknown key", "scale"]),
        ("modle.scale=1", ["modle", "unknown key", "model"]),
        ("seed.more=1", ["seed"]),
        ("stages.9.epochs=1", ["stages.9", "0 to"]),
        ("stages.first.epochs=1", ["stages.first", "0 to"]),
        ("stages.epochs=1", ["stages.0.epochs"]),
    ],
)
def test_a_wrong_override_is_refused(override, expected):
    with pytest.raises(ConfigError) as caught:
        load_config(None, [override])
    missing = [word for word in expected if word not in str(caught.value)]
    assert not missing, f"the message lacks {missing}: {caught.value}"


def test_arguments_are_the_keys_of_the_section():
    model = Config().model
    assert arguments(model) == {f.name: getattr(model, f.name) for f in dataclasses.fields(model)}


def test_help_lists_every_key_with_default_and_meaning():
    text = " ".join(describe_keys(advanced=True).split())
    for f in dataclasses.fields(Config):
        section = {"stages": Stage(), "members": Member()}.get(f.name) or getattr(Config(), f.name)
        for key in dataclasses.fields(section) if dataclasses.is_dataclass(section) else [f]:
            if not key.metadata:  # a section of a member
                continue
            assert f" {key.name} = " in f" {text}" and key.metadata["meaning"] in text
            assert all(str(choice) in text for choice in key.metadata["choices"])


def test_replication_settings_are_not_in_the_default_help():
    default, advanced = describe_keys(), describe_keys(advanced=True)
    for name in ("mining", "crops = 1", "backbone_gamma", "first_convolution", "classifier_bias"):
        assert name not in default and name in advanced
    assert max(map(len, advanced.splitlines())) <= 160


def test_defaults_in_help_are_toml():
    text = describe_keys()
    for setting in (
        "learning_rate = 0.001",
        'splits = ["train", "dev", "test"]',
        'freeze = ["backbone"]',
        "bias = false",
    ):
        assert f"  {setting}" in text
        assert tomllib.loads(setting)
