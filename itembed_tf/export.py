"""Export the encoders of a run: SavedModels for TF Serving, LiteRT files for phones and browsers, or ONNX files.

Every file is reloaded and compared with the model of the run before the command succeeds. A LiteRT file that loses
more recall on dev than its precision allows is not written, unless --accept-loss is given. --to search writes a
SavedModel that searches an index, and --to litert --index one LiteRT file that does so by text.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from itembed_tf.extras import require
from itembed_tf.files import check_output, shipped_folder
from itembed_tf.program import Parser, add_settings, command_line, program, run_config
from itembed_tf.quiet import load_tensorflow

if TYPE_CHECKING:
    from itembed_tf.exporting import LiteRTExport, MeasuredFile, PcaResult
    from itembed_tf.retrieval import RetrievalTable

LITERT_DEFAULTS = {"text": "float32,float16,dynamic,int8", "image": "int8", "accept_loss": False}
EXAMPLES = """
  itembed export runs/openmoji exports/openmoji                          SavedModels
  itembed export runs/openmoji exports/small --pca 128                   shorter embeddings
  itembed export runs/openmoji exports/edge --to litert --text int8      LiteRT files
  itembed export runs/openmoji exports/onnx --to onnx                    ONNX files
  itembed export runs/openmoji exports/openmoji --to search --index photos.index
"""
LITERT_HEAD = (
    f"{'':31}{'MB':>7}{'ms':>8}  {'cosine to float32':19}{'R@1 image → text':20}{'R@1 text → image':20}"
    f"{'lost':>6}{'may':>6}\n{'':31}{'':7}{'':8}  {'mean':9}{'worst':10}{'(95 %)':20}{'(95 %)':20}"
)


@program
def main(argv: Sequence[str]) -> int:
    args = _arguments(argv)
    if args.index:
        return _export_search(args)
    if args.to == "onnx":
        require("itembed export --to onnx")
    run_config(args.run, args.set)
    load_tensorflow()
    exporters = {"litert": _export_litert, "onnx": _export_onnx, "saved_model": _export_saved_model}
    return exporters[args.to](args)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("export", __doc__, examples=EXAMPLES.strip("\n"))
    parser.add_argument("run", metavar="RUN", help="run directory of a finished run; for --to search also an export")
    parser.add_argument(
        "out",
        metavar="OUT",
        help="output folder; SavedModels get the next free version number there, other files are replaced",
    )
    parser.add_argument(
        "--to", default="saved_model", choices=("saved_model", "litert", "onnx", "search"), help="default: saved_model"
    )
    add_settings(parser, "override evaluation.flip, .crops, .shifts, image.fit, card, or the location of the dataset")
    saved_model = parser.add_argument_group("SavedModel and ONNX")
    saved_model.add_argument(
        "--pca",
        type=int,
        metavar="N",
        help="reduce the embeddings to N dimensions by PCA on train, and measure the loss on dev; reads the dataset",
    )
    saved_model.add_argument("--cut", type=int, dest="pca", help=argparse.SUPPRESS)  # its name in earlier versions
    search = parser.add_argument_group("search")
    search.add_argument("--index", metavar="INDEX", help="that the file searches; its encoders must be those of RUN")
    search.add_argument("--hits", type=int, metavar="N", help="hits of each query (default: 100)")
    litert = parser.add_argument_group("LiteRT (reads the dataset, to measure on dev)")
    lists = "precisions of the %s encoder, comma-separated, '' for none (default: %s)"
    litert.add_argument("--text", metavar="LIST", help=lists % ("text", LITERT_DEFAULTS["text"]))
    litert.add_argument("--image", metavar="LIST", help=lists % ("image", LITERT_DEFAULTS["image"]))
    litert.add_argument(
        "--accept-loss", action="store_true", default=None, help="also write files that lose more than allowed"
    )
    args = parser.parse_args(argv)
    check_output(args.out)
    if args.to == "litert" and args.pca is not None:
        parser.error("--pca is for --to saved_model and --to onnx")
    for name, default in LITERT_DEFAULTS.items():
        if getattr(args, name) is None:
            setattr(args, name, default)
        elif args.to != "litert":
            parser.error(f"--{name.replace('_', '-')} is for --to litert")
    if args.to == "search" and not args.index:
        parser.error("--to search needs --index INDEX")
    if args.index and args.to not in ("search", "litert"):
        parser.error("--index is for --to search, and for --to litert")
    if args.hits is not None and not (args.index and 1 <= args.hits <= 1000):
        parser.error(f"--hits is {args.hits}; it must be 1 to 1,000, with --index")
    if args.pca is not None and args.pca < 1:
        parser.error(f"--pca is {args.pca}; the minimum is 1")
    known = str(LITERT_DEFAULTS["text"]).split(",")
    for name in ("text", "image"):
        precisions = [word.strip() for word in getattr(args, name).split(",") if word.strip()]
        for precision in precisions:
            if precision not in known:
                parser.error(f"--{name}: no precision {precision!r}; allowed values: {', '.join(known)}")
        setattr(args, name, precisions)
    return args


def _export_saved_model(args: argparse.Namespace) -> int:
    from itembed_tf.exporting import export_saved_models

    export = export_saved_models(args.run, args.out, pca=args.pca, overrides=args.set)
    if export.pca:
        print(_pca_loss(export.pca))
    models, contract = export.models, export.models.contract
    for name, encoder in contract.encoders.items():
        print(f"{models.version_folder(name)}: {encoder.bytes / 1e6:.1f} MB; ", end="")
        difference = f"{encoder.parity.max_abs_difference:.1e} (tolerance {contract.tolerance:g})"
        print(f"maximum difference from the model {difference}")
    sizes = f"D = {contract.embedding_size}, L = {contract.length}"
    print(f"{models.contract_file}: contract {contract.contract[:16]}, {sizes}")
    print(export.calibration)
    for library in contract.needs:
        print(f"loading text_encoder needs the ops of {library}, which a stock TF Serving includes")
    print(f"next:\n  {command_line('serve', args.out)}")
    return 0


def _export_onnx(args: argparse.Namespace) -> int:
    from itembed_tf.exporting import TOLERANCE, export_onnx

    export = export_onnx(args.run, args.out, pca=args.pca, overrides=args.set)
    if export.pca:
        print(_pca_loss(export.pca))
    for each in export.files:
        difference = f"{each.parity.max_abs_difference:.1e} (tolerance {TOLERANCE:g})"
        print(f"{each.file}: {each.bytes / 1e6:.1f} MB; maximum difference from the model {difference}")
    print(f"{Path(args.out) / 'examples.json'}: texts and an image with their embeddings, to test an app against")
    print(f"contract {export.contract[:16]}; docs/onnx.md: how to call the files")
    return 0


def _export_search(args: argparse.Namespace) -> int:
    load_tensorflow()
    from itembed_tf.index.encoders import find_exports

    exports, out, k = find_exports(args.run), Path(args.out), args.hits or 100
    if args.to == "litert":
        from itembed_tf.index.search_litert import write_search_litert

        for file in write_search_litert(args.index, exports, out, k=k):
            print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
        print(f"next: {shipped_folder('export/edge') / 'README.md'} has tokenizers for apps (Python, JavaScript, Java)")
        return 0
    from itembed_tf.index.search_model import write_search_model

    folder = write_search_model(args.index, exports, out, k=k)
    print(f"{folder}: text or image in, ids and scores out; export again when the index has changed")
    print(f"next:\n  {command_line('serve', args.out)}")
    return 0


def _pca_loss(pca: PcaResult) -> str:
    from itembed_tf.evaluation.formatting import format_table

    share = f"{pca.kept_percent:.1f} % of the squared length of train's embeddings"
    before, after = format_table(pca.before), format_table(pca.after)
    head = f"PCA from {pca.dimensions_before} to {pca.dimensions} dimensions, which hold {share}"
    return f"{head}\nbefore:\n{before}\nafter:\n{after}"


def _export_litert(args: argparse.Namespace) -> int:
    from itembed_tf.exporting import export_litert

    export = export_litert(
        args.run, args.out, text=args.text, image=args.image, accept_loss=args.accept_loss, overrides=args.set
    )
    if export.files:
        print(litert_table(export))
    refused = [file for file in export.files if not file.written]
    for file in refused:
        print(f"error: {_refusal(file, args)}", file=sys.stderr)
    written = [file for file in export.files if file.written]
    for encoder in dict.fromkeys(file.encoder for file in written):
        print(f"{Path(args.out) / encoder}.json: the settings and the figures on dev, which each file also holds")
    if written:
        kit = shipped_folder("export/edge")
        print(f"next: {kit / 'README.md'} has tokenizers for apps (Python, JavaScript, Java) and a search example")
    return 1 if refused else 0


def litert_table(export: LiteRTExport) -> str:
    """The table of the LiteRT files: size, latency, cosine to float32, recall on dev with intervals, loss, budget."""
    lines = [export.files[0].table.protocol, LITERT_HEAD]
    for file in export.files:
        figures = f"{file.bytes / 1e6:7.2f}{file.ms:8.2f}  {file.cosine_mean:<9.5f}{file.cosine_worst:<10.5f}"
        note = "" if file.written else "  refused"
        lines.append(f"{file.file:31}{figures}{_recalls(file.table)}{file.loss:6.2f}{file.budget:6.2f}{note}")
    if export.both:
        lines.append(f"{'both in int8':31}{'':36}{_recalls(export.both)}{export.both_loss:6.2f}")
    return "\n".join(lines)


def _recalls(table: RetrievalTable) -> str:
    recalls = ""
    for figures in (table.image_query, table.text_query):
        low, high = figures.intervals["R@1"]
        recalls += f"{figures['R@1']:5.1f} ({low:4.1f} to {high:4.1f}) "
    return recalls


def _refusal(file: MeasuredFile, args: argparse.Namespace) -> str:
    option = f"--{file.encoder.partition('_')[0]}"
    return (
        f"{Path(args.out) / file.file} was not written: it loses {file.loss:.2f} points of R@1 on dev (mean of both "
        f"directions), and {file.precision} may lose {file.budget:.2f}. Use a finer precision ({option} float16), or "
        "--accept-loss to accept the loss"
    )


if __name__ == "__main__":
    sys.exit(main())
