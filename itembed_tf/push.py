"""Upload an export to a repository of Hugging Face, with its model card.

The access token is that of `hf auth login` or of the environment variable HF_TOKEN; HF_ENDPOINT names another server.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from itembed_tf.extras import require
from itembed_tf.program import Parser, command_line, program

EXAMPLES = """
  itembed push exports/openmoji me/emoji-search
  itembed push exports/openmoji me/emoji-search --private
"""


@program
def main(argv: Sequence[str]) -> int:
    parser = Parser("push", __doc__, examples=EXAMPLES.strip("\n"))
    parser.add_argument("export", metavar="EXPORT", help="folder that `itembed export RUN EXPORT` wrote")
    parser.add_argument("repository", metavar="REPO", help="OWNER/NAME; created where there is none")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--message", default="", help="message of the commit (default: names the contract hash)")
    args = parser.parse_args(argv)
    require("itembed push")
    from itembed_tf.sharing import push_export

    pushed = push_export(args.export, args.repository, private=args.private, message=args.message)
    print(f"{pushed.address}: {pushed.files} files, {pushed.bytes / 1e6:.1f} MB, contract {pushed.contract[:16]}")
    print(f"next:\n  {command_line('pull', args.repository, 'OUT', '--contract', pushed.contract[:16])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
