"""Parity of text encoding: do the served graph and Python give the same ids for every caption of Flickr8k?

    ITEMBED_FLICKR8K=... python -m benchmarks.text_parity [--quick]

For both tokenizers, the vocabulary is built from train captions, as in training; the graph is saved, reloaded, and
encodes the captions of train and dev. Speeds are printed too. --quick needs no data.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from itembed_tf.config import arguments
from itembed_tf.config.schema import Dataset
from itembed_tf.data.readers import read_dataset
from itembed_tf.text import TOKENIZERS, build_vocabulary, tokenize_captions
from itembed_tf.text.graph import TextGraph

BATCH = 64
TEXTS = [
    "The man's dog doesn't bark .",
    "Cafe\u0301 or café?",
    "İZMİR 👩🏽‍🚀 3.5 km",
    "犬がボールを追いかける",
    "\x00 ...",
    "",
]


def captions() -> tuple[list[str], list[str]]:
    """Captions of train and of dev."""
    root = os.environ.get("ITEMBED_FLICKR8K", "../shared/flickr8k")
    settings = arguments(Dataset(name="flickr8k", root=root, splits=("train", "dev")))
    groups = read_dataset(**settings)
    train, dev = ([c for group in groups if group.split == split for c in group.captions] for split in ("train", "dev"))
    return train, dev


def mismatches(tokenizer: str, train: list[str], dev: list[str]) -> int:
    """Count captions whose ids or number of known words differ between the reloaded graph and Python."""
    vocabulary = build_vocabulary(
        tokenize_captions(train, tokenizer=tokenizer, lowercase=True),
        tokenizer=tokenizer,
        lowercase=True,
        length=32,
        min_count=1,
        only_with_vectors=False,
    )
    texts = train + dev
    start = time.perf_counter()
    expected = vocabulary.encode(texts)
    python = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        module = tf.Module()
        module.graph = TextGraph(vocabulary, vocabulary.save(Path(folder) / "vocabulary.txt"))
        module.encode = tf.function(module.graph, input_signature=[tf.TensorSpec([None], tf.string)])
        tf.saved_model.save(module, f"{folder}/model")
        encode = tf.saved_model.load(f"{folder}/model").encode
        encode(tf.constant(texts[:1]))
        start = time.perf_counter()
        batches = [encode(tf.constant(texts[i : i + BATCH])) for i in range(0, len(texts), BATCH)]
        graph = time.perf_counter() - start
    ids, known = (np.concatenate(part) for part in zip(*batches))
    wrong = int(((ids != expected).any(axis=1) | (known != (expected > 0).sum(axis=1))).sum())
    print(
        f"{tokenizer}: {wrong} of {len(texts):,} captions differ; {len(vocabulary.words):,} words; captions/s: "
        f"{len(texts) / python:,.0f} in Python, {len(texts) / graph:,.0f} in the graph (batches of {BATCH})"
    )
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few built-in texts")
    train, dev = (TEXTS, TEXTS) if parser.parse_args().quick else captions()
    wrong = sum(mismatches(tokenizer, train, dev) for tokenizer in TOKENIZERS)
    print(f"text_parity: {wrong} (bar 0) {'ok' if wrong == 0 else 'short'}")
    return 0 if wrong == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
