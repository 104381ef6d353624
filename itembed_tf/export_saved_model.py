"""Program: a run directory -> two SavedModels, image_encoder and text_encoder, with the contract file beside them.

python -m export.saved_model RUN OUT [--cut 256] [--set evaluation.shifts=all]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from itembed_tf.config import ConfigError
from itembed_tf.data.unreadable import TooManyUnreadable
from itembed_tf.evaluation.embeddings import format_block
from itembed_tf.exporting import ParityError, run_encoders, write_encoders, write_saved_models
from itembed_tf.exporting.pca import cut_run
from itembed_tf.training.run_directory import RunError


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m export.saved_model", description=__doc__.splitlines()[0])
    parser.add_argument("run", help="run directory of a finished run")
    parser.add_argument("out", help="folder of all versions; the next free number is written, none is overwritten")
    shorter = (
        "shorten embeddings to N numbers by PCA on train, and say what that costs on dev; the data set must be at hand"
    )
    parser.add_argument("--cut", type=int, metavar="N", help=shorter)
    changes = (
        "evaluation.flip, evaluation.shifts or image.fit, other than the run's; with --cut, where its data set lies"
    )
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", help=changes)
    args = parser.parse_args(argv)
    try:
        if args.cut is None:
            path = write_encoders(args.out, **run_encoders(args.run, args.set))
        else:
            pair, cut = cut_run(args.run, args.cut, args.set)
            print(_cost(cut), flush=True)
            path = write_saved_models(args.out, **pair, cut=cut)
    except (ConfigError, RunError, ParityError, TooManyUnreadable, ValueError, OSError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    contract = json.loads(path.read_text(encoding="utf-8"))
    number = str(contract["version"])
    for name, encoder in contract["encoders"].items():
        off = encoder["parity"]["max_abs_difference"]
        print(f"{path.parent / name / number}: {encoder['bytes'] / 1e6:.1f} MB", end="; ")
        print(f"reloaded, it differs from the live model by {off:.1e} (allowed {contract['tolerance']:g})")
    print(f"{path}: contract {contract['contract'][:16]}, D = {contract['embedding_size']}, L = {contract['length']}")
    for library in contract["needs"]:
        print(f"whoever loads text_encoder needs the ops of {library} (a stock TF Serving has them)")
    imports = ", ".join(["tensorflow as tf", *contract["needs"]])
    load = f"m = tf.saved_model.load('{path.parent / 'text_encoder' / number}')"
    call = "print(m.signatures['serving_default'](text=['a dog runs']))"
    print(f'try it:\n  python -c "import {imports}; {load}; {call}"')
    return 0


def _cost(cut: dict[str, Any]) -> str:
    kept = f"{cut['kept_percent']:.1f} % of the squared length of train's embeddings"
    tables = "\n".join(f"{when}:\n{format_block(cut[when])}" for when in ("before", "after"))
    return f"cut from {cut['from']} numbers to {cut['to']}, which hold {kept}\n{tables}"


if __name__ == "__main__":
    sys.exit(main())
