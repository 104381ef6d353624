"""Backbones by the name of another library or by a file: what can be known of them without TensorFlow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from itembed_tf.config.choices import PIXELS
from itembed_tf.config.refuse import refuse, refuse_ignored, refuse_name
from itembed_tf.config.schema import Config


class Application(NamedTuple):
    """A model of keras.applications.

    Attributes:
        pixels: what its network takes, one of `PIXELS`; "0..255" where its own layers normalise.
        minimum: side of its smallest image, pixels.
    """

    pixels: str
    minimum: int


def _family(pixels: str, minimum: int, *names: str) -> dict[str, Application]:
    return {name: Application(pixels, minimum) for name in names}


APPLICATIONS = {
    **_family("0..255", 32, *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge"))),
    **_family("imagenet", 32, *(f"DenseNet{depth}" for depth in (121, 169, 201))),
    **_family("0..255", 32, *(f"EfficientNetB{number}" for number in range(8))),
    **_family("0..255", 32, *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L"))),
    **_family("-1..1", 75, "InceptionV3", "InceptionResNetV2"),
    **_family("-1..1", 32, "MobileNet", "MobileNetV2"),
    **_family("0..255", 32, "MobileNetV3Small", "MobileNetV3Large"),
    **_family("-1..1", 32, "NASNetMobile", "NASNetLarge"),
    **_family("bgr", 32, "ResNet50", "ResNet101", "ResNet152"),
    **_family("-1..1", 32, "ResNet50V2", "ResNet101V2", "ResNet152V2"),
    **_family("bgr", 32, "VGG16", "VGG19"),
    **_family("-1..1", 71, "Xception"),
}
# Layers of keras that run code from the file, or load another one.
CODE_LAYERS = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")


def kind_of(backbone: str) -> str:
    """Of "keras", "keras_hub" and "file"; "" for a key of `itembed_tf.config.backbones.BACKBONES`."""
    return backbone.partition(":")[0] if ":" in backbone else ""


def source_of(backbone: str) -> str:
    """What follows the kind: a model of keras.applications, a preset, a folder or a file."""
    return backbone.partition(":")[2]


def preset_folder(backbone: str) -> Path | None:
    """The folder that a "keras_hub:" backbone names; None for a preset that keras-hub knows or downloads."""
    source = source_of(backbone)
    if "://" in source or not (re.match(r"[.~/\\]", source) or "/" in source or Path(source).is_dir()):
        return None
    return Path(source).expanduser()


def check_backbone_form(config: Config) -> None:
    """Check an open backbone: its name, the weight file, the pixels and the size of its images.

    Raises:
        ConfigError: naming the key, its value and what to write instead.
    """
    tower = config.image_tower
    kind, source = kind_of(tower.backbone), source_of(tower.backbone)
    if kind == "keras":
        if source not in APPLICATIONS:
            refuse_name("image_tower.backbone", tower.backbone, "model of keras.applications", source, APPLICATIONS)
        check_size(config, APPLICATIONS[source].minimum, tower.backbone)
    if tower.weights not in ("imagenet", "none") and not tower.weights.endswith(".h5"):
        refuse(
            "image_tower.weights",
            tower.weights,
            f'{tower.backbone} loads .h5 files; allowed too: "imagenet", "none"',
        )
    if kind == "file" and tower.pixels == "own":
        refuse("image_tower.pixels", "own", f"say what the network of the file takes: {_pixels()} (docs/backbones.md)")
    if kind == "file" and not source.endswith(".keras"):
        refuse("image_tower.backbone", tower.backbone, 'must be a .keras file, as model.save("NAME.keras") writes it')
    if kind == "keras":
        refuse_ignored("image_tower", tower, ["pixels"], "models of keras.applications have their own normalisation")


def check_features(config: Config) -> None:
    """Check image_tower.features: nothing else may say how images become features.

    Raises:
        ConfigError: as `check_backbone_form`.
    """
    tower = config.image_tower
    if not tower.features.endswith(".npy"):
        refuse("image_tower.features", tower.features, "must be a .npy file, float32 or float16 [images, features]")
    why = "image_tower.features holds the features of each image, and no image is decoded"
    refuse_ignored("image_tower", tower, ["backbone", "weights", "pixels", "levels", "crops"], why)
    refuse_ignored("image", config.image, ["size", "fit"], why)
    refuse_ignored("augmentation", config.augmentation, ["crop_area", "crop_aspect", "flip"], why)
    check_views(config)
    for i, stage in enumerate(config.stages):
        if stage.cached_views != 1:
            refuse(
                f"stages.{i}.cached_views",
                stage.cached_views,
                "image_tower.features has one row of features for an image: set cached_views = 1",
            )


def check_views(config: Config) -> None:
    """Refuse further views of an image where image_tower.features holds its features.

    Raises:
        ConfigError: naming the key.
    """
    for name, none in (("flip", False), ("crops", 0)):
        value = getattr(config.evaluation, name)
        if config.image_tower.features and value:
            without = f"set evaluation.{name} = {str(none).lower()}"
            refuse(f"evaluation.{name}", value, f"image_tower.features has one row for an image; {without}")


def check_size(config: Config, minimum: int, name: str) -> None:
    """Refuse images that are smaller than a backbone takes, five crops included."""
    size, crops = config.image.size, config.image_tower.crops
    side = size * 7 // 8 if crops == 5 else size  # as models.backbones.five_crop_size
    if side < minimum:
        wanted = -(-minimum * 8 // 7) if crops == 5 else minimum
        crops_too = " with image_tower.crops = 5" if crops == 5 else ""
        refuse("image.size", size, f"the minimum of {name} is {wanted} pixels{crops_too}")


def _pixels() -> str:
    return ", ".join(f'"{value}"' for value in PIXELS)
