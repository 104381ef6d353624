"""Fault injection: does every reader report every kind of invalid input with a clear error?

    python -m benchmarks.bad_data [--quick] [--errors]

Miniature copies of all datasets are damaged in one way at a time (benchmarks/broken_inputs.py) and read. A test case
passes if the reader raises a plain ValueError or FileNotFoundError that has the file (or the setting), says what to do,
and is printable; if the training program then exits with 1 and the same error, without a traceback; and if the data is
unchanged and the run directory has a complete config.toml and nothing else. For settings the error of the program may
be another one, and the exit code 2. Harmless changes, such as a byte-order mark, CRLF and UTF-16, must not change what
is read; where a damaged part is left out, a warning must name it.

The figure is the number of failures. --errors prints every error message; --quick gives the training program one input
of each kind.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.breaking import Break
from benchmarks.broken_inputs import breaks
from benchmarks.miniatures import MINIATURES, Miniature
from benchmarks.runner import print_versions, verdict
from itembed_tf.config import arguments, load_config
from itembed_tf.config.schema import Dataset
from itembed_tf.data.readers import Group, coco, read_dataset

ADVICE = re.compile(
    r"\b(must|allowed|docs/|save it|write|give|keep|use|download|remove|delete|choose|put|needs?|add|repair|restore|set"
    r"|rerun|raise the|name a|one of|run:? `?(git|pip|itembed|gunzip))",  # "run" alone stands in "run directory" too
    re.IGNORECASE,
)
MAX_CHARACTERS = 8000  # of an error message
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # thousands of small files
Main = Callable[[Sequence[str]], int]


@dataclass(frozen=True)
class Result:
    """One damaged copy: what is wrong with the error (nothing, if it is good), and its message."""

    reader: str
    kind: str
    problems: list[str]
    message: str


def dataset_settings(copy: Miniature, root: Path) -> dict[str, Any]:
    """Settings of the dataset section for this copy."""
    return {"name": copy.dataset, copy.setting: str(root), "split_by": copy.split_by}


def read(copy: Miniature, root: Path, settings: dict[str, Any]) -> list[Group]:
    return read_dataset(**arguments(Dataset(**(dataset_settings(copy, root) | settings))))


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def message_problems(text: str, names: str) -> list[str]:
    """What is wrong with an error message."""
    problems = [] if names in text else [f"does not have {names}"]
    problems += [] if ADVICE.search(text) else ["does not say what to do"]
    problems += [] if len(text) <= MAX_CHARACTERS else [f"has {len(text):,} characters"]
    odd = re.search("[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]", text)
    return problems + ([f"has the unprintable {odd.group()!r}"] if odd else [])


def reader_problems(copy: Miniature, case: Break, root: Path, intact: list[Group]) -> tuple[list[str], str]:
    """Problems of the reader's result, and the error message or a summary."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            groups = read(copy, root, case.settings or {})
    except Exception as error:
        if case.harmless or case.in_images or case.warns:
            return ["is an unexpected error"], repr(error)
        plain = [] if type(error) in (ValueError, FileNotFoundError) else [f"is a {type(error).__name__}"]
        return plain + message_problems(str(error), case.names.replace("<root>", str(root))), str(error)
    if case.warns:
        said = "\n".join(str(each.message) for each in caught)
        problems = [] if groups and case.names in said else [f"is no warning of {case.names}"]
        return problems + ([] if groups != intact else ["leaves nothing out"]), said
    if case.harmless:
        return ([] if groups == intact else ["differs from that of the intact copy"]), f"{len(groups)} groups"
    return ([] if case.in_images else ["is no error"]), f"{len(groups)} groups"


def program_problems(main: Main, copy: Miniature, case: Break, root: Path, message: str) -> list[str]:
    """Problems of the training program's error, exit code and run directory."""
    settings = dataset_settings(copy, root) | (case.settings or {})
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        run = Path(folder) / "run"
        command = ["", str(run), "--set", "stages.0.epochs=0"]
        for key, value in settings.items():
            value = list(value) if isinstance(value, tuple) else value
            command += ["--set", f"dataset.{key}={json.dumps(value)}"]
        out, errors = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                code = main(command)
        except BaseException as error:
            return [f"makes the training program raise {type(error).__name__}"]
        text = errors.getvalue()
        allowed = (1, 2) if case.settings else (1,)
        problems = [] if code in allowed else [f"makes the training program exit with {code}"]
        problems += ["shows a traceback"] if "Traceback" in text else []
        if case.in_images or case.settings:  # settings may be refused before the data is read
            problems += message_problems(text[text.find("error: ") :], case.names)
        elif f"error: {message}\n" not in text:
            problems += ["differs from that of the training program"]
        files = contents(run) if run.exists() else {}
        problems += [f"leaves {sorted(files)}"] if set(files) - {"config.toml"} else []
        if "config.toml" in files:
            load_config(run / "config.toml")
    return problems


def check(main: Main, name: str, copy: Miniature, done: set[str] | None) -> list[Result]:
    """Damage the copy in every way, one at a time.

    Args:
        main: the training program.
        name: of the reader.
        copy: of its dataset.
        done: kinds of damage that the program has met and need not meet again; None gives it all of them.
    """
    results = []
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        root = Path(folder)
        copy.write(root)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            intact, files = read(copy, root, {}), contents(root)
        for case in breaks(copy):
            met = done is not None and case.kind in done
            if case.in_images and met:
                continue
            case.do(root)
            before = contents(root)
            problems, message = reader_problems(copy, case, root, intact)
            if not (met or case.harmless or case.warns or "is no error" in problems):
                problems = problems + program_problems(main, copy, case, root, message)
                if done is not None:
                    done.add(case.kind)
            problems += [] if contents(root) == before else ["changes the data"]
            results.append(Result(name, case.kind, problems, message.replace(folder, "ROOT")))
            restore(root, files)
    print(f"{name:26}{len(results):5}{sum(bool(each.problems) for each in results):5}", flush=True)
    return results


def restore(root: Path, files: dict[str, bytes]) -> None:
    """Repair the copy, writing only what has changed."""
    for path in sorted(root.rglob("*"), reverse=True):  # files come before their folder
        if path.is_symlink() or (path.is_file() and str(path.relative_to(root)) not in files):
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    existing = contents(root)
    for name, data in files.items():
        if existing.get(name) != data:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="give the training program one input of each kind")
    parser.add_argument("--errors", action="store_true", help="print every error message")
    args = parser.parse_args(argv)
    from itembed_tf.train import main as program

    done: set[str] | None = set() if args.quick else None
    print_versions()
    print(f"\n{'reader':26}{'cases':>6}{'bad':>5}")
    with mock.patch.dict(coco.RANDOM_SIZES, {"test": 2, "dev": 2}):  # of 12 images instead of 123,287
        results = [each for name, copy in MINIATURES.items() for each in check(program, name, copy, done)]
    kinds: dict[str, list[Result]] = defaultdict(list)
    for each in results:
        kinds[each.kind].append(each)
    print(f"\n{'kind':44}{'readers':>8}{'bad':>5}")
    for kind, of_kind in kinds.items():
        print(f"{kind:44}{len(of_kind):8}{sum(bool(each.problems) for each in of_kind):5}")
    for each in results:
        if each.problems or args.errors:
            outcome = "the error " + ", ".join(each.problems) if each.problems else "good"
            print(f"\n{each.reader}, {each.kind}: {outcome}\n  {each.message[:1500]!r}")
    bad = sum(bool(each.problems) for each in results)
    print(f"\n{len(results)} invalid inputs of {len(kinds)} kinds to {len(MINIATURES)} readers")
    return verdict("bad_data", f"{bad} bad errors", "0", bad == 0)


if __name__ == "__main__":
    sys.exit(main())
