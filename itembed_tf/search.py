"""Search an index by a sentence, an image or one of its items; print the hits as a table or as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itembed_tf.program import Parser, command_line, program, read_image_option

if TYPE_CHECKING:
    from itembed_tf.index import Answer, Query, Searcher

EXAMPLES = """
  itembed search photos.index "a black dog with a red collar"
  itembed search photos.index "a dog" --minus snow --where "year >= 2020 and folder like 'holidays%'"
  itembed search photos.index --image beach.jpg --open
  itembed search photos.index --like 17 --sort date
"""
DEFAULTS: dict[str, Any] = {  # of the options that decide what is found
    "image": None,
    "like": None,
    "minus": "",
    "where": "",
    "by": "both",
    "sort": "relevance",
    "limit": 20,
    "engine": "auto",
}


@program
def main(argv: Sequence[str]) -> int:
    args = _arguments(argv)
    from itembed_tf.index import Query, open_searcher  # takes longer than the check of the arguments

    query = Query(
        text=args.text or "",
        image=read_image_option(args.image) if args.image else None,
        like=args.like,
        minus=args.minus,
        where=args.where,
        by=args.by,
        sort=args.sort,
        limit=args.limit,
        offset=args.offset,
        corrected=not args.no_correction,
    )
    searcher = open_searcher(args.index, args.engine)
    try:
        answer = searcher.search(query)
        if args.json:
            from itembed_tf.index.answers import answer_json

            print(json.dumps(answer_json(answer), ensure_ascii=False, indent=1))
        else:
            _print_table(answer)
        _print_notes(searcher, query, answer)
        if args.open:
            _open_page(searcher, answer, _title(args))
        if not args.json:
            _print_next(args, query, answer)
    finally:
        searcher.close()
    return 0


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("search", __doc__, examples=EXAMPLES.strip("\n"))
    add = parser.add_argument
    add("index", metavar="INDEX", help="folder that `itembed index` wrote")
    add("text", nargs="?", metavar="TEXT", help="what to look for; without it, --image or --like, all items are listed")
    add("--image", metavar="FILE", help="look for what is similar to an image")
    add("--like", type=int, metavar="ID", help="look for what is similar to an item of the index")
    add("--minus", metavar="TEXT", help="what the hits should not show; its vector is subtracted")
    add("--where", metavar="SQL", help='only items for which this is true, such as "year >= 2020"')
    add("--by", choices=("both", "vector", "text"), help="default: both, fused")
    add("--sort", choices=("relevance", "date"), help="date: the best 200 hits, newest first")
    add("--limit", type=int, metavar="N", help="hits to show (default: %(default)s)")
    add("--offset", type=int, default=0, metavar="N", help="hits to skip before them (default: %(default)s)")
    add("--engine", metavar="NAME", help="default: chosen by the size of the index")
    add("--no-correction", action="store_true", help="without the hubness correction")
    add("--open", action="store_true", help="show the hits with their thumbnails in the browser")
    add("--json", action="store_true", help="print the hits as JSON")
    parser.set_defaults(**DEFAULTS)
    args = parser.parse_args(argv)
    if sum(value is not None for value in (args.text, args.image, args.like)) > 1:
        parser.error("give one of TEXT, --image and --like")
    return args


def _title(args: argparse.Namespace) -> str:
    asked = args.text or args.image or (f"like item {args.like}" if args.like is not None else "all items")
    return f"{asked} − {args.minus}" if args.minus else str(asked)


def _print_table(answer: Answer) -> None:
    rows = [("score", "band", "found by", "date", "id", "path")]
    for hit in answer.hits:
        score = "" if hit.score is None else f"{hit.score:.3f}"
        copies = f"  ({hit.copies} copies)" if hit.copies > 1 else ""
        sentence = f"  {hit.item.captions[0]}" if hit.item.kind == "text" and hit.item.captions else ""
        path = _printable(hit.item.place + sentence) + copies
        rows.append((score, hit.band, ", ".join(hit.found_by), (hit.item.date or "")[:10], str(hit.item.id), path))
    shown = [i for i in range(len(rows[0])) if any(row[i] for row in rows[1:])]  # no empty columns
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows if answer.hits else ():
        print("  ".join(row[i].ljust(widths[i]) for i in shown).rstrip())
    if not answer.hits:
        print("nothing was found" if answer.matching else "no item matches the filter")


def _printable(text: str) -> str:
    """A file name may hold control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _print_notes(searcher: Searcher, query: Query, answer: Answer) -> None:
    calibration = searcher.calibration() if any(hit.band for hit in answer.hits) else None
    if calibration:
        bands = calibration.bands.get("text_to_image" if query.text else "image_to_image", ())
        print("; ".join(band.describe() for band in bands), file=sys.stderr)
    if answer.unknown_words:
        print(f"words that training never saw: {', '.join(map(_printable, answer.unknown_words))}", file=sys.stderr)
    for note in (*answer.notes, *filter(None, [searcher.note])):
        print(f"note: {_printable(note)}", file=sys.stderr)


def _print_next(args: argparse.Namespace, query: Query, answer: Answer) -> None:
    if len(answer.hits) == query.limit:
        more = command_line(*_words(args), "--offset", str(query.offset + query.limit))
        print(f"hits {query.offset + 1:,} to {query.offset + query.limit:,}; more: {more}", file=sys.stderr)
    if answer.hits and query.like is None:
        like = command_line("search", args.index, "--like", str(answer.hits[0].item.id))
        print(f"similar to the first: {like}", file=sys.stderr)


def _words(args: argparse.Namespace) -> list[str]:
    """The command line that was given, without --offset and what only concerns the output."""
    words = ["search", args.index, *([args.text] if args.text else [])]
    for name, default in DEFAULTS.items():
        value = getattr(args, name)
        if value != default:
            words += [f"--{name}", str(value)]
    return [*words, "--no-correction"] if args.no_correction else words


def _open_page(searcher: Searcher, answer: Answer, title: str) -> None:
    from itembed_tf.index.page import results_page

    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix="itembed_search_", suffix=".html", delete=False
    ) as file:
        file.write(results_page(searcher, answer, title))
    print(f"page: {file.name}", file=sys.stderr)
    webbrowser.open(Path(file.name).as_uri())


if __name__ == "__main__":
    sys.exit(main())
