"""How many sentences a second, against all-MiniLM-L6-v2 on its fastest CPU runtime?

    python -m benchmarks.text_speed [RUN] [--quick]

RUN is a finished run directory, by default runs/flickr8k; its text encoder runs in LiteRT with int8 weights (precision
"dynamic"), one sentence a call. The peer runs in int8 by ONNX Runtime, in the best of three batch sizes, in a process
of its own. Both have one thread, take strings, and take turns. It is a much larger model, of open vocabulary: the
figure says what a query costs, not which finds more.
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
SENTENCES = 1000


class Peer:
    """`benchmarks.minilm` in another process, waiting for its turns."""

    def __init__(self, sentences: Sequence[str]) -> None:
        command = [sys.executable, "-m", "benchmarks.minilm"]
        self.process = subprocess.Popen(
            command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        said = self._ask(json.dumps(list(sentences)))
        if not said.startswith("ready"):
            raise SystemExit("the peer cannot run; what it said stands above")
        self.versions = said.removeprefix("ready").strip()

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


def ours(run: Path, sentences: Sequence[str]) -> Callable[[], float]:
    """A function that embeds all sentences once and gives the seconds it took."""
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
        for sentence in sentences:
            interpreter.set_tensor(x, pair.vocabulary.encode([sentence]))
            interpreter.invoke()
            interpreter.get_tensor(y)
        return time.perf_counter() - start

    return seconds


def judge(taken: dict[str, float], count: int) -> int:
    """Print sentences a second of each, by its seconds for `count`, and the verdict over the peer's best."""
    for name, seconds in taken.items():
        print(f"{name:40}{count / seconds:10,.0f} sentences a second")
    best = min(seconds for name, seconds in taken.items() if name != "ours")
    ratio = best / taken["ours"]
    return verdict("text_speed", f"{ratio:.1f} x the sentences a second", f"{BAR:g} x", ratio >= BAR)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="runs/flickr8k", help="a finished run directory")
    parser.add_argument("--quick", action="store_true", help="a run of seconds, a few sentences, two turns")
    args = parser.parse_args(argv)
    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        run, sentences = _run_and_sentences(args.run, args.quick, Path(folder))
        peer, embed = Peer(sentences), ours(run, sentences)
        print(f"{len(sentences):,} sentences, one thread each; peer: {peer.versions}")
        rounds: list[dict[str, float]] = []
        for _ in range(1 + (2 if args.quick else ROUNDS)):
            turn = {f"all-MiniLM-L6-v2, int8, batches of {size}": peer.seconds(size) for size in BATCHES}
            rounds.append({"ours": embed(), **turn})
        peer.close()
    taken = {name: float(np.median([turn[name] for turn in rounds[1:]])) for name in rounds[0]}  # the first warms up
    return judge(taken, len(sentences))


def _run_and_sentences(run: str, quick: bool, folder: Path) -> tuple[Path, list[str]]:
    from benchmarks.export_recall import data_override, small_run
    from itembed_tf.config import arguments, load_config
    from itembed_tf.data.readers import read_dataset

    path = small_run(folder) if quick else Path(run)
    config = load_config(path / "config.toml", [*data_override(path), 'dataset.splits=["dev"]'])
    captions = [caption for group in read_dataset(**arguments(config.dataset)) for caption in group.captions]
    return path, captions[:: max(1, len(captions) // SENTENCES)][:SENTENCES]


if __name__ == "__main__":
    sys.exit(main())
