"""Program: a run directory -> two SavedModels, image_encoder and text_encoder, with the contract file beside them.

python -m export.saved_model RUN OUT [--set evaluation.shifts=all]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from itembed_tf.artifacts import ParityError, run_encoders, write_encoders
from itembed_tf.config import ConfigError
from itembed_tf.run import RunError


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m export.saved_model", description=__doc__.splitlines()[0])
    parser.add_argument("run", help="run directory of a finished run")
    parser.add_argument("out", help="folder of all versions; the next free number is written, none is overwritten")
    changes = "evaluation.flip, evaluation.shifts or image.fit, other than the run's"
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", help=changes)
    args = parser.parse_args(argv)
    try:
        path = write_encoders(args.out, **run_encoders(args.run, args.set))
    except (ConfigError, RunError, ParityError, ValueError, OSError) as error:
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


if __name__ == "__main__":
    sys.exit(main())
