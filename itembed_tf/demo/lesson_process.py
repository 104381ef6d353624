"""One lesson, or the undoing of one, in a process of its own: TensorFlow stays out of the server, and searches go on.

The request is JSON on standard input, ``{"index": FOLDER, "name": NAME, "items": [ID, ...]}`` or ``{"index": FOLDER,
"undo": NUMBER}``; the last line of standard output is ``{"lesson": ...}`` or ``{"error": LINE}``. Steps are on standard
error.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from itembed_tf.expected_errors import error_line
from itembed_tf.progress import Steps
from itembed_tf.quiet import load_tensorflow, quiet_tensorflow

LOAD, LEARN = "load TensorFlow", "learn, and check on dev"
NICE = 5  # searches of the page go first


def main() -> int:
    os.nice(NICE)
    quiet_tensorflow()
    request = json.load(sys.stdin)
    try:
        result: dict[str, Any] = {"lesson": _lesson(request)}
    except Exception as error:
        line = error_line(error)
        if line is None:
            raise
        result = {"error": line}
    print(json.dumps(result, ensure_ascii=False), flush=True)
    return 1 if "error" in result else 0


def _lesson(request: dict[str, Any]) -> dict[str, Any]:
    from itembed_tf.index.lessons import lesson_json

    steps = Steps([LOAD, LEARN])
    steps.start(LOAD)
    load_tensorflow()
    from itembed_tf.index.teaching import teach, unlearn

    steps.start(LEARN)
    if "undo" in request:
        return lesson_json(unlearn(request["index"], request["undo"]))
    return lesson_json(teach(request["index"], request["name"], items=request["items"]))


if __name__ == "__main__":
    sys.exit(main())
