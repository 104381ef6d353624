"""Shared by the serving benchmarks: an export of tiny encoders, a local server as a subprocess, test images."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

WORDS = ("a", "bike", "dog", "man", "on", "red", "runs", "the")
LENGTH, SIZE = 6, 32


class Served(NamedTuple):
    """A running server: gRPC address, REST address and process."""

    grpc: str
    rest: str
    process: subprocess.Popen[str]


def toy_export(
    out: Path, seed: int = 0, version: int | None = None, tokenizer: str = "words", features: int = 0
) -> Path:
    """Export a pair of tiny encoders with random weights; the version is the next free one. Returns `out`.

    The image encoder takes images, or features of this width, which is exported in a fraction of the time.
    """
    import keras
    from keras import layers

    from itembed_tf.exporting import EncoderPair, write_saved_models
    from itembed_tf.text import Vocabulary

    keras.utils.set_random_seed(seed)
    x = image = keras.Input((features,) if features else (SIZE, SIZE, 3))
    if not features:
        x = layers.Conv2D(8, 3, strides=2, activation="relu")(layers.Rescaling(1 / 127, offset=-1)(image))
        x = layers.GlobalAveragePooling2D()(x)
    x = layers.UnitNormalization()(layers.Dense(16)(x))
    ids = keras.Input((LENGTH,), dtype="int32")
    y = layers.GlobalAveragePooling1D()(layers.Conv1D(8, 2, padding="same")(layers.Embedding(9, 8)(ids)))
    y = layers.UnitNormalization()(layers.Dense(16, bias_initializer="random_normal")(y))
    pair = EncoderPair(
        image_encoder=keras.Model(image, x, name="image_encoder"),
        text_encoder=keras.Model(ids, y, name="text_encoder"),
        vocabulary=Vocabulary(words=WORDS, tokenizer=tokenizer, lowercase=True, length=LENGTH),
        size=SIZE,
        fit="stretch",
        flip=False,
        shifts="left",
    )
    write_saved_models(out, pair, allowed_batch_sizes=(1, 8), version=version, litert=True)
    return out


@contextlib.contextmanager
def local_server(exports: Path, *options: str) -> Iterator[Served]:
    """`itembed serve EXPORTS` at free ports until the block ends."""
    ports = ("--grpc-port", "0", "--rest-port", "0")
    command = [sys.executable, "-m", "itembed_tf", "serve", str(exports), *ports, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    assert process.stdout is not None
    output: list[str] = []
    try:
        for line in process.stdout:
            output.append(line)
            if ready := re.match(r"gRPC (\S+) +REST (\S+)", line):
                break
        else:
            raise RuntimeError(f"the server exited with {process.wait()}:\n{''.join(output)}")
        threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
        yield Served(ready[1], ready[2], process)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _drain(stream: Any) -> None:
    """Read the server's output, so that the pipe does not fill up; print it if ITEMBED_VERBOSE is set."""
    for line in stream:
        if os.environ.get("ITEMBED_VERBOSE"):
            print(f"  server: {line}", end="", file=sys.stderr)


def sample_image(seed: int = 0, file_format: str = "JPEG", size: tuple[int, int] = (48, 40)) -> bytes:
    """A small colour image, the same at every call."""
    import numpy as np
    from PIL import Image

    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR).save(content, file_format)
    return content.getvalue()


def percentile(times: Sequence[float], share: float) -> float:
    """The percentile (nearest rank) of latencies; `share` in 0 .. 1."""
    ordered = sorted(times)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
