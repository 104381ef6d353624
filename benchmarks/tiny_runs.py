"""A tiny dataset, a run on it that was stopped and one that finished, and the commands that are given to them."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from itembed_tf import cli

Ended = tuple[int, str]  # exit code and output
IMAGES, TRAIN_IMAGES = 24, 16
WORDS = ("a", "bike", "dog", "man", "on", "red", "runs", "the")
CONFIG = """
embedding_size = 16
[dataset]
name = "folder"
root = "{root}"
[image]
size = 32
[image_tower]
weights = "none"
[model]
classifier = "random"
[text]
tokenizer = "words"
length = 8
[text_tower]
word_width = 8
width = 0.125
blocks = [1]
[word_vectors]
source = "random"
[[stages]]
name = "I"
epochs = 3
batch_size = 8
cached_views = 1
"""
HOLD = """
import sys, time
from itembed_tf.locks import locked_folder
with locked_folder(sys.argv[1], ""):
    print("held", flush=True)
    time.sleep(600)
"""


@dataclass
class Place:
    """A folder with the data, the cache, a stopped run and a finished one."""

    root: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def captions(self) -> Path:
        return self.data / "captions.csv"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def finished(self) -> Path:
        return self.root / "finished"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def log(self) -> Path:
        """Of the batches of features that are computed (benchmarks/observed_encoding.py)."""
        return self.root / "computed.txt"

    @property
    def config(self) -> Path:
        return self.root / "drawn.toml"

    def write_config(self, features: bool = False, views: int = 1) -> None:
        text = CONFIG.format(root=self.data).replace("cached_views = 1", f"cached_views = {views}")
        if features:
            write_features(self.root / "features.npy")
            text = text.replace("[image]\nsize = 32\n", "[evaluation]\nflip = false\n")
            text = text.replace('weights = "none"', f'features = "{self.root / "features.npy"}"')
        self.config.write_text(text, encoding="utf-8")

    def call(self, *words: object) -> Ended:
        """Run a command in this process."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            try:
                code = cli.main([str(word) for word in words])
            except SystemExit as stopped:
                code = int(stopped.code or 0)
        return code, out.getvalue()

    def train(self, *more: object, run: Path | None = None) -> Ended:
        """Give the command of the stopped run again. Exports and report, most of its time, are left out."""
        from itembed_tf.pipeline import outputs

        with contextlib.ExitStack() as stack:
            for name in ("write_saved_models", "write_litert_text_encoder", "write_card", "write_report"):
                stack.enter_context(mock.patch.object(outputs, name))
            return self.call("train", self.config, run or self.run, *more)

    def process(self, *words: object, **settings: Any) -> subprocess.Popen[str]:
        """Start a Python process."""
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, *map(str, words)]
        self.processes.append(subprocess.Popen(command, env=environment, **{**streams, **settings}))
        return self.processes[-1]

    def hold(self, folder: Path) -> subprocess.Popen[str]:
        """Another process that writes to a folder."""
        process = self.process("-c", HOLD, folder)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        return process

    def stop_processes(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()


def write_data(folder: Path) -> None:
    """24 random images with captions: 16 train, 4 dev, 4 test."""
    from PIL import Image

    random, rows = np.random.default_rng(5), ["image,caption,split"]
    folder.mkdir(parents=True)
    for number in range(IMAGES):
        name = f"{number:02d}.png"
        Image.fromarray(random.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(folder / name)
        words = " ".join(random.permutation(WORDS)[: 3 + number % 4])
        split = ("train", "train", "train", "train", "dev", "test")[number % 6]
        rows.append(f"{name},{words} {number},{split}")
    (folder / "captions.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_features(file: Path) -> None:
    """Random features of the images of `write_data`."""
    np.save(file, np.random.default_rng(6).normal(size=(IMAGES, 12)).astype(np.float32))
    file.with_suffix(".txt").write_text("".join(f"{number:02d}.png\n" for number in range(IMAGES)), encoding="utf-8")


def interrupted_training(place: Place, *more: object) -> Ended:
    """Train until Ctrl-C in the second epoch."""
    from itembed_tf.training import stage

    epochs, run_epoch = 0, stage.run_epoch

    def interrupt(*arguments: Any) -> None:
        nonlocal epochs
        epochs += 1
        if epochs == 2:
            raise KeyboardInterrupt
        run_epoch(*arguments)

    with mock.patch.object(stage, "run_epoch", interrupt):
        return place.train(*more)
