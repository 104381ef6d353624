"""A run directory of a tiny model with random weights, which counts as finished, and its exports as ONNX."""

from __future__ import annotations

import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import tensorflow as tf

WORDS = ("a", "bike", "dog", "man", "on", "red", "runs", "the")
SMALL = [
    "embedding_size=16",
    "image.size=32",
    "image_tower.weights=none",
    "text.length=5",
    "text.tokenizer=words",
    "text_tower.width=0.125",
    "text_tower.blocks=[1]",
    "text_tower.word_width=8",
    "word_vectors.source=random",
]


def dataset_settings(folder: Path) -> list[str]:
    return ["dataset.name=folder", f'dataset.root="{folder}"', 'dataset.splits=["train", "dev"]']


def write_dataset(folder: Path) -> Path:
    """Sixteen random images with captions, half train, half dev."""
    folder.mkdir()
    random, rows = np.random.default_rng(5), ["image,caption,split"]
    for i in range(16):
        pixels = random.integers(0, 255, (24, 24, 3), dtype=np.uint8)
        (folder / f"{i}.png").write_bytes(tf.io.encode_png(pixels).numpy())
        words = " ".join(random.permutation(WORDS)[: 2 + i % 5])
        rows.append(f"{i}.png,{words},{('train', 'dev')[i % 2]}")
    (folder / "captions.csv").write_text("\n".join(rows) + "\n")
    return folder


def write_run(path: Path, dataset: Path) -> Path:
    """The run directory of a model whose text tower has random biases, as if it had been trained."""
    from itembed_tf.config import load_config
    from itembed_tf.text import Vocabulary
    from itembed_tf.training.build import build_model
    from itembed_tf.training.run_directory import save_weights, write_metrics
    from itembed_tf.training.run_start import start_run

    config = load_config(None, [*SMALL, *dataset_settings(dataset)])
    start_run(path, config)
    vocabulary = Vocabulary(WORDS, tokenizer="words", lowercase=True, length=5)
    vocabulary.save(path / "vocabulary.txt")
    model = build_model(config, vocabulary_size=vocabulary.size, classes=3)
    random = np.random.default_rng(0)
    text = model.get_layer("text_tower")
    text.set_weights([w + random.uniform(0, 0.3, w.shape).astype(w.dtype) for w in text.get_weights()])
    save_weights(path, model)
    write_metrics(path, {"schema": 1, "finished": True, "classes": 3})
    return path


def write_onnx_exports(folder: Path, run: Path) -> None:
    """``whole`` and ``pca``: exports of a run as ONNX by the command; NAME.json is what it printed, "out" and "err"."""
    from itembed_tf import export

    folder.mkdir()
    for name, options in {"whole": [], "pca": ["--pca", "6"]}.items():
        command = [str(run), str(folder / name), "--to", "onnx", "--set", "card.license=apache-2.0", *options]
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
            assert export.main(command) == 0, err.getvalue()
        printed = {"out": out.getvalue(), "err": err.getvalue()}
        (folder / f"{name}.json").write_text(json.dumps(printed), encoding="utf-8")
