"""Serve an index to agents by the Model Context Protocol (MCP) over standard input and output; nothing is written."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from itembed_tf.extras import require
from itembed_tf.program import Parser, program

EXAMPLES = """
  itembed mcp photos.index

  In the settings of an agent: command "itembed", arguments ["mcp", "/home/me/photos.index"].
"""


@program
def main(argv: Sequence[str]) -> int:
    parser = Parser("mcp", __doc__, examples=EXAMPLES.strip("\n"))
    parser.add_argument("index", metavar="INDEX", help="folder that `itembed index` wrote")
    args = parser.parse_args(argv)
    require("itembed mcp")
    from itembed_tf.index import open_searcher

    searcher = open_searcher(args.index)
    try:
        from itembed_tf.index.mcp_tools import make_server

        make_server(searcher).run()
    finally:
        searcher.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
