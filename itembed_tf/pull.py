"""Download an export that `itembed push` uploaded to Hugging Face, and check it.

Names and sizes are checked before the download, then SHA-256 and contract hash; files that no export has, such as
pickles, are refused. Private repositories need an access token: `hf auth login`, or HF_TOKEN.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from itembed_tf.files import check_output
from itembed_tf.program import Parser, command_line, program

EXAMPLES = """
  itembed pull me/emoji-search exports/emoji
  itembed pull me/emoji-search exports/emoji --revision v1 --contract 0f3a92c51b7d8e64
"""


@program
def main(argv: Sequence[str]) -> int:
    parser = Parser("pull", __doc__, examples=EXAMPLES.strip("\n"))
    parser.add_argument("repository", metavar="REPO", help="OWNER/NAME")
    parser.add_argument("out", metavar="OUT", help="new folder; an existing one is not overwritten")
    parser.add_argument("--revision", default="main", help="branch, tag or commit (default: main)")
    parser.add_argument("--contract", default="", metavar="HASH", help="the expected contract hash, or its beginning")
    args = parser.parse_args(argv)
    check_output(args.out)
    from itembed_tf.sharing import pull_export

    pulled = pull_export(args.repository, args.out, revision=args.revision, contract=args.contract)
    print(f"{pulled.folder}: {pulled.files} files, {pulled.bytes / 1e6:.1f} MB, contract {pulled.contract[:16]}")
    print(f"commit {pulled.commit}\nnext:\n  {command_line('serve', args.out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
