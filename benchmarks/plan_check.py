"""The memory figure of `itembed plan` against the peak memory of real trainings.

    python -m benchmarks.plan_check [--quick]

Three trainings of a tiny text tower on random image features, whose classifier has so many classes that it dominates:
full softmax with AdamW, a moving average and the best weights kept; sampled softmax with SGD; full softmax with SGD.
Each runs in a process of its own, which takes four steps an epoch, evaluates and writes its checkpoints, and prints the
largest memory that it had. The figure is the largest deviation of the plan from it. --quick runs one small training, in
which TensorFlow itself dominates.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.runner import print_versions, verdict

BAR = 10.0  # percent
STEPS = 4  # of an epoch
WIDTH = 12  # of the image features
CONFIG = """
embedding_size = {size}
[dataset]
name = "folder"
root = "{root}"
splits = ["train", "dev"]
[image_tower]
features = "{root}/features.npy"
[evaluation]
flip = false
[text]
tokenizer = "words"
length = 8
[text_tower]
word_width = 8
width = 0.125
blocks = [1]
[word_vectors]
source = "random"
[model]
softmax = "{softmax}"
[[stages]]
name = "I"
epochs = 2
batch_size = 64
cached_views = 1
checkpoint_minutes = 0
{stage}
"""
ADAMW, SGD = 'optimizer = "adamw"\naverage = 0.9\nkeep = "best"', 'optimizer = "sgd"\nkeep = "last"'
CASES = (("full", 24_000, 2048, ADAMW), ("sampled", 60_000, 2048, SGD), ("full", 40_000, 2048, SGD))
QUICK = (("full", 2_000, 256, ADAMW),)


def write_data(folder: Path, images: int) -> None:
    """Images that nothing decodes, their captions and features; four more in dev."""
    folder.mkdir()
    rows, names = ["image,caption,split"], [f"{number:06d}.jpg" for number in range(images + 4)]
    for number, name in enumerate(names):
        (folder / name).write_bytes(b"")
        rows.append(f"{name},a dog {number % 500} and a cat {number // 500},{'train' if number < images else 'dev'}")
    (folder / "captions.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    np.save(folder / "features.npy", np.random.default_rng(0).normal(size=(len(names), WIDTH)).astype(np.float32))
    (folder / "features.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


def peak_of_training(config: Path, run: Path) -> int:
    """Train with a few steps an epoch, in this process; its largest resident memory in bytes."""
    import resource

    from itembed_tf import cli
    from itembed_tf.pipeline import train
    from itembed_tf.training import stage

    run_epoch = stage.run_epoch

    def few_steps(step: Any, batches: Any, *arguments: Any) -> None:
        run_epoch(step, islice(batches, STEPS), *arguments)  # type: ignore[arg-type]

    with mock.patch.object(stage, "run_epoch", few_steps), mock.patch.object(train, "finish_run", _nothing):
        if cli.main(["train", str(config), str(run)]):
            raise SystemExit("the training failed")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _nothing(*_: Any, **__: Any) -> dict[str, Any]:
    return {}


def deviation(softmax: str, classes: int, size: int, stage: str, place: Path) -> float:
    """Percent by which the plan differs from the measured peak."""
    from itembed_tf.config import load_config
    from itembed_tf.training.planning import plan_training

    data, config = place / "data", place / "config.toml"
    write_data(data, classes)
    config.write_text(CONFIG.format(root=data, size=size, softmax=softmax, stage=stage), encoding="utf-8")
    settings = load_config(config)
    plan = plan_training(settings, images=classes, classes=classes, captions=classes, words=600, memory=10**12)
    planned = plan.peak
    command = [sys.executable, "-m", "benchmarks.plan_check", "--train", str(config), str(place / "run")]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the training of {classes:,} classes failed:\n{done.stdout[-2000:]}")
    measured = int(re.findall(r"^peak (\d+)$", done.stdout, re.MULTILINE)[-1])
    percent = 100 * (planned / measured - 1)
    print(
        f"{classes:7,} classes x {size:,}, {softmax}: planned {planned / 1e9:.2f} GB, real {measured / 1e9:.2f} GB, "
        f"{percent:+.1f} %",
        flush=True,
    )
    return percent


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.plan_check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one small training, with a bar of 50 %%")
    parser.add_argument("--train", nargs=2, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.train:
        print(f"\npeak {peak_of_training(*args.train)}")
        return 0
    print_versions()
    found = []
    for case in QUICK if args.quick else CASES:
        with tempfile.TemporaryDirectory() as folder:
            found.append(abs(deviation(*case, Path(folder))))
    bar = 50.0 if args.quick else BAR
    return verdict("plan_check", f"{max(found):.1f} %", f"{bar:g} %", max(found) <= bar)


if __name__ == "__main__":
    sys.exit(main())
