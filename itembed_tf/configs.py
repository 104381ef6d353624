"""List the configs that come with the package, print one, or list all settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from itembed_tf.config import describe_keys, dump_config, list_configs, load_config, resolve_config
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
    parser.add_argument("--all", action="store_true", help="with --settings: also those that replicate published code")
    args = parser.parse_args(argv)
    if args.resolved and not args.config:
        parser.error("--resolved needs CONFIG")
    if args.settings:
        print(describe_keys(advanced=args.all))
    elif args.config:
        named = resolve_config(args.config)
        config = load_config(named.path, named.overrides)
        print(dump_config(config) if args.resolved else named.path.read_text(encoding="utf-8"), end="")
    else:
        _list(args.json)
    return 0


def _list(as_json: bool) -> None:
    folder = shipped_folder("configs")
    rows = [
        {"name": name, "file": str(folder / f"{name}.toml"), "summary": summary} for name, summary in list_configs()
    ]
    if as_json:
        print(json.dumps(rows))
        return
    width = max(len(row["name"]) for row in rows) + 2
    for row in rows:
        print(f"{row['name']:{width}}{row['summary']}")
    print(f"\nThe files are in {folder}. To print one: {command_line('configs', rows[0]['name'])}")


if __name__ == "__main__":
    sys.exit(main())
