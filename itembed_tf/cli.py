"""The command ``itembed``: runs the program of the command that is named first.

A program is a module with ``main(argv) -> int``; ``python -m MODULE`` runs it too. This module imports none of them
before one is named, so that help and errors appear immediately.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from itembed_tf import __version__
from itembed_tf.errors import did_you_mean


class Command(NamedTuple):
    """A command: the module of its program and one line of help."""

    module: str
    summary: str


GROUPS = {
    "datasets": {
        "configs": Command("itembed_tf.configs", "list the configs, print one, or list all settings"),
        "doctor": Command("itembed_tf.doctor.__main__", "check a dataset for duplicates, leaks and bad captions"),
        "prepare": Command("itembed_tf.prepare", "pack a dataset into shards, which training reads faster"),
    },
    "training": {
        "plan": Command("itembed_tf.plan", "plan a training: memory, steps, hours and disk, before it is started"),
        "train": Command("itembed_tf.train", "train both encoders and write the report"),
        "evaluate": Command("itembed_tf.evaluate", "measure the retrieval of a run on one split"),
        "compare": Command("itembed_tf.compare", "compare the retrieval of runs, with confidence intervals"),
        "analyze": Command("itembed_tf.analyze", "show what the encoders of a run learned"),
        "localise": Command("itembed_tf.localise", "train and measure phrase localisation in images"),
    },
    "search": {
        "index": Command("itembed_tf.index.__main__", "build an index of images and sentences, or bring it up to date"),
        "search": Command("itembed_tf.search", "search an index by a sentence, an image or an item"),
        "mcp": Command("itembed_tf.mcp_server", "serve an index to agents by the Model Context Protocol"),
        "demo": Command("itembed_tf.demo.__main__", "open a search page of indexes or of a run"),
        "teach": Command("itembed_tf.teach", "teach an index the name of what images show"),
    },
    "serving": {
        "export": Command("itembed_tf.export", "export the encoders of a run as SavedModel or LiteRT"),
        "serve": Command("itembed_tf.serve", "serve exports on this machine by gRPC and REST"),
        "client": Command("itembed_tf.client.__main__", "request embeddings or a ranking from a server"),
        "kit": Command("itembed_tf.kit", "write the files for TF Serving on Docker or Kubernetes"),
        "push": Command("itembed_tf.push", "upload an export to Hugging Face, with its model card"),
        "pull": Command("itembed_tf.pull", "download an export from Hugging Face and check it"),
        "load": Command("itembed_tf.load_test", "measure the throughput and latency of a server"),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}
USAGE = "usage: itembed COMMAND INPUT [OUTPUT] [options]"


def help_text() -> str:
    """The text of ``itembed --help``."""
    lines = [USAGE, "", "Image-text embeddings: two encoders that map images and captions into one space.", ""]
    for group, commands in GROUPS.items():
        lines += [f"{group}:", *(f"  {name:10}{command.summary}" for name, command in commands.items()), ""]
    lines += [
        "`itembed COMMAND --help` explains a command. Start with:",
        "  itembed train                    train on OpenMoji, into runs/openmoji",
        "  itembed train photos runs/mine --set dataset.root=FOLDER    train on your own images",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0 if words else 2
    if words[0] == "--version":
        print(f"itembed_tf {__version__}")
        return 0
    name = words.pop(0)
    if name not in COMMANDS:
        known = f"the commands are: {', '.join(COMMANDS)}"
        print(f"error: no command {name!r}{did_you_mean(name, COMMANDS)}; {known}", file=sys.stderr)
        return 2
    return int(importlib.import_module(COMMANDS[name].module).main(words))


if __name__ == "__main__":
    sys.exit(main())
