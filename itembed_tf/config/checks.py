"""All that can be known from a config alone, checked before anything is read or computed."""

from __future__ import annotations

from pathlib import Path

from itembed_tf.config.backbone_forms import kind_of, preset_folder, source_of
from itembed_tf.config.checks_card import check_card
from itembed_tf.config.checks_model import check_model
from itembed_tf.config.checks_stage import check_stages
from itembed_tf.config.choices import DATASETS
from itembed_tf.config.dump import toml_value
from itembed_tf.config.errors import ConfigError
from itembed_tf.config.losses import DISTILLATION
from itembed_tf.config.members import member_configs
from itembed_tf.config.refuse import refuse, refuse_choice, refuse_ignored
from itembed_tf.config.schema import Config
from itembed_tf.config.towers import ImageTower
from itembed_tf.git_pointer import HEAD, pointer_problem

FOLDER_SETTINGS = ["captions", "images", "image_column", "caption_column"]
OWN_IMAGES = "for your own images: docs/your_images.md and the config photos"


def check_config(config: Config) -> None:
    """Check a config for training, its files included; `load_config` has checked keys, types, choices and limits.

    Raises:
        ConfigError: naming the key, its value and what to write instead.
    """
    check_settings(config)
    check_files(config)


def check_settings(config: Config) -> None:
    """The part of `check_config` that looks at no file.

    Raises:
        ConfigError: as `check_config`.
    """
    if "train" not in config.dataset.splits:
        refuse(
            "dataset.splits",
            config.dataset.splits,
            'has no "train", the split that weights are trained on and the vocabulary is built from; add "train"',
        )
    check_splits(config)
    if not config.dataset.merge:  # `itembed doctor` uses leaks without a merge file too
        refuse_ignored("dataset", config.dataset, ["leaks"], "dataset.merge is empty")
    check_augmentation(config)
    check_card(config.card)
    if not config.memory.rows:
        refuse_ignored("memory", config.memory, ["weight", "temperature"], "memory.rows is 0")
    if config.from_run:
        refuse_ignored("classes", config.classes, ["clusters"], "with from_run the classes are groups")
        refuse_ignored("model", config.model, ["start"], "with from_run the weights are those of that run")
        if config.members:
            refuse("from_run", config.from_run, "an ensemble starts from the beginning: leave out members, or from_run")
    if config.distill_from and not any(DISTILLATION in stage.losses for stage in config.stages):
        refuse(
            "distill_from",
            config.distill_from,
            "would be ignored: no stage has the loss distillation, such as losses.distillation = 3.0",
        )
    if config.members:
        check_members(config)
    else:
        check_stages(config)
        check_model(config)


def check_members(config: Config) -> None:
    """Each member as an encoder of its own, and the size of the embeddings of all.

    Raises:
        ConfigError: as `check_config`, naming the member.
    """
    for number, member in enumerate(member_configs(config)):
        if member.image_tower.features:
            refuse(
                f"members.{number}.image_tower.features",
                member.image_tower.features,
                "the encoders of an ensemble take images; train one encoder on the features, without members",
            )
        try:
            check_stages(member)
            check_model(member)
        except ConfigError as error:
            raise ConfigError(f"members.{number}: {error}") from None
        for key in ("extra_words", "source"):
            value, shared = getattr(member.word_vectors, key), getattr(config.word_vectors, key)
            if value != shared and (key == "extra_words" or config.text.only_with_vectors):
                refuse(
                    f"members.{number}.word_vectors.{key}", value, "would change the vocabulary, which members share"
                )
    total = sum(member.embedding_size for member in config.members)
    if config.embedding_size > total:
        refuse(
            "embedding_size",
            config.embedding_size,
            f"the embeddings of the members have {total} dimensions together, the maximum",
        )


def check_files(config: Config) -> None:
    """Check that the files and folders that a config names exist.

    Raises:
        ConfigError: one does not exist; the message says where it was looked for.
    """
    check_dataset(config)
    if config.from_run:
        _check_folder("from_run", config.from_run, "it must be the run directory of a finished run")
    if config.distill_from:
        _check_folder("distill_from", config.distill_from, "it must be the run directory of a finished run")
    for each in member_configs(config):
        _check_backbone_files(each.image_tower)
        if each.word_vectors.path:
            source = each.word_vectors.source
            _check_file("word_vectors.path", each.word_vectors.path, f"the source {source!r} reads it")


def _check_backbone_files(tower: ImageTower) -> None:
    kind, source = kind_of(tower.backbone), source_of(tower.backbone)
    if kind == "file":
        _check_file("image_tower.backbone", source, "give the path of a .keras file after file:")
    if (folder := preset_folder(tower.backbone) if kind == "keras_hub" else None) is not None:
        _check_folder("image_tower.backbone", str(folder), "preset.save_to_preset(FOLDER) of keras-hub writes one")
    if tower.features:
        _check_file("image_tower.features", tower.features, "numpy.save writes one (docs/backbones.md)")
        ids = str(Path(tower.features).with_suffix(".txt"))
        _check_file("image_tower.features", ids, "it must hold the image ids of the rows, one a line")
    if tower.weights not in ("imagenet", "none"):
        _check_file("image_tower.weights", tower.weights, 'allowed: "imagenet", "none", or the path of a file')


def check_dataset(config: Config) -> None:
    """Check section dataset for any program that reads it, its files included.

    Raises:
        ConfigError: as `check_config`.
    """
    dataset = config.dataset
    check_splits(config)
    if dataset.shards:
        _check_folder("dataset.shards", dataset.shards, "`itembed prepare` writes one")
    elif dataset.name == "openmoji":
        if dataset.root:
            refuse(
                "dataset.root",
                dataset.root,
                f'would be ignored: dataset.name is "openmoji", whose images are in installed packages. {OWN_IMAGES}',
            )
    elif not dataset.root and dataset.name == "folder":
        refuse("dataset.root", "", "give the folder of your images: --set dataset.root=FOLDER (docs/your_images.md)")
    elif not dataset.root:
        refuse(
            "dataset.root",
            "",
            f"{dataset.name} needs its folder: --set dataset.root=FOLDER; layouts: docs/datasets.md",
        )
    else:
        what = "the folder of your images" if dataset.name == "folder" else f"the folder of {dataset.name}"
        _check_folder("dataset.root", dataset.root, f"it must be {what}; {OWN_IMAGES}")
    if dataset.merge:
        _check_file("dataset.merge", dataset.merge, "`itembed doctor` writes one")


def check_splits(config: Config) -> None:
    """The settings of section dataset against each other."""
    dataset = config.dataset
    if not dataset.splits or len(set(dataset.splits)) < len(dataset.splits):
        refuse("dataset.splits", dataset.splits, "name each split once; allowed: train, dev, test")
    allowed = DATASETS[dataset.name]
    if dataset.split_by not in allowed:
        refuse_choice(
            "dataset.split_by", dataset.split_by, dataset.split_by, allowed, f"is not a split of {dataset.name}"
        )
    if dataset.name not in ("folder", "coco"):
        refuse_ignored("dataset", dataset, ["held_out_percent"], 'only dataset.name = "folder" or "coco" uses it')
    if dataset.name != "folder":
        refuse_ignored("dataset", dataset, FOLDER_SETTINGS, 'only dataset.name = "folder" uses it')


def check_augmentation(config: Config) -> None:
    """Crops: minimum <= maximum."""
    for key in ("crop_area", "crop_aspect"):
        value = getattr(config.augmentation, key)
        if value[0] > value[1]:
            refuse(f"augmentation.{key}", value, "must be [minimum, maximum], the smaller first")


def _check_folder(key: str, value: str, advice: str) -> None:
    if not Path(value).expanduser().is_dir():
        refuse(key, value, f"{_looked_for(value)} is not a folder; {advice}")


def _check_file(key: str, value: str, advice: str) -> None:
    path = Path(value).expanduser()
    if not path.is_file():
        refuse(key, value, f"{_looked_for(value)} is not a file; {advice}")
    with path.open("rb") as file:
        if problem := pointer_problem(file.read(HEAD)):
            refuse(key, value, problem)


def _looked_for(value: str) -> str:
    """The absolute path, quoted: it may hold characters that cannot be printed."""
    return toml_value(str(Path(value).expanduser().absolute()))
