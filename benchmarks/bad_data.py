"""Does every reader answer every kind of broken input with a clear error, and leave nothing half-written?

    python -m benchmarks.bad_data [--quick] [--answers]

Whole copies of all data sets in miniature are broken in one way at a time (benchmarks/broken_inputs.py) and read. An
answer is good where the reader raises a plain ValueError or FileNotFoundError that names the file (or the setting),
says what to do, and can be printed; where the training program then ends with 1 and that very error (of a setting, one
as good), without a traceback; and where the data are as they were and the run directory holds a whole config.toml and
nothing else. What does no harm, a byte-order mark and CRLF, must be read as if it were not there.

The figure is the number of bad answers. --answers prints every answer; --quick does without the training program.
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
    r"\b(must|docs/|save it|write|give|keep|choose|ask|put|needs?|take|add|repair|pack the|one of)", re.IGNORECASE
)
LONGEST = 8000  # letters of an error
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # thousands of small files
Main = Callable[[Sequence[str]], int]


def of_copy(copy: Miniature, root: Path) -> dict[str, Any]:
    """Settings of the dataset section that read this copy."""
    return {"name": copy.dataset, copy.setting: str(root), "split_by": copy.split_by}


def read(copy: Miniature, root: Path, settings: dict[str, Any]) -> list[Group]:
    return read_dataset(**arguments(Dataset(**(of_copy(copy, root) | settings))))


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def faults_of_text(text: str, names: str) -> list[str]:
    """What is wrong with an error's text."""
    found = [] if names in text else [f"does not name {names}"]
    found += [] if ADVICE.search(text) else ["does not say what to do"]
    found += [] if len(text) <= LONGEST else [f"is {len(text):,} letters long"]
    odd = re.search("[\x00-\x09\x0b-\x1f\x7f\ud800-\udfff]", text)
    return found + ([f"holds the unprintable {odd.group()!r}"] if odd else [])


def faults_of_reader(copy: Miniature, case: Break, root: Path, whole: list[Group]) -> tuple[list[str], str]:
    """Faults of the reader's answer, and the answer."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            groups = read(copy, root, case.settings or {})
    except Exception as error:
        if case.harmless or case.in_pictures:
            return ["is an error of the reader's"], repr(error)
        plain = [] if type(error) in (ValueError, FileNotFoundError) else [f"is a {type(error).__name__}"]
        return plain + faults_of_text(str(error), case.names.replace("<root>", str(root))), str(error)
    if case.harmless:
        return ([] if groups == whole else ["is not what the whole copy gives"]), f"{len(groups)} groups"
    return ([] if case.in_pictures else ["is no error"]), f"{len(groups)} groups"


def faults_of_program(main: Main, copy: Miniature, case: Break, root: Path, answer: str) -> list[str]:
    """Faults of the training program's answer to the same, and of what it leaves."""
    settings = of_copy(copy, root) | (case.settings or {})
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        run = Path(folder) / "run"
        command = ["", str(run), "--set", "stages.0.epochs=0"]
        for key, value in settings.items():
            value = list(value) if isinstance(value, tuple) else value
            command += ["--set", f"dataset.{key}={json.dumps(value)}"]
        said, errors = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                code = main(command)
        except BaseException as error:
            return [f"ends the training program with a bare {type(error).__name__}"]
        text = errors.getvalue()
        found = [] if code == 1 else [f"lets the training program end with {code}"]
        found += ["shows a traceback"] if "Traceback" in text else []
        if case.in_pictures or case.settings:  # settings may be refused before the reader sees them
            found += faults_of_text(text[text.find("error: ") :], case.names)
        elif f"error: {answer}\n" not in text:
            found += ["is not what the training program prints"]
        left = contents(run) if run.exists() else {}
        found += [f"leaves {sorted(left)}"] if set(left) - {"config.toml"} else []
        if "config.toml" in left:
            load_config(run / "config.toml")
    return found


def feed(main: Main | None, name: str, copy: Miniature) -> list[tuple[str, list[str], str]]:
    """Break the copy in every way; (kind, faults of the answer, answer) of each."""
    answers = []
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        root = Path(folder)
        copy.write(root)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole, pristine = read(copy, root, {}), contents(root)
        for case in breaks(copy):
            if case.in_pictures and not main:
                continue
            case.do(root)
            before = contents(root)
            faults, answer = faults_of_reader(copy, case, root, whole)
            if main and not case.harmless and "is no error" not in faults:
                faults = faults + faults_of_program(main, copy, case, root, answer)
            faults += [] if contents(root) == before else ["comes with changes to the data"]
            answers.append((case.kind, faults, answer.replace(folder, "ROOT")))
            restore(root, pristine)
    print(f"{name:26}{len(answers):5}{sum(bool(faults) for _, faults, _ in answers):5}", flush=True)
    return answers


def restore(root: Path, pristine: dict[str, bytes]) -> None:
    """Make the copy whole again, and write no more than that takes."""
    for path in sorted(root.rglob("*"), reverse=True):  # what is in a folder comes before it
        if path.is_symlink() or (path.is_file() and str(path.relative_to(root)) not in pristine):
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    there = contents(root)
    for name, data in pristine.items():
        if there.get(name) != data:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the readers alone, without the training program")
    parser.add_argument("--answers", action="store_true", help="print every answer")
    args = parser.parse_args(argv)
    program: Main | None = None
    if not args.quick:
        from itembed_tf.train import main as program
    print_versions()
    print(f"\n{'reader':26}{'fed':>5}{'bad':>5}")
    with mock.patch.dict(coco.RANDOM_SIZES, {"test": 2, "dev": 2}):  # of 12 pictures, not of 123,287
        answers = {name: feed(program, name, copy) for name, copy in MINIATURES.items()}
    kinds: dict[str, list[list[str]]] = defaultdict(list)
    for own in answers.values():
        for kind, faults, _ in own:
            kinds[kind].append(faults)
    print(f"\n{'kind':44}{'readers':>8}{'bad':>5}")
    for kind, every in kinds.items():
        print(f"{kind:44}{len(every):8}{sum(map(bool, every)):5}")
    shown = [(n, kind, faults, text) for n, own in answers.items() for kind, faults, text in own]
    for name, kind, faults, text in shown:
        if faults or args.answers:
            print(f"\n{name}, {kind}: {'the answer ' + ', '.join(faults) if faults else 'good'}\n  {text[:1500]!r}")
    bad = sum(bool(faults) for _, _, faults, _ in shown)
    print(f"\n{len(shown)} broken inputs of {len(kinds)} kinds to {len(MINIATURES)} readers")
    return verdict("bad_data", f"{bad} bad answers", "0", bad == 0)


if __name__ == "__main__":
    sys.exit(main())
