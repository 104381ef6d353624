"""Size, speed and recall of the int8 text encoder for LiteRT.

    ITEMBED_FLICKR8K=... python -m benchmarks.edge [RUN] [--quick]

RUN is a finished run directory, by default runs/flickr8k. Its text encoder is exported at every precision and measured
on dev. The verdict is over the int8 file: its size against the float32 file, its recall on dev against the float32
model, and its speed against the run's SavedModel: one text per call, string in and embedding out, on one thread, taking
turns in one process.
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
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.export_recall import data_override, small_run
from benchmarks.runner import print_versions, verdict

if TYPE_CHECKING:
    from itembed_tf.exporting import MeasuredFile

SIZE, SPEED, LOSS = 0.27, 8.0, 1.0  # at most, at least, at most
PRECISIONS = ("float32", "float16", "dynamic", "int8")
TEXTS, ROUNDS = 200, 7


def times(run: str, folder: str) -> dict[str, float]:
    """Median ms per text of the run's SavedModel and of the files in `folder`, on one thread."""
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    from itembed_tf.training.run_directory import open_run

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    vocabulary = open_run(run).vocabulary
    texts = json.loads((Path(folder) / "texts.json").read_text(encoding="utf-8"))
    version = json.loads((Path(run) / "encoders" / "encoders.json").read_text(encoding="utf-8"))["version"]
    serve = tf.saved_model.load(f"{run}/encoders/text_encoder/{version}").signatures["serving_default"]

    def lite(file: Path) -> Callable[[str], Any]:
        interpreter = Interpreter(str(file), num_threads=1)
        interpreter.allocate_tensors()
        x, y = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

        def embed(text: str) -> Any:
            interpreter.set_tensor(x, vocabulary.encode([text]))
            interpreter.invoke()
            return interpreter.get_tensor(y)

        return embed

    runners: dict[str, Callable[[str], Any]] = {
        "SavedModel": lambda text: serve(text=tf.constant([text]))["embedding"].numpy(),
        **{precision: lite(Path(folder) / f"text_encoder.{precision}.tflite") for precision in PRECISIONS},
    }
    taken: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(ROUNDS + 1):
        for name, embed in runners.items():
            for text in texts:
                start = time.perf_counter()
                embed(text)
                if turn:  # the first warms up
                    taken[name].append(time.perf_counter() - start)
    return {name: 1000 * float(np.median(values)) for name, values in taken.items()}


def judge(files: Sequence[MeasuredFile], ms: dict[str, float]) -> int:
    """Print the time of each runtime, and the verdict; return the exit code."""
    for name, taken in ms.items():
        print(f"{name:12}{taken:8.3f} ms per text, one thread{ms['SavedModel'] / taken:8.1f} x the SavedModel's speed")
    by_precision = {file.precision: file for file in files}
    size = by_precision["int8"].bytes / by_precision["float32"].bytes
    speed, loss = ms["SavedModel"] / ms["int8"], by_precision["int8"].loss
    ok = size <= SIZE and speed >= SPEED and loss <= LOSS
    figure = f"{size:.3f} x the size, {speed:.1f} x the speed, {loss:.2f} points of R@1 lost"
    return verdict("edge", figure, f"{SIZE} x, {SPEED:g} x, {LOSS} points", ok)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="runs/flickr8k", help="a finished run directory")
    parser.add_argument(
        "--quick", action="store_true", help="use a small run trained in seconds, for which the bars do not hold"
    )
    parser.add_argument("--times", help=argparse.SUPPRESS)  # runs in a separate process with one thread
    args = parser.parse_args(argv)
    if args.times:
        print(json.dumps(times(args.run, args.times)))
        return 0
    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        run = small_run(Path(folder)) if args.quick else Path(args.run)
        rows = measured(run, Path(folder) / "edge")
        command = [sys.executable, "-m", "benchmarks.edge", str(run), "--times", f"{folder}/edge"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
    return judge(rows, json.loads(done.stdout.splitlines()[-1]))


def measured(run: Path, out: Path) -> Sequence[MeasuredFile]:
    """The text encoder at all precisions, with the table printed; `out` gets the files and some captions of dev."""
    from itembed_tf.config import arguments, load_config
    from itembed_tf.data.readers import read_dataset
    from itembed_tf.export import litert_table
    from itembed_tf.exporting import export_litert
    from itembed_tf.training.run_directory import RunError

    try:
        overrides = data_override(run)
        export = export_litert(run, out, text=PRECISIONS, image=(), accept_loss=True, overrides=overrides)
        print(litert_table(export), flush=True)
        config = load_config(run / "config.toml", [*overrides, 'dataset.splits=["dev"]'])
    except (RunError, OSError) as error:
        raise SystemExit(f"nothing to measure: {error}") from None
    captions = [caption for group in read_dataset(**arguments(config.dataset)) for caption in group.captions]
    (out / "texts.json").write_text(json.dumps(captions[:: max(1, len(captions) // TEXTS)]), encoding="utf-8")
    return export.files


if __name__ == "__main__":
    sys.exit(main())
