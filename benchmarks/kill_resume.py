"""Kill and resume: does a training that is killed repeatedly end with the same weights as an undisturbed one?

    python -m benchmarks.kill_resume [--kills 10] [--seed 0] [--quick]

`python -m itembed_tf.train` runs two stages on generated images: cached features under XLA with weight averaging, then
the whole model on decoded images with mined captions. First undisturbed; then killed (SIGKILL to the process group) at
times drawn uniformly over the duration of the undisturbed run, start-up and export included, and continued with the
same command. A run that finishes is compared and a new one started, until all kills are used; the last run finishes.
Compared are all arrays of the final weights, bit for bit, history, metrics, vocabulary and skipped images, without
times. The figure is the number of differences.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.tiny_flickr8k import write_tiny_flickr8k

TIMES = ("seconds", "images_per_s")
CONFIG = """
embedding_size = 32
[dataset]
name = "flickr8k"
splits = ["train", "dev"]
root = "{root}"
[image]
size = 64
[text]
length = 12
[data]
shift = true
[word_vectors]
source = "random"
[text_tower]
word_width = 16
width = 0.1
blocks = [1]
[model]
dropout = 0.2

[[stages]]
name = "I"
epochs = 40
batch_size = 8
cached_views = 2
losses = {{ instance_image = 1.0, instance_text = 1.0, infonce = 1.0 }}
average = 0.9
evaluate_every = 10
checkpoint_minutes = 0.005
jit = true

[[stages]]
name = "II"
epochs = 6
batch_size = 8
freeze = []
mining = 8
losses = {{ instance_image = 1.0, instance_text = 1.0, ranking = 1.0 }}
optimizer = "sgd"
learning_rate = 0.01
evaluate_every = 3
checkpoint_minutes = 0.01
"""


def start(config: Path, run: Path, cache: Path) -> subprocess.Popen[bytes]:
    """Start training in its own process group; output goes to a log file beside the run."""
    environment = {**os.environ, "ITEMBED_CACHE": str(cache), "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1"}
    with open(run.with_suffix(".log"), "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "itembed_tf.train", str(config), str(run)],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def killed(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Kill the process after `seconds`; False if it ended before.

    Raises:
        SystemExit: training failed.
    """
    try:
        if process.wait(seconds):
            raise SystemExit("training failed; see the end of its log")
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


def where(run: Path) -> str:
    """Progress of a run, from its files."""
    history = run / "history.jsonl"
    if (run / "weights").exists():
        return "while evaluating and exporting"
    if not any(run.glob("checkpoints/*.npz")):
        return "before the first checkpoint"
    epochs = len(history.read_text(encoding="utf-8").splitlines()) if history.exists() else 0
    return f"after epoch {epochs}"


def outcome(run: Path) -> dict[str, Any]:
    """Everything that must be equal: name -> value, without times."""
    import h5py

    found: dict[str, Any] = {}
    with h5py.File(run / "weights" / "final.weights.h5") as file:
        file.visititems(
            lambda name, item: (
                found.update({name: (item.dtype.str, item.shape, item[()].tobytes())})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    for number, line in enumerate((run / "history.jsonl").read_text(encoding="utf-8").splitlines(), 1):
        found[f"history of epoch {number}"] = without_times(json.loads(line))
    metrics = without_times(json.loads((run / "metrics.json").read_text(encoding="utf-8")))
    found |= {f"metrics {key}": value for key, value in metrics.items()}
    for name in ("vocabulary.txt", "skipped.json"):
        found[name] = (run / name).read_text(encoding="utf-8")
    return found


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key not in TIMES}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))


def measure(kills: int, seed: int, place: Path) -> int:
    """Number of differences to the undisturbed run, summed over all disturbed runs."""
    config = place / "drawn.toml"
    config.write_text(CONFIG.format(root=write_tiny_flickr8k(place / "images")), encoding="utf-8")
    begun = time.monotonic()
    if start(config, place / "undisturbed", place / "cache").wait():
        raise SystemExit((place / "undisturbed.log").read_text(encoding="utf-8")[-3000:])
    duration = time.monotonic() - begun
    expected = outcome(place / "undisturbed")
    arrays = sum(isinstance(value, tuple) for value in expected.values())
    print(f"undisturbed: {duration:.0f} s; {arrays} arrays, {len(expected) - arrays} other values compared", flush=True)
    draw, done, number, different = random.Random(seed), 0, 1, 0
    run = place / f"disturbed{number}"
    while True:
        moment = draw.uniform(0, duration) if done < kills else 3600.0
        if killed(start(config, run, place / f"cache{number}"), moment):
            done += 1
            print(f"kill {done}: run {number}, {moment:.1f} s after its start, {where(run)}", flush=True)
            continue
        apart = differences(expected, outcome(run))
        different += len(apart)
        print(f"run {number} finished: {len(apart)} differences {', '.join(apart[:10])}", flush=True)
        if done == kills:
            return different
        number += 1
        run = place / f"disturbed{number}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kill_resume",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="random seed of the kill times")
    parser.add_argument("--quick", action="store_true", help="2 kills")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as place:
        different = measure(2 if args.quick else args.kills, args.seed, Path(place))
    print(f"kill_resume: {different} (bar 0) {'short' if different else 'ok'}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
