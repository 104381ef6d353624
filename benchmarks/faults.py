"""Injected faults: does a training that is hit by one continue from its last good checkpoint, or say what to do?

    python -m benchmarks.faults [--count 60] [--seed 0] [--quick] [--only PATTERN]

A tiny model is trained on random features of images (benchmarks/tiny_runs.py); one run is stopped in its second epoch.
Each fault starts from a copy of it. The kinds of fault, of benchmarks/injected.py, take turns, each with new random
moments: kill -9 and SIGTERM of a process, a full disk, a limit of file sizes, truncated checkpoints, a loss of NaN, two
trainings in one directory, a directory that is read-only, one of two workers that dies; and, from an empty cache, a
kill -9 of a process that computes features of images. A fault passes

- where the training that it hits ends with the expected exit code, and one line "error: ..." with the remedy where that
  is an error;
- where the same command then, without the fault, finishes with the weights, figures and cached features of the
  undisturbed run, bit for bit, and nothing half-written is left;
- where that one continued at the newest checkpoint that was whole after the fault, or later, not before it;
- and where features were computed once, but for the batch that was under way.

The figure is the number of faults that pass. --quick injects one fault of each kind that needs no process of its own.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.bad_data import ADVICE
from benchmarks.disturbed import RAW, prepare
from benchmarks.injected import FAULTS, Fault, Progress, progress
from benchmarks.kill_resume import differences, outcome
from benchmarks.observed_encoding import VIEWS, encoding_problems, finished_views, observed
from benchmarks.runner import print_versions, verdict
from benchmarks.tiny_runs import Ended, Place, write_data

CONTINUES = re.compile(r"continues stage \w+ at epoch (\d+), step (\d+)")


def refusal_problems(fault: Fault, place: Place, ended: Ended) -> list[str]:
    """What is wrong with how the training that was hit has ended."""
    code, output = ended
    found = [f"prints {match.group()!r}" for match in RAW.finditer(output)][:1]
    found += [] if code in fault.codes else [f"exits with {code}, not {' or '.join(map(str, fault.codes))}"]
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    if code == 1:
        found += [] if len(errors) == 1 else [f"prints {len(errors)} lines of error"]
        found += [] if errors and ADVICE.search(errors[0]) else ["does not say what to do"]
    return found + [f"does not say {text!r}" for text in fault.says if code and text not in output]


def continued_at(output: str, kept: Progress) -> list[str]:
    """What is wrong with where a run continued, given its newest whole checkpoint before that."""
    match = CONTINUES.search(output)
    if match is None:
        return [] if kept.epoch < 0 or "continues" in output or "finished already" in output else ["began again"]
    epoch, step = int(match.group(1)) - 1, int(match.group(2)) - 1
    return [] if (epoch, step) >= (kept.epoch, kept.step) else [f"lost work: continued at {match.group()}"]


class Base(NamedTuple):
    """What faults start from: a folder to copy, and what the undisturbed run has come to."""

    folder: Path
    undisturbed: dict[str, Any]


def prepared(place: Place, folder: Path, encodes: bool) -> Base:
    """A base with a stopped run on given features, or with `encodes` without a run and without cached features."""
    shutil.rmtree(place.root, ignore_errors=True)
    place.root.mkdir()
    if encodes:
        write_data(place.data)
        place.write_config(views=VIEWS)
        with observed(place.log):
            code, output = place.train(run=place.finished)
        if code:
            raise SystemExit(f"{output}\nthe undisturbed training failed with exit code {code}")
        place.log.unlink()
    else:
        prepare(place, features=True)
    undisturbed = outcome(place.finished) | finished_views(place.cache)
    if encodes:
        shutil.rmtree(place.cache)
    shutil.copytree(place.root, folder)
    return Base(folder, undisturbed)


def inject(fault: Fault, place: Place, base: Base, draw: random.Random) -> list[str]:
    """Inject a fault into a fresh copy, then give the command again; returns what is wrong."""
    shutil.rmtree(place.root)
    shutil.copytree(base.folder, place.root)
    try:
        with fault.injected(place, draw) as ended:
            wrong = refusal_problems(fault, place, ended)
        kept, complete = progress(place.run), finished_views(place.cache)
        with observed(place.log):
            code, output = place.train()
        wrong += [f"the next command exits with {code}: {output[-300:]}"] if code else continued_at(output, kept)
        apart = [] if code else differences(base.undisturbed, outcome(place.run) | finished_views(place.cache))
        wrong += [f"ends with another {', '.join(apart[:3])}"] if apart else []
        wrong += encoding_problems(place.log, complete)
        left = [path.name for at in (place.run, place.cache) for path in at.rglob(".*") if path.is_file()]
        return wrong + ([f"leaves {left}"] if left else [])
    except Exception:  # the program let it through
        return [traceback.format_exc()]
    finally:
        place.stop_processes()


def measure(faults: Sequence[Fault], seed: int) -> int:
    """Number of faults that pass."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder).resolve() / "now")
        os.environ["ITEMBED_CACHE"] = str(place.cache)
        kinds = {fault.encodes for fault in faults}
        bases = {encodes: prepared(place, Path(folder) / f"base{encodes:d}", encodes) for encodes in sorted(kinds)}
        passed = 0
        for number, fault in enumerate(faults, start=1):
            begun = time.monotonic()
            wrong = inject(fault, place, bases[fault.encodes], draw)
            passed += not wrong
            result = "; ".join(wrong) or "passed"
            print(f"{number:3} {fault.name}: {result} ({time.monotonic() - begun:.0f} s)", flush=True)
    return passed


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=60, help="faults")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the moments")
    parser.add_argument("--quick", action="store_true", help="one of each kind that runs in this process")
    parser.add_argument("--only", default="", metavar="PATTERN", help="the kinds whose name matches")
    args = parser.parse_args(argv)
    kinds = [fault for fault in FAULTS if re.search(args.only, fault.name) and not (args.quick and fault.own_process)]
    count = len(kinds) if args.quick else args.count
    faults = [kinds[number % len(kinds)] for number in range(count)]
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"  # as in processes of their own: sums depend on the number of threads
    print_versions()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        passed = measure(faults, args.seed)
    return verdict("faults", f"{passed} of {count} faults", f"{count}", passed == count)


if __name__ == "__main__":
    sys.exit(main())
