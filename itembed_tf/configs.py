"""List the configs that come with the package, print one, or list all settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from itembed_tf.config import describe_keys, dump_config, named_config
from itembed_tf.files import shipped_folder
from itembed_tf.program import Parser, command_line, program

EXAMPLES = """
  itembed configs                       all configs, one line each
  itembed configs flickr8k_best         the file of one
  itembed configs photos --resolved     all its settings, with the defaults
  itembed configs --settings            every setting: default, meaning, allowed values
"""


@program
def main(argv: Sequence[str]) -> int:
    parser = Parser("configs", __doc__, examples=EXAMPLES.strip("\n"))
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="print this config instead of the list")
    parser.add_argument("--resolved", action="store_true", help="print all settings of CONFIG, with the defaults")
    parser.add_argument("--settings", action="store_true", help="list every setting of a config")
    parser.add_argument("--json", action="store_true", help="print the list as JSON: name, file and summary of each")
    args = parser.parse_args(argv)
    if args.resolved and not args.config:
        parser.error("--resolved needs CONFIG")
    if args.settings:
        print(describe_keys())
    elif args.config:
        args.set, args.out = [], None
        config, _ = named_config(args)
        print(dump_config(config) if args.resolved else Path(args.config).read_text(encoding="utf-8"), end="")
    else:
        _list(args.json)
    return 0


def _list(as_json: bool) -> None:
    folder = shipped_folder("configs")
    files = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.toml"))}
    rows = [{"name": name, "file": str(path), "summary": _summary(path)} for name, path in files.items()]
    if as_json:
        print(json.dumps(rows))
        return
    width = max(len(row["name"]) for row in rows) + 2
    for row in rows:
        print(f"{row['name']:{width}}{row['summary']}")
    print(f"\nThe files are in {folder}. To print one: {command_line('configs', rows[0]['name'])}")


def _summary(path: Path) -> str:
    """The first comment line of a config."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip()


if __name__ == "__main__":
    sys.exit(main())
