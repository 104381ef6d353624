"""Build an index of images and sentences, or bring it up to date; delete, verify, compact, export.

Inputs are folders, glob patterns, images, tables with captions and columns of yours (.csv, .tsv, .jsonl, .json,
.parquet), text files of sentences (.txt), WebDataset shards (.tar), folders of `itembed prepare`, and run directories,
whose dataset is added. Given an index alone, all its sources are looked at again: what is new, changed or gone since.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from itembed_tf.errors import UserError
from itembed_tf.extras import require
from itembed_tf.files import check_output
from itembed_tf.index import upgrade_program
from itembed_tf.interruption import resumable
from itembed_tf.program import Parser, command_line, program

if TYPE_CHECKING:
    from itembed_tf.index.records import BuildReport

EXAMPLES = """
  itembed index runs/mine my_photos --out photos.index            a folder
  itembed index photos.index "more/**/*.jpg" shop/products.csv    and more, with the encoders of the index
  itembed index photos.index                                      what is new, changed or gone
  itembed index photos.index --delete my_photos/private
  itembed index photos.index --upgrade runs/newer                 other encoders; --rollback goes back
"""
RAY_WORKERS = 2
LISTED = 10  # files of one reason
ACTIONS = ("delete", "verify", "compact", "export", *upgrade_program.ACTIONS)


@program
def main(argv: Sequence[str]) -> int:
    args = _arguments(argv)
    if args.delete:
        return _delete(args)
    if args.verify:
        return _verify(args)
    if args.compact:
        return _compact(args)
    if args.export:
        return _export(args)
    if args.upgrade:
        return upgrade_program.upgrade(args, _result)
    if args.rollback:
        return upgrade_program.roll_back(args, _result)
    if args.discard_upgrade:
        return upgrade_program.discard(args, _result)
    return _build(args)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("index", __doc__, examples=EXAMPLES.strip("\n"))
    add = parser.add_argument
    add("first", metavar="RUN|EXPORTS|INDEX", help="where the encoders are: of a run, of an export, or of the index")
    add("inputs", nargs="*", metavar="INPUT", help="what to add; none: look again at all that the index has")
    add("--out", metavar="INDEX", help="folder of the index; it is made if there is none")
    add("--prune", action="store_true", help="also remove what is gone where that is more than a tenth of a source")
    add("--retry", action="store_true", help="also read files that were unreadable, or were deleted from the index")
    add("--image-column", default="", metavar="NAME", help="column of the images in a table, if its name is not known")
    add("--caption-column", default="", metavar="NAME", help="column of captions in a table; key or ending in .tar")
    add("--splits", default="", metavar="LIST", help="of a run's dataset (default: those it is trained on)")
    add("--engine", choices=("local", "ray"), default="local", help="ray: encode on a Ray cluster (RAY_ADDRESS)")
    add("--workers", type=int, metavar="N", help="processes that encode, with --engine ray (default: 2)")
    add("--json", action="store_true", help="print what was done as JSON")
    actions = parser.add_argument_group("with an index alone")
    add = actions.add_argument
    add("--delete", action="append", default=[], metavar="PLACE", help="an item, folder, source or pattern; repeatable")
    add("--verify", action="store_true", help="check everything, and say what to do")
    add("--compact", action="store_true", help="give the space of deleted items back to the disk")
    add("--export", metavar="FILE", help="write items and vectors as .parquet or .npz")
    upgrade_program.add_upgrade_options(parser)
    args = parser.parse_args(argv)
    chosen = [name for name in ACTIONS if getattr(args, name)]
    if len(chosen) > 1:
        parser.error(f"give one of {', '.join(map(_option, ACTIONS))}")
    if chosen and (args.inputs or args.out):
        parser.error(f"{_option(chosen[0])} takes an index alone: itembed index INDEX {_option(chosen[0])}")
    if args.bridge and not args.upgrade:
        parser.error("--bridge is for --upgrade")
    if args.workers is not None and (args.engine != "ray" or args.workers < 1):
        parser.error("--workers is for --engine ray, and at least 1")
    if args.out:
        check_output(args.out)
    return args


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _build(args: argparse.Namespace) -> int:
    from itembed_tf.index import is_index
    from itembed_tf.index.build import build_index
    from itembed_tf.index.sources import find_source

    if args.engine == "ray":
        require("itembed index --engine ray")
    own = is_index(args.first)
    if own and args.out and args.out != args.first:
        raise UserError(f"{args.first} is an index, and so --out {args.out} has no meaning; leave it out")
    index = args.first if own else args.out
    if not index:
        raise UserError(f"{args.first} is not an index; name the one to make or to add to with --out INDEX")
    if not args.inputs and not is_index(index):
        raise UserError(
            f"{index} does not exist, and there is nothing to add to it; give a folder of images, for example"
        )
    settings = {name: getattr(args, name) for name in ("image_column", "caption_column", "splits")}
    sources = [find_source(each, {k: v for k, v in settings.items() if v}) for each in args.inputs]
    words = [args.first, *args.inputs, *(["--out", args.out] if args.out else [])]
    words += ["--prune"] * args.prune + ["--retry"] * args.retry
    words += ["--engine", "ray", "--workers", str(args.workers or RAY_WORKERS)] if args.engine == "ray" else []
    words += [word for name, value in settings.items() if value for word in (f"--{name.replace('_', '-')}", value)]
    with resumable(command_line("index", *words)):
        report = build_index(
            index,
            sources,
            encoders=None if own else args.first,
            prune=args.prune,
            retry=args.retry,
            ray_workers=(args.workers or RAY_WORKERS) if args.engine == "ray" else 0,
        )
    if args.json:
        print(json.dumps(asdict(report), ensure_ascii=False, indent=1))
    else:
        _print(report, index)
    for line in report.kept:
        remove = command_line("index", index, "--prune")
        print(f"error: {line}; if they are to be removed: {remove}", file=sys.stderr)
    return 1 if report.kept else 0


def _print(report: BuildReport, index: str) -> None:
    from itembed_tf.index.engines import choose_engine

    counts = asdict(report)
    names = ("added", "changed", "described", "moved", "removed", "unchanged")
    done = ", ".join(f"{counts[name]:,} {_WORDS.get(name, name)}" for name in names if counts[name])
    for problem in report.problems:
        print(f"warning: {problem}", file=sys.stderr)
    _print_unreadable(report)
    print(f"{index}: {report.items:,} items{f'; {done}' if done else ''}")
    if report.items:
        engine = choose_engine(report.items)
        print(f"engine: {engine.name}, {engine.note or engine.reason}")
        print(f"next:\n  {command_line('search', index, 'a red boat on a quiet lake')}")
        print(f"  {command_line('demo', index)}")


_WORDS = {"described": "with other captions or fields"}


def _print_unreadable(report: BuildReport) -> None:
    if report.unreadable:
        print(f"{len(report.unreadable):,} files cannot be read, and are left out:", file=sys.stderr)
        reasons = Counter(report.unreadable.values())
        for reason, count in reasons.most_common():
            places = [place for place, own in report.unreadable.items() if own == reason]
            print(f"  {reason} ({count:,}):", file=sys.stderr)
            more = [f"... and {count - LISTED:,} more"] if count > LISTED else []
            print("\n".join(f"    {line}" for line in [*places[:LISTED], *more]), file=sys.stderr)
    if report.left_out:
        again = "were unreadable or deleted, and are the same since"
        print(f"{report.left_out:,} files {again}; --retry reads them again", file=sys.stderr)


def _delete(args: argparse.Namespace) -> int:
    from itembed_tf.index.maintenance import delete_matching

    deleted = delete_matching(args.first, args.delete)
    text = f"{args.first}: {deleted:,} items deleted; their files are untouched"
    _result(args, {"deleted": deleted}, text)
    return 0


def _verify(args: argparse.Namespace) -> int:
    from itembed_tf.index.verify import verify_index

    found = verify_index(args.first)
    for problem in found.problems:
        print(f"error: {problem}", file=sys.stderr)
    text = f"{args.first}: {found.items:,} items, {found.vectors:,} vectors, contract {found.contract[:16]}; "
    text += f"{len(found.problems)} problems" if found.problems else "all of it fits together"
    _result(args, asdict(found), text)
    return 1 if found.problems else 0


def _compact(args: argparse.Namespace) -> int:
    from itembed_tf.index.build import derive
    from itembed_tf.index.maintenance import compact

    done = compact(args.first)
    derive(args.first)
    _result(args, asdict(done), f"{args.first}: {done.before / 1e6:,.1f} MB before, {done.after / 1e6:,.1f} MB now")
    return 0


def _export(args: argparse.Namespace) -> int:
    from itembed_tf.index.export_items import export_items

    count = export_items(args.first, args.export)
    _result(args, {"file": args.export, "items": count}, f"{args.export}: {count:,} items with their vectors")
    return 0


def _result(args: argparse.Namespace, values: dict[str, Any], text: str) -> None:
    print(json.dumps(values, ensure_ascii=False) if args.json else text)


if __name__ == "__main__":
    sys.exit(main())
