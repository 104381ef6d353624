"""Disturbed runs: is a run that is stopped, moved, damaged or shared continued right, or refused with what to do?

    python -m benchmarks.disturbed [--quick] [--errors] [--only PATTERN]

A tiny model is trained on generated images and stopped in its second epoch; another run finishes. Each disturbance
(benchmarks/disturbances.py) starts from a copy of both, disturbs it, and gives a command: its data changes, another
process is at work, a path is unusual, the disk is full, a file is damaged, the data has moved. It passes

- if the command ends with exit code 0, and the run with the weights, figures and files of the undisturbed one;
- or if it ends with exit code 1 or 2 and one line "error: ..." that has the file and what to do.

Which of the two is right is part of the disturbance. A traceback, a raw message of TensorFlow, another result without a
word: each is a failure. Most commands run in this process; those that another process disturbs run in a fresh one. The
continued trainings write no exports and no report, which take most of their time, but for those in a process of their
own and the one without epochs.

The figure is the number of disturbances that pass. --errors prints every message, --only runs those whose name
matches a regular expression, --quick runs six.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bad_data import ADVICE
from benchmarks.disturbances import DISTURBANCES, Disturbance
from benchmarks.kill_resume import differences, outcome
from benchmarks.runner import print_versions, verdict
from benchmarks.tiny_runs import Place, interrupted_training, write_data

RAW = re.compile(r"Traceback|\{\{(function_)?node|Graph execution error|in user code:|\[Op:")
INTERRUPTED = 130  # exit code
QUICK = (
    "an image is renamed",
    "two words of the vocabulary are swapped",
    "a second training in the same run directory",
    "a wildcard in the run directory",
    "no space for cached features",
    "the newest checkpoint is cut",
)


def prepare(place: Place, features: bool = False) -> None:
    """Write the data, and train an undisturbed run and one that is stopped.

    Args:
        place: for all of it.
        features: train on a file of random features of the images, which takes less time.

    Raises:
        SystemExit: a training failed; its output is printed.
    """
    write_data(place.data)
    place.write_config(features)
    for code, output in (place.train(run=place.finished), interrupted_training(place)):
        if code not in (0, INTERRUPTED):
            raise SystemExit(f"{output}\nthe undisturbed training failed with exit code {code}")


def problems(case: Disturbance, place: Place, code: int, output: str, undisturbed: dict[str, object]) -> list[str]:
    """What is wrong with how a command ended."""
    found = [f"prints {match.group()!r}" for match in RAW.finditer(output)][:1]
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    if case.refused:
        found += [] if code in (1, 2) else [f"exits with {code}"]
        found += [] if len(errors) == 1 else [f"prints {len(errors)} lines of error"]
        message = output[output.find("error: ") :]
        found += [f"does not say {text!r}" for text in case.says if text.format(place=place) not in message]
        return found + ([] if ADVICE.search(message) else ["does not say what to do"])
    found += [] if code == 0 else [f"exits with {code}"]
    found += [f"does not say {text!r}" for text in case.says if text.format(place=place) not in output]
    if code == 0 and case.same_result:
        apart = differences(undisturbed, outcome(place.run))
        found += [f"ends with another {', '.join(apart[:3])}"] if apart else []
    return found


def disturb(case: Disturbance, place: Place, base: Path, undisturbed: dict[str, object]) -> tuple[list[str], str]:
    """Disturb a fresh copy; return what is wrong, and the output."""
    shutil.rmtree(place.root)
    shutil.copytree(base, place.root)
    try:
        code, output = case.do(place)
        return problems(case, place, code, output, undisturbed), output
    except Exception:  # the program let it through
        return ["raises"], traceback.format_exc()
    finally:
        place.stop_processes()


def measure(cases: Sequence[Disturbance], show: bool) -> int:
    """Number of disturbances that pass."""
    with tempfile.TemporaryDirectory() as folder:
        place, base = Place(Path(folder).resolve() / "now"), Path(folder) / "base"
        place.root.mkdir()
        os.environ["ITEMBED_CACHE"] = str(place.cache)
        prepare(place)
        undisturbed: dict[str, object] = outcome(place.finished)
        shutil.copytree(place.root, base)
        passed = 0
        for case in cases:
            begun = time.monotonic()
            wrong, output = disturb(case, place, base, undisturbed)
            passed += not wrong
            result = "; ".join(wrong) or ("refused" if case.refused else "continued")
            print(f"{case.item:3} {case.name}: {result} ({time.monotonic() - begun:.0f} s)", flush=True)
            message = [line for line in output.splitlines() if line.startswith(("error: ", "warning: "))]
            for line in message if show else []:
                print(f"      {line.replace(folder, '')}", flush=True)
            if wrong and not message:
                print(output[-1500:], flush=True)
    return passed


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.disturbed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="six disturbances")
    parser.add_argument("--errors", action="store_true", help="print every error and warning")
    parser.add_argument("--only", default="", metavar="PATTERN", help="run the disturbances whose name matches")
    args = parser.parse_args(argv)
    cases = [
        case for case in DISTURBANCES if re.search(args.only, case.name) and (not args.quick or case.name in QUICK)
    ]
    print_versions()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)  # also where a command has given the same one before
        passed = measure(cases, args.errors)
    return verdict("disturbed", f"{passed} of {len(cases)} disturbances", f"{len(cases)}", passed == len(cases))


if __name__ == "__main__":
    sys.exit(main())
