"""Configs by name: shipped ones, TOML files and folders of images."""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

from itembed_tf.config.errors import ConfigError
from itembed_tf.config.schema import Config
from itembed_tf.config.toml import load_config
from itembed_tf.errors import did_you_mean
from itembed_tf.files import check_output, shipped_folder

CONFIGS = shipped_folder("configs")
OPENMOJI = CONFIGS / "openmoji.toml"  # the default
CAPTION_FILES = ("captions.csv", "captions.jsonl")  # the usual ones
# A folder with a file of these, or with a subfolder of such, is taken for a dataset; its reader decides.
CAPTION_SUFFIXES = (".csv", ".jsonl", ".tsv", ".json", ".txt", ".token", ".parquet", ".tar")


@dataclass(frozen=True)
class NamedConfig:
    """A config as it was named on the command line.

    Attributes:
        name: for the default run directory, runs/NAME.
        path: the TOML file.
        overrides: settings that the name stands for: the folder of images, for example.
    """

    name: str
    path: Path
    overrides: tuple[str, ...] = ()


def resolve_config(name: str | Path) -> NamedConfig:
    """Find a config by the name of a shipped one, the path of a .toml file, or a folder of images with captions.csv.

    A folder gives config ``photos`` with ``dataset.root`` set to it.

    Raises:
        ConfigError: it is none of these; the message says where it was looked for.
    """
    path, name = Path(name).expanduser(), str(name)
    shipped = CONFIGS / f"{name}.toml"
    if path.is_dir():
        plain = not shipped.is_file() and not (path / "config.toml").is_file()  # no other meaning of this name
        if any((path / file).is_file() for file in CAPTION_FILES) or (plain and _is_dataset(path)):
            return NamedConfig(path.resolve().name, CONFIGS / "photos.toml", (f"dataset.root={json.dumps(str(path))}",))
        if not shipped.is_file():
            raise ConfigError(_not_a_data_set(path))
    if path.suffix == ".toml":
        return NamedConfig(path.stem, path)
    if not shipped.is_file():
        names = [name for name, _ in list_configs()]
        common = [name for name in names if "/" not in name]
        raise ConfigError(
            f"config {name!r} was not found{did_you_mean(name, names)}: give the name of a shipped config, a .toml "
            f"file, or a folder of images with captions.csv. Shipped: {', '.join(common)}; all: itembed configs"
        )
    return NamedConfig(shipped.stem, shipped)


def list_configs() -> list[tuple[str, str]]:
    """Name and one-line description of each shipped config, the description being the file's first comment line."""
    configs = []
    for path in sorted(CONFIGS.rglob("*.toml"), key=lambda path: (len(path.relative_to(CONFIGS).parts), str(path))):
        with path.open(encoding="utf-8") as file:
            description = file.readline().lstrip("# ").rstrip()
        configs.append((path.relative_to(CONFIGS).with_suffix("").as_posix(), description))
    return configs


def named_config(args: argparse.Namespace, ending: str = "") -> tuple[Config, Path]:
    """The config of `args`, by default ``openmoji``, and the output folder: `args.out` or runs/NAME`ending`.

    Raises:
        ConfigError: as `resolve_config` and `load_config`.
        UsageError: an output folder that cannot be used (`check_output`).
    """
    named = resolve_config(args.config or OPENMOJI)
    config = load_config(named.path, [*named.overrides, *args.set])
    return config, check_output(args.out or Path("runs") / f"{named.name}{ending}")


def _is_dataset(path: Path) -> bool:
    """Whether a folder, or a folder in it, has a file that can have captions."""
    own = list(path.iterdir())
    files = itertools.chain(own, *(folder.iterdir() for folder in own if folder.is_dir()))
    return any(file.suffix.lower() in CAPTION_SUFFIXES and not file.is_dir() for file in files)


def _not_a_data_set(path: Path) -> str:
    if (path / "config.toml").is_file():
        return (
            f"{path} is a run directory, not a config; to continue the run, give its config and the directory: "
            f"{path / 'config.toml'} {path}"
        )
    return (
        f"{path} is a folder without {' or '.join(CAPTION_FILES)}, or captions in another layout: add a captions.csv "
        "with the columns image and caption (docs/your_images.md), or give the name of a config or a .toml file"
    )
