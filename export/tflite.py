"""Program: a run directory -> the text encoder as a TFLite file for LiteRT, its vocabulary and settings beside it.

python -m export.tflite RUN OUT [--set evaluation.shifts=all]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from itembed_tf.artifacts import ParityError, run_encoders, write_edge_encoder
from itembed_tf.config import ConfigError
from itembed_tf.run import RunError


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m export.tflite", description=__doc__.splitlines()[0])
    parser.add_argument("run", help="run directory of a finished run")
    parser.add_argument("out", help="folder; files of an earlier export are replaced")
    changes = "evaluation.shifts, other than the run's"
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", help=changes)
    args = parser.parse_args(argv)
    try:
        path = write_edge_encoder(args.out, **run_encoders(args.run, args.set))
    except (ConfigError, RunError, ParityError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    settings = json.loads(path.with_name("text_encoder.json").read_text(encoding="utf-8"))
    print(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB; in LiteRT it differs from the live model by "
        f"{settings['parity']['max_abs_difference']:.1e} (allowed {settings['tolerance']:g})"
    )
    print(f"{path.with_name('vocabulary.txt')}: {settings['vocabulary']['size'] - 1:,} words")
    print(f"{path.with_name('text_encoder.json')}: contract {settings['contract'][:16]}, L = {settings['length']}")
    print(
        "next: itembed_tf.text (no TensorFlow) turns sentences into ids with these settings; "
        "ai_edge_litert.interpreter.Interpreter runs the file, signature serving_default, ids -> embedding"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
