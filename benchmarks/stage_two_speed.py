"""Stage II against VSE++, both from JPEG files: images a second of the same CNN, pictures and batch, in turn.

Part of `benchmarks.train_speed`. Ours is the model of configs/flickr8k.toml, all of it trained, at 224 pixels, with the
losses of that config and its loop (`itembed_tf.training.stage.run_epoch`); the peer is `benchmarks.vsepp_finetune`.
Both train EfficientNet-Lite0 with its batch norms on random crops of the same files, in batches of 32, on all cores,
and compute in the same precision.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.loop_overhead import CONFIG, IMAGES, photographs, prepare, random_captions
from benchmarks.time_to_accuracy import torch_python

HERE = Path(__file__).parents[1]
BAR = 1.5  # times the peer's rate
BATCH, SIZE = 32, 224
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # precision of the peer -> ours


def speeds(rounds: int, steps: int, precision: str) -> float:
    """Median over the rounds of our rate divided by the peer's."""
    from itembed_tf.models.efficientnet_lite import imagenet_file

    step, epoch, batch_size = prepare("jpeg", [f"image.size={SIZE}", f"precision={POLICIES[precision]}"])
    assert batch_size == BATCH
    with tempfile.TemporaryDirectory() as folder:
        data = write_data(Path(folder))
        words = (data, imagenet_file("efficientnet-lite0"), "--size", SIZE, "--precision", precision)
        with peer_process(*map(str, words)) as peer:
            rate_of_ours(step, epoch, 0, 1)  # traces and compiles
            peer(1)
            ratios = []
            for number in range(1, rounds + 1):
                ours, theirs = rate_of_ours(step, epoch, number, steps), peer(steps)
                ratios.append(ours / theirs)
                print(
                    f"stage two, {precision}: round {number}: {ours:.2f} against {theirs:.2f} images/s: "
                    f"{ratios[-1]:.2f} x",
                    flush=True,
                )
    return statistics.median(ratios)


def rate_of_ours(step: Callable, epoch: Callable, number: int, steps: int) -> float:
    """Images a second of our loop over `steps` steps after a first one, as the peer is timed."""
    from itembed_tf.training.stage import run_epoch
    from itembed_tf.training.state import StageState
    from itembed_tf.training.step_scalars import StepScalars

    ends: list[float] = []
    last = IMAGES // BATCH - steps - 1
    scalars = StepScalars(StageState())

    def after_step() -> None:
        if not ends:
            scalars.read()  # waits for the first step
            ends.append(time.perf_counter())

    run_epoch(step, epoch(number, last), scalars, after_step, f"stage two, round {number}", steps + 1)
    return steps * BATCH / (time.perf_counter() - ends[0])


def write_data(folder: Path) -> Path:
    """The images and captions of `prepare`, for the peer."""
    from itembed_tf.config import load_config

    files = []
    for number, image in enumerate(photographs(512)):
        if isinstance(image, bytes):
            file = folder / f"{number}.jpg"
            file.write_bytes(image)
            image = str(file)
        files.append(str(Path(image).resolve()))
    ids = random_captions(load_config(CONFIG).text.length)
    rows = np.repeat(np.arange(IMAGES), 5) % len(files)
    np.savez(folder / "data.npz", files=np.array(files), ids=ids, images=rows)
    return folder / "data.npz"


@contextmanager
def peer_process(*words: str) -> Iterator[Callable[[int], float]]:
    """Start the peer; gives a function that lets it train some steps, and returns its images a second."""
    command = [torch_python(), "-m", "benchmarks.vsepp_finetune", *words]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    process = subprocess.Popen(
        command, cwd=HERE, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def rate(steps: int) -> float:
        print(steps, file=stdin, flush=True)
        for line in stdout:
            if line.strip().replace(".", "", 1).isdigit():  # the package of the network prints lines of its own
                return float(line)
        raise SystemExit(
            "train_speed: the peer has stopped; pip install torch numpy pillow efficientnet-lite-pytorch into the "
            "environment of ITEMBED_TORCH_PYTHON"
        )

    try:
        yield rate
    finally:
        process.kill()
        process.wait()
        sys.stdout.flush()
