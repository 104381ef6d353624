"""A config that cannot be used is refused before anything is read; the message names key, value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from itembed_tf.config import (
    ConfigError,
    check_config,
    check_localisation,
    check_settings,
    load_config,
)
from itembed_tf.config.choices import HIDDEN_HEAD

CONFIGS = Path(__file__).parents[2] / "configs"
FEATURES = ("text_tower.variant=features", "word_vectors.source=glove-50")
CCA = (*FEATURES, "model.start=cca", "image_tower.head=fc", "text_tower.head=fc", "embedding_size=512")


def check(*overrides: str) -> None:
    check_settings(load_config(None, overrides))


def test_the_defaults_pass():
    check_config(load_config())


def train_configs() -> list[Path]:
    return [path for path in sorted(CONFIGS.rglob("*.toml")) if path.stem != "localisation"]


@pytest.mark.parametrize("path", train_configs(), ids=lambda path: path.stem)
def test_every_shipped_config_passes_once_its_files_are_named(path):
    config = load_config(path)
    overrides = ["word_vectors.path=vectors.bin"] if config.word_vectors.source == "word2vec" else []
    overrides += ["distill_from=teacher"] if path.stem == "flickr8k_single" else []
    check_settings(load_config(path, overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        ('dataset.splits=["train", "test"]', "stages.0.keep=last"),
        ('dataset.splits=["train"]', "stages.0.keep=last"),
        ("model.classifier=none", "model.scale=20", "stages.0.losses={infonce = 1.0}"),
        ("text_tower.variant=features", "data.word_dropout=0.1", "stages.0.cached_views=0"),
        ("image_tower.crops=5",),
        ("image_tower.levels=['block3', 'block7_1_depthwise_relu', 'head']", "stages.0.cached_views=2"),
        ("image_tower.levels=['block3']", "stages.0.freeze=['backbone.block3']", "stages.0.cached_views=0"),
        ("image_tower.backbone=vgg16", "image.size=256", "image_tower.crops=5"),
        ("image_tower.backbone=vgg16", "image_tower.weights=none"),
        (f"image_tower.head={HIDDEN_HEAD}", "image_tower.hidden=64", "image_tower.dropout=0"),
        ("word_vectors.source=minilm", "text_tower.word_width=384"),
        ("word_vectors.source=word2vec", "word_vectors.path=a.bin.gz", "word_vectors.extra_words=5"),
        ("word_vectors.source=word2vec", "word_vectors.path=wiki.en"),
        ("word_vectors.source=random", *FEATURES[:1], "sentence.kind=tf-idf", "sentence.size=100"),
        CCA,
        (*FEATURES, "sentence.kind=mean", "sentence.components=2"),  # of other kinds, which a config over this may have
        ("text_tower.blocks=[0]", "text_tower.stem=64"),
        ("stages.0.schedule=steps", "stages.0.decay_epochs=[10, 20]", "stages.0.decay_factor=0.5"),
        ("stages.0.optimizer=sgd", "stages.0.momentum=0.5"),
        ("stages.0.losses={infonce = 1, sigmoid = 0}",),
    ],
    ids=lambda overrides: overrides[0],
)
def test_what_can_be_trained_passes(overrides):
    check(*overrides)


ALL = "backbone, image_head, text_tower, words, classifier"
WRONG = [
    # datasets and splits
    (['dataset.splits=["dev", "test"]'], "dataset.splits", 'add "train"'),
    (['dataset.splits=["train", "train", "dev"]'], "dataset.splits", "each split once"),
    (['dataset.splits=["train", "test"]'], "stages.0.keep", 'keep = "last"'),
    (["dataset.split_by=karpathy"], "dataset.split_by", "allowed: base, id"),
    (["dataset.held_out_percent=20"], "dataset.held_out_percent", "ignored"),
    (["dataset.leaks=drop"], "dataset.leaks", "ignored"),
    (["augmentation.crop_area=[0.9, 0.5]"], "augmentation.crop_area", "[minimum, maximum]"),
    (["data.captions=2", "stages.0.mining=16"], "data.captions", "must be 1"),
    # image tower
    (["image_tower.weights=weights.npz"], "image_tower.weights", ".pth or .h5"),
    (["image_tower.backbone=resnet50", "image_tower.weights=a.pth"], "image_tower.weights", ".h5"),
    (['image_tower.levels=["blok7"]'], "image_tower.levels", "mean 'block7'"),
    (['image_tower.levels=["block4_4_add"]'], "image_tower.levels", "block4_3_add"),
    (["image_tower.backbone=vgg19", "image.size=288"], "image.size", "224"),
    (["image_tower.hidden=64"], "image_tower.hidden", HIDDEN_HEAD),
    (["text_tower.dropout=0.1"], "text_tower.dropout", HIDDEN_HEAD),
    # text tower and word vectors
    (["text_tower.strides=[1, 2, 1]"], "text_tower.strides", "2 stages"),
    (["text_tower.variant=features", "text_tower.stem=64"], "text_tower.stem", "no convolutions"),
    (["text_tower.word_width=100"], "text_tower.word_width", "50 dimensions"),
    (["word_vectors.source=minilm", "text_tower.word_width=512"], "text_tower.word_width", "384"),
    (["word_vectors.source=glove"], "word_vectors.path", "reads a file"),
    (["word_vectors.path=glove.txt"], "word_vectors.path", "word2vec, glove, keyedvectors"),
    (["word_vectors.source=glove", "word_vectors.path=a.bin"], "word_vectors.path", ".txt, .txt.gz"),
    (["word_vectors.source=keyedvectors", "word_vectors.path=a.txt"], "word_vectors.path", ".kv"),
    (["word_vectors.source=skip-gram", "word_vectors.extra_words=5"], "word_vectors.extra_words", "glove-50"),
    (["word_vectors.source=random", "text.only_with_vectors=true"], "text.only_with_vectors", "false"),
    (["sentence.kind=mean"], "sentence.kind", 'variant = "features"'),
    ([*FEATURES, "sentence.kind=mean", "sentence.size=51"], "sentence.size", "50 dimensions"),
    ([*FEATURES[:1], "word_vectors.source=random"], "sentence.kind", 'kind = "tf-idf"'),
    # classifier and start
    (["model.classifier=none"], "model.classifier", "infonce"),
    (["model.classifier=none", "stages.0.losses={infonce = 1}", "model.scale=5"], "model.scale", "no classifier"),
    (["model.start=cca"], "model.start", 'text_tower.head = "fc"'),
    (["cca.regularisation=0.5"], "cca.regularisation", 'model.start = "cca"'),
    ([*CCA, "embedding_size=2048"], "embedding_size", "1280 directions"),
    # stages
    (["stages.0.losses={infonce = 0}"], "stages.0.losses", "weight above 0"),
    (["stages.0.losses={distillation = 1}"], "stages.0.losses", "--set distill_from=RUN"),
    (["distill_from=."], "distill_from", "losses.distillation"),
    (
        ["distill_from=.", "stages.0.losses={ranking = 1, distillation = 1}", "stages.0.mining=8"],
        "stages.0.mining",
        "0",
    ),
    (["stages.0.losses={hard_negatives = 1}"], "stages.0.losses", "itembed localise"),
    (['stages.0.freeze=["image_heads"]'], "stages.0.freeze", "mean 'image_head'"),
    (['stages.0.freeze=["backbone.conv1"]', "stages.0.cached_views=0"], "stages.0.freeze", "backbone.block7"),
    (["image_tower.levels=['block3']", "stages.0.freeze=['backbone.head']"], "stages.0.freeze", "backbone.block3"),
    (['stages.0.freeze=["words", "backbone"]', *FEATURES], "stages.0.freeze", "'words' is not a part"),
    ([f"stages.0.freeze={ALL.split(', ')}"], "stages.0.freeze", "nothing to train"),
    (["stages.0.freeze=[]"], "stages.0.cached_views", '"backbone" to freeze'),
    (["image_tower.crops=5", 'stages.0.freeze=["backbone.stem"]'], "stages.0.freeze", 'add "backbone"'),
    ([*FEATURES, "data.word_dropout=0.1"], "stages.0.cached_views", "set data.word_dropout to 0"),
    (["stages.0.decay_epochs=[5]"], "stages.0.decay_epochs", 'schedule = "steps"'),
    (["stages.0.schedule=steps"], "stages.0.decay_epochs", "needs epochs"),
    (["stages.0.momentum=0.5"], "stages.0.momentum", 'optimizer = "sgd"'),
    (["stages.0.warmup_epochs=24"], "stages.0.warmup_epochs", "epochs = 24"),
]


@pytest.mark.parametrize(("overrides", "key", "advice"), WRONG, ids=lambda value: str(value)[:60])
def test_a_setting_that_cannot_be_used_is_refused(overrides, key, advice):
    with pytest.raises(ConfigError) as caught:
        check(*overrides)
    message = str(caught.value)
    assert message.startswith(f"{key} = ") and advice in message, message


@pytest.mark.parametrize(
    ("overrides", "key", "advice"),
    [
        (["dataset.root=somewhere"], "dataset.root", "docs/your_images.md"),
        (["dataset.name=flickr8k"], "dataset.root", "dataset.root=FOLDER"),
        (["dataset.name=folder", "dataset.root=nowhere"], "dataset.root", '"{here}/nowhere" is not a folder'),
        (["dataset.shards=nowhere"], "dataset.shards", '"{here}/nowhere" is not a folder; `itembed prepare`'),
        (["dataset.merge=nowhere"], "dataset.merge", '"{here}/nowhere" is not a file; `itembed doctor`'),
        (["image_tower.weights=gone.weights.h5"], "image_tower.weights", '"{here}/gone.weights.h5" is not a file'),
        (["word_vectors.source=glove", "word_vectors.path=g.txt"], "word_vectors.path", '"{here}/g.txt" is not a file'),
    ],
)
def test_a_missing_file_is_refused_with_where_it_was_looked_for(overrides, key, advice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        check_config(load_config(None, overrides))
    message = str(caught.value)
    assert message.startswith(f"{key} = ") and advice.format(here=tmp_path) in message, message


def localise(tmp_path: Path, *overrides: str) -> None:
    check_localisation(load_config(CONFIGS / "localisation.toml", [f'dataset.root="{tmp_path}"', *overrides]))


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("stages.0.freeze=[]", "stages.0.freeze"),
        ("stages.1.average=0.9", "stages.1.average"),
        ("stages.0.multipliers={words = 0.1}", "stages.0.multipliers"),
        ("stages.0.jit=true", "stages.0.jit"),
        ("stages.0.keep=last", "stages.0.keep"),
        ("image_tower.crops=5", "image_tower.crops"),
        ("precision=mixed_bfloat16", "precision"),
        ("stages.0.losses.instance_text.label_smoothing=0.1", "stages.0.losses"),
        ('dataset.splits=["train"]', "dataset.splits"),
    ],
)
def test_localisation_refuses_what_it_ignores(override, key, tmp_path):
    localise(tmp_path)
    with pytest.raises(ConfigError) as caught:
        localise(tmp_path, override)
    assert str(caught.value).startswith(f"{key} = "), caught.value


@pytest.mark.parametrize(
    ("key", "name", "more"),
    [
        ("image_tower.weights", "w.h5", []),
        ("dataset.merge", "m.jsonl", []),
        ("word_vectors.path", "g.txt", ["word_vectors.source=glove"]),
    ],
)
def test_a_pointer_in_the_place_of_a_file_is_refused(key, name, more, tmp_path):
    file = tmp_path / name
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n")
    with pytest.raises(ConfigError, match=f"{key} = .*is a Git LFS pointer: run git lfs pull"):
        check_config(load_config(None, [f"{key}={file}", *more]))


def test_settings_of_own_images_are_refused_for_other_datasets():
    for key in ("captions", "images", "image_column", "caption_column"):
        with pytest.raises(ConfigError, match=rf"dataset\.{key} = .*would be ignored: only dataset\.name = .folder"):
            check(f"dataset.{key}=x")
    check("dataset.name=coco", "dataset.root=x", "dataset.split_by=random", "dataset.held_out_percent=20")
