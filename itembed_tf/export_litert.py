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
from itembed_tf.exporting import ParityError
from itembed_tf.exporting.litert_budget import BUDGETS, export_edge
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
    rows: list[dict[str, Any]] = []
    try:
        accept = args.accept_loss
        for row in export_edge(args.run, args.out, text=text, image=image, accept_loss=accept, overrides=args.set):
            if not rows:
                print(f"{row['block']['protocol']}\n{HEAD}")
            rows.append(row)
            print(line(row), flush=True)
    except (ConfigError, RunError, ParityError, TooManyUnreadable, ValueError, OSError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    refused = [row for row in rows if not row.get("written", True)]
    for row in refused:
        print(f"error: {_refusal(row, args)}", file=sys.stderr)
    written = [row for row in rows if row.get("written")]
    for encoder in dict.fromkeys(row["encoder"] for row in written):
        print(f"{Path(args.out) / encoder}.json: the settings, and what dev said of each file; they are inside, too")
    if written:
        print("next: export/edge has tokenisers for apps and an example that searches; docs/edge.md explains the files")
    return 1 if refused else 0


def line(row: dict[str, Any]) -> str:
    block = row["block"]
    recalls = ""
    for query in ("image_query", "text_query"):
        low, high = block["interval_95"][query]["R@1"]
        recalls += f"{block[query]['R@1']:5.1f} ({low:4.1f} to {high:4.1f}) "
    if row["encoder"] == "both":
        return f"{'both in int8':31}{'':36}{recalls}{row['loss']:6.2f}"
    figures = f"{row['bytes'] / 1e6:7.2f}{row['ms']:8.2f}  {row['cosine_mean']:<9.5f}{row['cosine_worst']:<10.5f}"
    said = "" if row["written"] else "  refused"
    return f"{row['file']:31}{figures}{recalls}{row['loss']:6.2f}{row['allowed']:6.2f}{said}"


def _refusal(row: dict[str, Any], args: argparse.Namespace) -> str:
    option = f"--{row['encoder'].partition('_')[0]}"
    return (
        f"{Path(args.out) / row['file']} was not written: it loses {row['loss']:.2f} points of R@1 on dev, mean of "
        f"both queries, and {row['precision']} may lose {row['allowed']:.2f}. Take a finer precision ({option} "
        "float16), or say --accept-loss if the loss is all right for you"
    )


if __name__ == "__main__":
    sys.exit(main())
