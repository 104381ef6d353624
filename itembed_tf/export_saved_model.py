"""Program: a run directory -> two SavedModels, image_encoder and text_encoder, with the contract file beside them.

python -m export.saved_model RUN OUT [--cut 256] [--set evaluation.shifts=all]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from itembed_tf.config import ConfigError
from itembed_tf.data.unreadable import TooManyUnreadable
from itembed_tf.evaluation.embeddings import format_block
from itembed_tf.exporting import ParityError, PcaResult, export_saved_models
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
        export = export_saved_models(args.run, args.out, pca=args.cut, overrides=args.set)
    except (ConfigError, RunError, ParityError, TooManyUnreadable, ValueError, OSError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if export.pca:
        print(_cost(export.pca))
    models, contract = export.models, export.models.contract
    for name, encoder in contract.encoders.items():
        print(f"{models.version_folder(name)}: {encoder.bytes / 1e6:.1f} MB", end="; ")
        difference = encoder.parity.max_abs_difference
        print(f"reloaded, it differs from the live model by {difference:.1e} (tolerance {contract.tolerance:g})")
    sizes = f"D = {contract.embedding_size}, L = {contract.length}"
    print(f"{models.contract_file}: contract {contract.contract[:16]}, {sizes}")
    for library in contract.needs:
        print(f"loading text_encoder needs the ops of {library} (a stock TF Serving has them)")
    imports = ", ".join(["tensorflow as tf", *contract.needs])
    load = f"m = tf.saved_model.load('{models.version_folder('text_encoder')}')"
    call = "print(m.signatures['serving_default'](text=['a dog runs']))"
    print(f'try it:\n  python -c "import {imports}; {load}; {call}"')
    return 0


def _cost(pca: PcaResult) -> str:
    share = f"{pca.kept_percent:.1f} % of the squared length of train's embeddings"
    tables = "\n".join(
        f"{when}:\n{format_block(block)}" for when, block in (("before", pca.before), ("after", pca.after))
    )
    return f"PCA from {pca.dimensions_before} to {pca.dimensions} dimensions, which hold {share}\n{tables}"


if __name__ == "__main__":
    sys.exit(main())
