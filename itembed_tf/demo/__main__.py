"""Open a search page in the browser: over indexes, or over the images of a run, which are indexed first."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from itembed_tf.errors import UserError
from itembed_tf.extras import require
from itembed_tf.program import Parser, program

EXAMPLES = """
  itembed demo runs/openmoji                          index the images of a run's dataset, and search them
  itembed demo photos.index                           an index that `itembed index` wrote
  itembed demo runs/mine/demo.index runs/other/demo.index    two runs side by side
"""
MAX_INDEXES = 4  # side by side; more would be too narrow to see anything
PORT = 8600  # the same at the next start, so that links, and a page that is still open, go on working
SPLITS = ("all", "test", "dev", "train")


@program
def main(argv: Sequence[str]) -> int:
    args = _arguments(argv)
    require("itembed demo")
    folders = [_folder(Path(given), args.split) for given in args.inputs]
    from itembed_tf.demo.access import LOOPBACK
    from itembed_tf.demo.page_api import PageApi
    from itembed_tf.demo.searched_index import SearchedIndex
    from itembed_tf.demo.service import open_browser, serve_page

    def opened(url: str) -> None:
        print(f"search page: {url}", flush=True)
        if args.host not in LOOPBACK:
            print("warning: whoever can reach this machine can see the images, unencrypted", file=sys.stderr)
        print("Ctrl-C stops it", file=sys.stderr, flush=True)
        if args.browser:
            open_browser(url)

    with ExitStack() as stack:
        indexes = [stack.enter_context(closing(SearchedIndex(folder))) for folder in folders]
        ports = (PORT, 0) if args.port is None else (args.port,)
        for index in indexes:
            index.warm_up()
            if index.searcher.note:
                print(f"note: {index.searcher.note}", file=sys.stderr)
        api = PageApi(indexes, may_teach=args.host in LOOPBACK)
        asyncio.run(serve_page(api, host=args.host, ports=ports, opened=opened))
    return 0


def _folder(given: Path, split: str) -> Path:
    """The index to open: as it was given, or that of a run, made or brought up to date now."""
    if given.is_dir() and _is_index(given):
        return given
    if (given / "config.toml").is_file():
        from itembed_tf.demo.run_index import index_run

        return index_run(given, split)
    raise UserError(
        f"{given} is neither an index nor a run directory; `itembed index RUN INPUT --out {given}` makes an index, "
        f"`itembed train CONFIG {given}` a run"
    )


def _is_index(folder: Path) -> bool:
    from itembed_tf.index import is_index  # imports NumPy

    return is_index(folder)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("demo", __doc__, examples=EXAMPLES.strip("\n"))
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INDEX|RUN", help="index that `itembed index` wrote, or run directory; up to 4")
    add("--split", choices=SPLITS, default="all", help="of a run: the images to search (default: %(default)s)")
    add("--port", type=int, metavar="PORT", help=f"default: {PORT}, or any free one if that is in use")
    add("--host", default="127.0.0.1", help="0.0.0.0 shows the page, unencrypted, to other machines too")
    add("--no-browser", dest="browser", action="store_false", help="print the URL, and open no browser")
    args = parser.parse_args(argv)
    if args.port is not None and not 0 <= args.port < 65536:
        parser.error(f"--port is {args.port}; it must be from 0 to 65535")
    if len(args.inputs) > MAX_INDEXES:
        parser.error(f"{len(args.inputs)} indexes; at most {MAX_INDEXES} are shown side by side")
    return args


if __name__ == "__main__":
    sys.exit(main())
