"""The options ``--upgrade``, ``--rollback`` and ``--discard-upgrade`` of ``itembed index``, and what they print."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import closing
from typing import Any

from itembed_tf.index.database import reading, writing
from itembed_tf.index.lessons import read_lessons
from itembed_tf.index.records import Generation
from itembed_tf.interruption import resumable
from itembed_tf.program import command_line

ACTIONS = ("upgrade", "rollback", "discard_upgrade")
LISTED = 10  # items that could not be encoded

Result = Callable[[argparse.Namespace, dict[str, Any], str], None]  # prints JSON or a line


def add_upgrade_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("other encoders, with an index alone")
    add = group.add_argument
    add("--upgrade", metavar="RUN", help="change the index to the encoders of a run or an export; searched meanwhile")
    add(
        "--bridge",
        type=int,
        default=0,
        metavar="N",
        help="encode N images first, and search the others through a map learned on them until they are encoded",
    )
    add("--rollback", action="store_true", help="go back to the encoders before the last upgrade")
    add("--discard-upgrade", action="store_true", help="give up an upgrade that is not finished")


def upgrade(args: argparse.Namespace, result: Result) -> int:
    from itembed_tf.index.upgrading import upgrade_index

    bridge = ["--bridge", str(args.bridge)] if args.bridge else []
    with resumable(command_line("index", args.first, "--upgrade", args.upgrade, *bridge)):
        done = upgrade_index(
            args.first,
            args.upgrade,
            bridge_items=args.bridge,
            report=lambda line: print(line, file=sys.stderr, flush=True),
        )
    for place, reason in list(done.unreadable.items())[:LISTED]:
        print(f"warning: {place} is {reason}; it keeps its mapped vector", file=sys.stderr)
    values = {
        "contract": done.generation.contract,
        "encoded": done.encoded,
        "mapped": done.mapped,
        "unreadable": done.unreadable,
        "bridge_recall_at_10": done.bridge.recall if done.bridge else None,
        "lessons_not_applied": _not_applied(args.first, done.generation),
    }
    text = f"{args.first}: {done.encoded:,} items encoded, contract {done.generation.contract[:16]}"
    if done.mapped:
        text += f"; {done.mapped:,} still have a mapped vector, give the command again to encode them"
    result(args, values, f"{text}\nto go back:\n  {command_line('index', args.first, '--rollback')}")
    return 0


def _not_applied(index: str, generation: Generation) -> dict[str, str]:
    """Names of lessons that the encoders do not have, and why."""
    with closing(reading(index)) as connection:
        return {lesson.name: lesson.problem for lesson in read_lessons(connection, generation) if lesson.problem}


def roll_back(args: argparse.Namespace, result: Result) -> int:
    from itembed_tf.index.build import derive
    from itembed_tf.index.upgrade import roll_back as back

    with writing(args.first) as connection:
        generation = back(connection)
    derive(args.first)
    text = f"{args.first}: searched by the encoders {generation.contract[:16]} again; --rollback goes forward again"
    result(args, {"contract": generation.contract}, text)
    return 0


def discard(args: argparse.Namespace, result: Result) -> int:
    from itembed_tf.index.upgrade import discard_upgrade

    with writing(args.first) as connection:
        count = discard_upgrade(connection)
    result(args, {"discarded": count}, f"{args.first}: {count:,} vectors of an unfinished upgrade removed")
    return 0
