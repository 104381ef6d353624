"""CPU time of `itembed --help` and ten wrong commands, against `python -c "import numpy"` in the same run.

    python -m benchmarks.startup [--rounds 9] [--quick]

The commands and the import of NumPy run in turn, each in a process of its own; the figure is the largest of the
commands' median ratios. Each command must also end with its exit code, print one line of error, and import neither
TensorFlow nor Keras.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.runner import print_versions, verdict

BAR = 3.0  # times the CPU time of importing NumPy
NUMPY = [sys.executable, "-c", "import numpy"]
ITEMBED = [sys.executable, "-m", "itembed_tf"]
COMMANDS = {  # words -> exit code
    "--help": 0,
    "trian": 2,
    "train --no-such-option": 2,
    "train no_such_config": 2,
    "train --set model.scal=10.0": 2,
    "train --set seed=one": 2,
    "train --set stages.0.losses.nosuch=1": 2,
    "train no_such_file.toml": 2,
    "evaluate no_such_run": 1,
    "export no_such_run out --to coreml": 2,
    "serve no_such_folder": 1,
}


def cpu_seconds(command: Sequence[str], folder: str) -> tuple[float, int]:
    """User and system time of a process, and its exit code."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime, process.returncode


def problems(words: str, code: int, folder: str) -> list[str]:
    """What is wrong with the answer to a command, apart from its time."""
    command = [sys.executable, "-X", "importtime", "-m", "itembed_tf", *words.split()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    imported = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.M))
    errors = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    wrong = [f"imports {name}" for name in ("tensorflow", "keras") if name in imported]
    if done.returncode != code:
        wrong.append(f"exit code {done.returncode}, not {code}")
    if len(errors) != (code != 0) or not all(line.startswith("error: ") for line in errors):
        wrong.append(f"prints {errors}")
    return [f"itembed {words}: {each}" for each in wrong]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="repetitions of each command (default: 9)")
    parser.add_argument("--quick", action="store_true", help="one round, without a bar on the time")
    args = parser.parse_args(argv)
    print_versions()
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parents[1]), *filter(None, [os.getenv("PYTHONPATH")])]
    )
    ratios: dict[str, float] = {}
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:  # no file there has the name of a config or a run
        print(f"{'CPU ms':>8}{'NumPy':>8}{'ratio':>7}")
        for words, code in COMMANDS.items():
            wrong += problems(words, code, folder)
            pairs = []
            for _ in range(1 if args.quick else args.rounds):
                ours = cpu_seconds([*ITEMBED, *words.split()], folder)[0]
                pairs.append((ours, cpu_seconds(NUMPY, folder)[0]))
            ratios[words] = statistics.median(ours / numpy for ours, numpy in pairs)
            ours, numpy = (1000 * statistics.median(pair[i] for pair in pairs) for i in (0, 1))
            print(f"{ours:8.0f}{numpy:8.0f}{ratios[words]:7.2f}  itembed {words}", flush=True)
    print(*wrong, sep="\n", end="\n" if wrong else "")
    worst = max(ratios.values())
    figure = f"{worst:.2f} x NumPy at most, {len(COMMANDS) - len({each.partition(': ')[0] for each in wrong})} right"
    ok = not wrong and (args.quick or worst <= BAR)
    return verdict("startup", figure, f"{BAR:g} x, {len(COMMANDS)}", ok)


if __name__ == "__main__":
    sys.exit(main())
