"""Teach an index the name of what images show, so that a search for the name finds them and others like them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from itembed_tf.errors import UsageError
from itembed_tf.program import Parser, command_line, program, read_image_option

if TYPE_CHECKING:
    from itembed_tf.teaching import Lesson

EXAMPLES = """
  itembed teach photos.index "our cinnamon roll" --image roll.jpg
  itembed teach photos.index "Aunt Mary" --item 17 42
  itembed teach photos.index --list
  itembed teach photos.index --undo
"""


@program
def main(argv: Sequence[str]) -> int:
    args = _arguments(argv)
    if args.list:
        return _list(args)
    if args.name and not (args.image or args.item):
        raise UsageError(f"a lesson is a name and images: add --image FILE or --item ID to {args.name!r}")
    images = [read_image_option(file) for file in args.image]
    from itembed_tf.index.database import reading
    from itembed_tf.index.generations import current_generation
    from itembed_tf.index.lessons import lesson_json
    from itembed_tf.index.teaching_data import missing_data
    from itembed_tf.teaching import TeachingError

    with closing(reading(args.index)) as connection:  # what is refused is refused before TensorFlow is imported
        generation = current_generation(connection)
        if args.name and not args.run and generation and (missing := missing_data(args.index, generation)):
            raise TeachingError(missing)
    from itembed_tf.quiet import load_tensorflow

    load_tensorflow()
    from itembed_tf.index.teaching import teach, unlearn

    if args.undo is not None:
        lesson = unlearn(args.index, args.undo or None)
        print(json.dumps(lesson_json(lesson)) if args.json else f"lesson {lesson.number}, {lesson.name!r}, is undone")
        return 0
    lesson = teach(args.index, args.name, items=args.item, images=images, run=args.run)
    if args.json:
        print(json.dumps(lesson_json(lesson), ensure_ascii=False))
        return 0
    words = f"; new words: {', '.join(lesson.words)}" if lesson.words else ""
    print(f"lesson {lesson.number}: {lesson.name!r}, {_count(lesson)}{words}")
    print(
        f"R@1 on dev, mean of both directions: {lesson.recall_before:.2f} % before, {lesson.recall_after:.2f} % after"
    )
    print(f"next:\n  {command_line('search', args.index, lesson.name)}")
    return 0


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("teach", __doc__, examples=EXAMPLES.strip("\n"))
    add = parser.add_argument
    add("index", metavar="INDEX", help="folder that `itembed index` wrote")
    add("name", nargs="?", metavar="NAME", help="what to search for later; it may have words that are new")
    add("--image", nargs="+", default=[], metavar="FILE", help="images of it")
    add("--item", nargs="+", type=int, default=[], metavar="ID", help="images of it that the index has")
    add(
        "--run",
        metavar="RUN",
        help="run with which the index was built, for an index without data of lessons; reads its dataset",
    )
    add("--list", action="store_true", help="list the lessons")
    add("--undo", nargs="?", type=int, const=0, metavar="N", help="undo lesson N, the last one by default")
    add("--json", action="store_true", help="print the lessons as JSON")
    args = parser.parse_args(argv)
    given = bool(args.name or args.image or args.item)
    if sum((given, args.list, args.undo is not None)) != 1:
        parser.error("give a NAME with --image or --item, or --list, or --undo")
    if given and not args.name:
        parser.error("NAME is missing: what are these images to be called?")
    if args.undo is not None and args.undo < 0:
        parser.error(f"--undo is {args.undo}; `itembed teach INDEX --list` shows the numbers of the lessons")
    return args


def _list(args: argparse.Namespace) -> int:
    from itembed_tf.index.database import reading
    from itembed_tf.index.generations import current_generation
    from itembed_tf.index.lessons import lesson_json, read_lessons

    with closing(reading(args.index)) as connection:
        generation = current_generation(connection)
        lessons = read_lessons(connection, generation) if generation else []
    if args.json:
        print(json.dumps([lesson_json(lesson) for lesson in lessons], ensure_ascii=False, indent=1))
        return 0
    for each in lessons:
        recall = f"R@1 on dev {each.recall_before:.2f} to {each.recall_after:.2f} %"
        state = f"not applied: {each.problem}" if each.problem else recall
        print(f"{each.number:4}  {each.created[:10]}  {each.name}  ({_count(each)}; {state})")
    if not lessons:
        print("no lessons")
    return 0


def _count(lesson: Lesson) -> str:
    return "1 image" if len(lesson.images) == 1 else f"{len(lesson.images)} images"


if __name__ == "__main__":
    sys.exit(main())
