"""What all commands share: argument parsing, one line per error, exit codes, and a quiet TensorFlow."""

from __future__ import annotations

import argparse
import functools
import os
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from itembed_tf.errors import Terminated, UserError, did_you_mean
from itembed_tf.expected_errors import TRACEBACK, error_line
from itembed_tf.extras import require_data
from itembed_tf.quiet import quiet_tensorflow

if TYPE_CHECKING:  # a machine that runs only the client has no TOML writer
    from itembed_tf.config import Config

MAX_IMAGE = 64 << 20  # bytes of a file that --image names
INTERRUPTED = 130  # the exit code that shells give to a command that Ctrl-C ended
RESUME = 75  # exit code after SIGTERM: the same command continues the work (EX_TEMPFAIL of sysexits.h)


class Program(Protocol):
    """The main function of a command; without arguments it takes those of the process."""

    def __call__(self, argv: Sequence[str] | None = None) -> int: ...


class Parser(argparse.ArgumentParser):
    """An argument parser that prints an error as one line, suggests options, and takes options between arguments."""

    def __init__(self, command: str, description: str, *, examples: str = "") -> None:
        """A parser of ``itembed COMMAND``; `description` and `examples` appear in its help as they are written."""
        super().__init__(
            prog=f"itembed {command}",
            description=description,
            epilog=f"examples:\n{examples.rstrip()}" if examples else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self._options: list[str] = ["--help"]

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        action = super().add_argument(*names, **settings)
        if hasattr(self, "_options"):  # not yet for --help, which the base class adds
            self._options += action.option_strings
        return action

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed, rest = self.parse_known_intermixed_args(args, namespace)
        if rest:
            hint = did_you_mean(rest[0].partition("=")[0], self._options) if rest[0].startswith("-") else ""
            kind = "unknown option" if rest[0].startswith("-") else "unexpected argument"
            self.error(f"{kind} {rest[0]}{hint}")
        return parsed

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}; see: {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def program(main: Callable[[Sequence[str]], int]) -> Program:
    """Decorate the main function of a command: a quiet TensorFlow, errors as one line, and the exit code.

    0 is success, 2 a wrong command line or config, 1 any other error, 130 an interrupt, 75 a command that SIGTERM has
    stopped and that continues when it is given again (`itembed_tf.interruption`). With ITEMBED_TRACEBACK=1 in the
    environment, an error is raised with its traceback.
    """

    @functools.wraps(main)
    def run(argv: Sequence[str] | None = None) -> int:
        quiet_tensorflow()
        warnings.formatwarning = _format_warning
        try:
            return main(sys.argv[1:] if argv is None else argv)
        except KeyboardInterrupt as interrupt:
            stopped = isinstance(interrupt, Terminated)
            what = "stopped by SIGTERM" if stopped else "interrupted"
            print("; ".join([what, *map(str, interrupt.args)]), file=sys.stderr)
            return RESUME if stopped else INTERRUPTED
        except BrokenPipeError:  # `itembed configs | head -1` is no error
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except Exception as error:
            line = error_line(error)
            if line is None or os.environ.get(TRACEBACK):
                raise
            print(f"error: {line}", file=sys.stderr)
            return error.exit_code if isinstance(error, UserError) else 1

    return run


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"warning: {message}\n"


def command_line(*words: str | Path) -> str:
    """``itembed WORDS`` as a line that runs in this shell: quoted, and with the path of a script that is not on PATH.

    Where no script is installed, for example in a checkout without `pip install`, it is ``python -m itembed_tf``.
    """
    script = Path(sys.executable).with_name("itembed")
    on_path = shutil.which("itembed")
    if on_path and Path(on_path).absolute() == script:
        start = ["itembed"]
    elif script.exists():
        start = [_short(script)]
    else:
        start = [_short(Path(sys.executable)), "-m", "itembed_tf"]
    return shlex.join([*start, *map(str, words)])


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else str(path)


def add_config(parser: Parser, output: str, writes: str, *, default: str = "openmoji") -> None:
    """Add the arguments of a command that takes a config: config, `output` (stored as ``out``) and --set.

    `default` is the config that its help names as the default; "" for none.
    """
    parser.add_argument(
        "config",
        nargs="?",
        metavar="CONFIG",
        help="name of a config (see `itembed configs`), a TOML file, or a folder of images with a captions.csv"
        + (f"; default: {default}" if default else ""),
    )
    parser.add_argument("out", nargs="?", metavar=output, help=writes)
    add_settings(parser, "override a setting of the config; may be repeated; `itembed configs --settings` lists all")


def add_settings(parser: Parser, meaning: str) -> None:
    """Add --set section.key=value."""
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", help=meaning)


def read_image_option(file: str) -> bytes:
    """The content of the image file that --image names.

    Raises:
        UserError: there is no such file, or it has more than `MAX_IMAGE` bytes.
    """
    path = Path(file)
    if not path.is_file():
        raise UserError(f"--image: no file at {file}")
    if path.stat().st_size > MAX_IMAGE:
        raise UserError(f"--image: {file} has {path.stat().st_size:,} bytes; at most {MAX_IMAGE:,} are read")
    return path.read_bytes()


def config_words(args: argparse.Namespace) -> list[str]:
    """Config, output and --set options as they were given, for a command line to print."""
    given = [word for word in (args.config, args.out) if word]
    return [*given, *(word for setting in args.set for word in ("--set", setting))]


def run_config(run: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The config of a run directory with overrides, read before TensorFlow is imported.

    Raises:
        UserError: `run` is not a run directory, or what its dataset needs is not installed.
        ConfigError: an override that cannot be used.
    """
    from itembed_tf.config import load_config

    file = Path(run) / "config.toml"
    if not file.is_file():
        raise UserError(f"{run} is not a run directory: it has no config.toml; `itembed train CONFIG RUN` makes one")
    config = load_config(file, overrides)
    require_data(config)
    return config
