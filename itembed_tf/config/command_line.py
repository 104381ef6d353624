"""The command line of the programs that take a config: [config] [where to] [--set section.key=value]."""

from __future__ import annotations

import argparse
from pathlib import Path

from itembed_tf.config.describe import describe_keys
from itembed_tf.config.schema import Config
from itembed_tf.config.toml import load_config
from itembed_tf.files import shipped_folder

OPENMOJI = shipped_folder("configs") / "openmoji.toml"  # what is trained when no config is named


def config_parser(program: str, description: str, *, writes: str) -> argparse.ArgumentParser:
    """A parser that gives `config`, `out` and `set`; its help lists every setting.

    Args:
        program: the module that is run.
        description: of the program, shown as it is written.
        writes: what goes to `out`, and its default.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}",
        description=description,
        epilog="Settings (TOML):\n" + describe_keys(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", nargs="?", help="TOML file that lists what differs from the defaults")
    parser.add_argument("out", nargs="?", help=writes)
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", help="override a setting")
    return parser


def named_config(args: argparse.Namespace, ending: str = "") -> tuple[Config, Path]:
    """The config that was asked for, OpenMoji's where none was, and where to write: `out`, or runs/NAME`ending`.

    Raises:
        ConfigError: as `load_config`.
    """
    file = Path(args.config or OPENMOJI)
    return load_config(file, args.set), Path(args.out or Path("runs") / f"{file.stem}{ending}")
