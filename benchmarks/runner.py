"""Shared by benchmarks that train: timed training in a subprocess, its metrics, the verdict line."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

RECALLS = ("R@1", "R@5", "R@10")
TIMES = "benchmark.json"  # in the run directory: training seconds, summed over interrupted attempts
ENCODING = "frozen backbone"  # prefix of the progress bar while features are computed
BAR_STATE = re.compile(r"\[\d+:\d\d(:\d\d)?[<,].*\]\s*$")  # end of every line of a progress bar
T95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}  # Student's t, 97.5 %, by the number of seeds
RUNTIME_LOG = re.compile(r"[IWE]\d{4} |WARNING: All log messages before absl")


def flickr8k() -> str:
    """The folder of Flickr8k."""
    root = os.environ.get("ITEMBED_FLICKR8K", "../shared/flickr8k")
    if not Path(root).is_dir():
        raise SystemExit(f"{root} is not a folder; set ITEMBED_FLICKR8K to the Flickr8k folder")
    return root


def train(run: Path, config: str | Path = "", overrides: Iterable[str] = (), env: dict[str, str] | None = None) -> None:
    """Run `python -m itembed_tf.train CONFIG RUN --set ...`; skip a finished run, continue an interrupted one.

    Raises:
        SystemExit: training failed; its output is printed above.
    """
    from itembed_tf.config import OPENMOJI

    command = [sys.executable, "-m", "itembed_tf.train", str(config or OPENMOJI), str(run)]
    follow([*command, *(part for override in overrides for part in ("--set", override))], run, env)


def follow(command: Sequence[str], run: Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
    """Run a command that trains into `run`, echo its output, and add its duration to the run's total.

    Progress bars and TensorFlow's log lines are filtered out.

    Raises:
        SystemExit: the command failed.
    """
    if figures(run).get("finished"):
        print(f"{run}: already finished", flush=True)
        return
    started, encoding = time.monotonic(), 0.0
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2", **(env or {})}
    print(f"$ {' '.join(command)}", flush=True)
    process = subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    try:
        assert process.stdout is not None
        last, before = "", started
        for line in process.stdout:  # every update of a progress bar is one line
            now = time.monotonic()
            encoding += now - before if last.startswith(ENCODING) and line.startswith(ENCODING) else 0.0
            last, before = line, now
            if line.strip() and not BAR_STATE.search(line) and not RUNTIME_LOG.match(line):
                print(f"  {line}", end="", flush=True)
        code = process.wait()
    finally:
        process.terminate()  # no-op after its end; on Ctrl-C, training must stop too
        run.mkdir(parents=True, exist_ok=True)
        spent = times(run)
        spent = {"seconds": spent["seconds"] + time.monotonic() - started, "features": spent["features"] + encoding}
        (run / TIMES).write_text(json.dumps(spent) + "\n", encoding="utf-8")
    if code:
        raise SystemExit(f"{run}: training failed with exit code {code}; see its output above")


def times(run: Path) -> dict[str, float]:
    """Wall-clock seconds of the run's processes, and the part spent on computing features."""
    file = run / TIMES
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"seconds": 0.0, "features": 0.0}


def figures(run: Path) -> dict[str, Any]:
    """metrics.json of the run; {} if it does not exist."""
    file = run / "metrics.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def recalls(table: dict[str, Any]) -> str:
    """The six recalls of a retrieval table as columns, with `RECALL_HEAD` as header."""
    return "".join(f"{table[query][k]:7.1f}" for query in ("image_query", "text_query") for k in RECALLS)


RECALL_HEAD = "".join(f"{query + k:>7}" for query in ("i ", "t ") for k in RECALLS)


def spread(values: Sequence[float]) -> str:
    """Mean over seeds, with minimum and maximum."""
    mean = f"{statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.1f} to {max(values):.1f})"


def compare_with_paper(ours: Sequence[float], first: Sequence[float], paper: str, up: bool) -> str:
    """Compare paired differences over seeds with the paper's difference `paper`, which is positive if `up`.

    "agrees" or "disagrees" if the 95 % confidence interval of the mean difference excludes 0, otherwise "undecided".
    """
    differences = [a - b for a, b in zip(ours, first, strict=True)]
    mean = statistics.mean(differences)
    if len(differences) not in T95:
        return f"{mean:+.1f}, one seed; paper {paper}"
    reach = T95[len(differences)] * statistics.stdev(differences) / len(differences) ** 0.5
    word = "undecided" if abs(mean) <= reach else "agrees" if (mean > 0) == up else "disagrees"
    return f"{mean:+.1f} ± {reach:.1f}; paper {paper}: {word}"


def print_versions() -> None:
    """Print versions, cores and commit, for RESULTS.md."""
    import platform
    from importlib.metadata import version

    names = ("tensorflow", "keras", "numpy")
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(
        f"python {platform.python_version()}, {', '.join(f'{n} {version(n)}' for n in names)}, {cores} cores, "
        f"commit {head.stdout.strip() or 'unknown'}"
    )


def verdict(name: str, figure: str, bar: str, ok: bool) -> int:
    """Print the last line of a benchmark and return its exit code."""
    print(f"{name}: {figure} (bar {bar}) {'ok' if ok else 'short'}", flush=True)
    return 0 if ok else 1
