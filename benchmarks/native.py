"""Exported encoders in TensorFlow's C API, without Python packages in the process, against the same ones in Python.

    python -m benchmarks.native [EXPORTS] [--quick]

EXPORTS is an export or a run's ``encoders``, by default runs/flickr8k/encoders. TensorFlow Serving loads a SavedModel
with the same C++ loader and runs it in the same kind of session. `benchmarks.native_process` sends every warm-up record
of both encoders to the C API; here each is sent to the signatures that Python loads. The figure is the maximum
difference of any component of an embedding; the numbers of known words must be equal.
"""

from __future__ import annotations

import argparse
import base64
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.runner import print_versions, verdict
from benchmarks.served import toy_export
from itembed_tf.export_layout import ENCODERS

BAR = 1e-5
PROCESS = Path(__file__).with_name("native_process.py")
DTYPES = {1: np.float32, 3: np.int32}  # of TensorFlow's C API


class Figure(NamedTuple):
    """One encoder: its warm-up records, the items in them, and the difference of the two answers."""

    encoder: str
    records: int
    items: int
    worst: float


def measure(exports: Path, encoders: Sequence[str] = ENCODERS) -> Iterator[Figure]:
    """A figure of each of these encoders of an export, as soon as it is measured.

    Raises:
        AssertionError: a record has no answer, or one of another signature, shape or number of known words.
        SystemExit: the other process failed; its message says where.
    """
    from itembed_tf.exporting import read_contract

    contract = read_contract(exports)
    ops: list[Path] = []
    if "tensorflow_text" in contract.needs:
        importlib.import_module("tensorflow_text")
        ops = sorted((_package("tensorflow_text") / "python" / "ops").glob("*.so"))
    for encoder in encoders:
        folder = exports / encoder / str(contract.version)
        yield _compare(encoder, natively(folder, ops), in_python(folder))


def natively(folder: Path, ops: Sequence[Path]) -> list[dict[str, Any]]:
    """The answers of TensorFlow's C API to the warm-up records of a SavedModel."""
    library = next(_package("tensorflow").glob("libtensorflow_cc.*"))
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "answers.jsonl"
        # -I -S: no package can be imported, neither ours nor TensorFlow's own Python.
        command = [sys.executable, "-I", "-S", str(PROCESS), str(library), str(folder), str(out), *map(str, ops)]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode or "packages in the process: none" not in done.stdout:
            last = (done.stderr.splitlines() or [done.stdout])[-1]
            raise SystemExit(f"{folder}: the process of the C API failed (exit code {done.returncode}): {last}")
        return [json.loads(line) for line in out.read_text(encoding="ascii").splitlines()]


def in_python(folder: Path) -> Iterator[tuple[str, int, dict[str, np.ndarray]]]:
    """Signature, number of items and answer of each warm-up record, by the signatures that Python loads."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    from itembed_tf.export_layout import EXTRA_ASSETS, WARMUP_FILE

    model = tf.saved_model.load(str(folder))
    for record in tf.data.TFRecordDataset(str(folder / EXTRA_ASSETS / WARMUP_FILE)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        signature = request.model_spec.signature_name
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        answer = model.signatures[signature](**inputs)
        items = len(next(iter(inputs.values())))
        yield signature, items, {name: tensor.numpy() for name, tensor in answer.items()}


def _compare(
    encoder: str, native: list[dict[str, Any]], python: Iterator[tuple[str, int, dict[str, np.ndarray]]]
) -> Figure:
    worst, records, total = 0.0, 0, 0
    for answer, (signature, items, expected) in zip(native, python, strict=True):
        outputs = {name: _array(output) for name, output in answer["outputs"].items()}
        assert answer["signature"] == signature and outputs.keys() == expected.keys(), (answer["signature"], signature)
        assert len(outputs["embedding"]) == items
        for name, array in expected.items():
            found = outputs[name]
            assert (found.shape, found.dtype) == (array.shape, array.dtype), f"{signature}: {name}"
            if name == "embedding":
                off = np.abs(found.astype(np.float64) - array).max()
                worst = max(worst, float(off)) if np.isfinite(off) else np.inf
            else:
                assert np.array_equal(found, array), f"{signature}: {name} are {found}, in Python {array}"
        records, total = records + 1, total + items
    return Figure(encoder, records, total, worst)


def _array(output: dict[str, Any]) -> np.ndarray:
    content = base64.b64decode(output["content"])
    return np.frombuffer(content, DTYPES[output["dtype"]]).reshape(output["shape"])


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    assert found is not None and found.origin is not None
    return Path(found.origin).parent


def judge(figures: Sequence[Figure]) -> int:
    worst = max((figure.worst for figure in figures), default=np.inf)
    records = sum(figure.records for figure in figures)
    return verdict("native", f"{worst:.1e}, {records} warm-up records", f"{BAR:g}", worst <= BAR and records > 0)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exports", nargs="?", default="runs/flickr8k/encoders", help="a folder with encoders.json")
    parser.add_argument("--quick", action="store_true", help="tiny encoders, one pair for each tokenizer")
    args = parser.parse_args(argv)
    from itembed_tf.exporting import ExportError

    print_versions()
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        toys = [(Path(folder) / tokenizer, tokenizer) for tokenizer in ("words", "unicode")] if args.quick else []
        all_exports = [toy_export(out, tokenizer=tokenizer) for out, tokenizer in toys] or [Path(args.exports)]
        for exports in all_exports:
            try:
                for figure in measure(exports):
                    counts = f"{figure.records} warm-up records, {figure.items} items"
                    print(f"{figure.encoder}: {counts}, worst difference {figure.worst:.1e}", flush=True)
                    figures.append(figure)
            except ExportError as error:
                raise SystemExit(f"nothing to measure: {error}") from None
    return judge(figures)


if __name__ == "__main__":
    sys.exit(main())
