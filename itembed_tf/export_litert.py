"""Program: a run directory -> its encoders as TFLite files for LiteRT, at several precisions, measured on dev.

python -m export.tflite RUN OUT [--text float32,int8] [--image int8] [--accept-loss] [--set evaluation.shifts=all]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from itembed_tf.config import ConfigError
from itembed_tf.data.unreadable import TooManyUnreadable
from itembed_tf.exporting import LiteRTExport, MeasuredFile, ParityError, export_litert
from itembed_tf.exporting.litert_export import BUDGETS
from itembed_tf.training.run_directory import RunError

HEAD = (
    f"{'':31}{'MB':>7}{'ms':>8}  {'cosine to float32':19}{'R@1 picture query':20}{'R@1 sentence query':20}"
    f"{'lost':>6}{'may':>6}\n{'':31}{'':7}{'':8}  {'mean':9}{'worst':10}{'(95 %)':20}{'(95 %)':20}"
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m export.tflite", description=__doc__.splitlines()[0])
    parser.add_argument("run", help="run directory of a finished run; its data set must be at hand")
    parser.add_argument("out", help="folder; files of an earlier export are replaced or removed")
    choices = ",".join(BUDGETS)
    parser.add_argument("--text", default=choices, help="precisions of the text encoder (%(default)s); '' for none")
    parser.add_argument("--image", default="int8", help="precisions of the image encoder (%(default)s); '' for none")
    parser.add_argument("--accept-loss", action="store_true", help="write what loses more than its budget all the same")
    changes = "evaluation.flip, evaluation.shifts or image.fit, other than the run's; or where its data set lies"
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", help=changes)
    args = parser.parse_args(argv)
    text, image = ([p for p in asked.split(",") if p] for asked in (args.text, args.image))
    try:
        export = export_litert(
            args.run, args.out, text=text, image=image, accept_loss=args.accept_loss, overrides=args.set
        )
    except (ConfigError, RunError, ParityError, TooManyUnreadable, ValueError, OSError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if export.files:
        print(table(export))
    refused = [file for file in export.files if not file.written]
    for file in refused:
        print(f"error: {_refusal(file, args)}", file=sys.stderr)
    written = [file for file in export.files if file.written]
    for encoder in dict.fromkeys(file.encoder for file in written):
        print(f"{Path(args.out) / encoder}.json: the settings, and the figures of each file; they are inside, too")
    if written:
        print("next: export/edge has tokenisers for apps and an example that searches; docs/edge.md explains the files")
    return 1 if refused else 0


def table(export: LiteRTExport) -> str:
    lines = [export.files[0].table["protocol"], HEAD, *map(line, export.files)]
    if export.both:
        lines.append(f"{'both in int8':31}{'':36}{_recalls(export.both)}{export.both_loss:6.2f}")
    return "\n".join(lines)


def line(file: MeasuredFile) -> str:
    figures = f"{file.bytes / 1e6:7.2f}{file.ms:8.2f}  {file.cosine_mean:<9.5f}{file.cosine_worst:<10.5f}"
    note = "" if file.written else "  refused"
    return f"{file.file:31}{figures}{_recalls(file.table)}{file.loss:6.2f}{file.budget:6.2f}{note}"


def _recalls(block: dict[str, Any]) -> str:
    recalls = ""
    for query in ("image_query", "text_query"):
        low, high = block["interval_95"][query]["R@1"]
        recalls += f"{block[query]['R@1']:5.1f} ({low:4.1f} to {high:4.1f}) "
    return recalls


def _refusal(file: MeasuredFile, args: argparse.Namespace) -> str:
    option = f"--{file.encoder.partition('_')[0]}"
    return (
        f"{Path(args.out) / file.file} was not written: it loses {file.loss:.2f} points of R@1 on dev, mean of "
        f"both queries, and {file.precision} may lose {file.budget:.2f}. Take a finer precision ({option} "
        "float16), or say --accept-loss if the loss is all right for you"
    )


if __name__ == "__main__":
    sys.exit(main())
