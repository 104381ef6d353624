"""The peer of `benchmarks.text_speed`, in a separate process: all-MiniLM-L6-v2, int8, in ONNX Runtime.

Reads a list of texts as one line of JSON and prints "ready" with versions. For every further line, a batch size, it
embeds all texts on one thread and prints the seconds. Tokenisation, truncation, padding, mean pooling and normalisation
follow the model card. Texts are sorted by length, which reduces padding and favours the peer.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

import numpy as np

from itembed_tf.text.word_vectors.minilm import minilm_model

MAX_TOKENS = 128  # captions have at most 30


def main() -> int:
    session, tokenizer = minilm_model()
    tokenizer.enable_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    sentences = sorted(json.loads(sys.stdin.readline()), key=len)

    def embed(batch: list[str]) -> np.ndarray:
        encoded = tokenizer.encode_batch(batch)
        ids, mask = (np.array([getattr(e, name) for e in encoded], np.int64) for name in ("ids", "attention_mask"))
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        words = session.run(None, inputs)[0] * mask[:, :, None]
        mean = words.sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    alike = embed(["a dog runs on the grass", "a puppy is running over a lawn", "the stock market fell today"])
    if not alike[0] @ alike[1] > 0.5 > alike[0] @ alike[2]:
        raise SystemExit(f"the peer's similarities are not those of all-MiniLM-L6-v2: {alike @ alike.T}")
    print(f"ready onnxruntime {version('onnxruntime')}, tokenizers {version('tokenizers')}", flush=True)
    for line in sys.stdin:
        size = int(line)
        start = time.perf_counter()
        for i in range(0, len(sentences), size):
            embed(sentences[i : i + size])
        print(time.perf_counter() - start, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
