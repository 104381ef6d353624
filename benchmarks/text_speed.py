"""Speed of the text encoder, in texts/s, against all-MiniLM-L6-v2 on its fastest CPU runtime.

    python -m benchmarks.text_speed [RUN] [--quick]

RUN is a finished run directory, by default runs/flickr8k; its text encoder runs in LiteRT with int8 weights (precision
"dynamic"), one text per call. The peer runs in int8 with ONNX Runtime, at the best of three batch sizes, in a separate
process. Both have one thread, take strings, and take turns. The peer is a much larger model with an open vocabulary:
the figure is the cost of a query, not its quality.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.runner import print_versions, verdict

BAR = 2.0
BATCHES = (1, 8, 32)
ROUNDS = 5
TEXTS = 1000


class Peer:
    """`benchmarks.minilm` in another process, waiting for its turn."""

    def __init__(self, texts: Sequence[str]) -> None:
        command = [sys.executable, "-m", "benchmarks.minilm"]
        self.process = subprocess.Popen(
            command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        reply = self._ask(json.dumps(list(texts)))
        if not reply.startswith("ready"):
            raise SystemExit("the peer cannot run; its error is printed above")
        self.versions = reply.removeprefix("ready").strip()

    def seconds(self, batch: int) -> float:
        return float(self._ask(str(batch)))

    def _ask(self, line: str) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def ours(run: Path, texts: Sequence[str]) -> Callable[[], float]:
    """A function that embeds all texts once and returns the seconds."""
    from ai_edge_litert.interpreter import Interpreter

    from itembed_tf.exporting import load_pair
    from itembed_tf.exporting.litert_convert import convert

    _, pair = load_pair(run)
    content = convert(pair.text_encoder, name="ids", precision="dynamic")
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    x, y = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def seconds() -> float:
        start = time.perf_counter()
        for text in texts:
            interpreter.set_tensor(x, pair.vocabulary.encode([text]))
            interpreter.invoke()
            interpreter.get_tensor(y)
        return time.perf_counter() - start

    return seconds


def judge(taken: dict[str, float], count: int) -> int:
    """Print texts/s of each from its seconds for `count` texts, and the verdict against the peer's best."""
    for name, seconds in taken.items():
        print(f"{name:40}{count / seconds:10,.0f} texts/s")
    best = min(seconds for name, seconds in taken.items() if name != "ours")
    ratio = best / taken["ours"]
    return verdict("text_speed", f"{ratio:.1f} x the texts/s", f"{BAR:g} x", ratio >= BAR)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="runs/flickr8k", help="a finished run directory")
    parser.add_argument(
        "--quick", action="store_true", help="use a small run trained in seconds, few texts, two rounds"
    )
    args = parser.parse_args(argv)
    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        run, texts = _run_and_texts(args.run, args.quick, Path(folder))
        peer, embed = Peer(texts), ours(run, texts)
        print(f"{len(texts):,} texts, one thread each; peer: {peer.versions}")
        rounds: list[dict[str, float]] = []
        for _ in range(1 + (2 if args.quick else ROUNDS)):
            turn = {f"all-MiniLM-L6-v2, int8, batches of {size}": peer.seconds(size) for size in BATCHES}
            rounds.append({"ours": embed(), **turn})
        peer.close()
    taken = {name: float(np.median([turn[name] for turn in rounds[1:]])) for name in rounds[0]}  # the first warms up
    return judge(taken, len(texts))


def _run_and_texts(run: str, quick: bool, folder: Path) -> tuple[Path, list[str]]:
    from benchmarks.export_recall import data_override, small_run
    from itembed_tf.config import arguments, load_config
    from itembed_tf.data.readers import read_dataset

    path = small_run(folder) if quick else Path(run)
    config = load_config(path / "config.toml", [*data_override(path), 'dataset.splits=["dev"]'])
    captions = [caption for group in read_dataset(**arguments(config.dataset)) for caption in group.captions]
    return path, captions[:: max(1, len(captions) // TEXTS)][:TEXTS]


if __name__ == "__main__":
    sys.exit(main())
