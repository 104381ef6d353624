"""The export programs, from a run directory to files that answer, and what they say where they cannot."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import benchmarks.export_recall
from itembed_tf import export
from itembed_tf.config import dump_config, load_config
from itembed_tf.data.images import load_image
from itembed_tf.evaluation.embeddings import Embeddings
from itembed_tf.evaluation.formatting import format_table
from itembed_tf.exporting.pca import fit_pca, project
from itembed_tf.models.dual_path import encoder
from itembed_tf.retrieval import RetrievalTable, retrieval_table
from itembed_tf.text import Vocabulary
from itembed_tf.training.build import build_model, load_model
from itembed_tf.training.run_directory import open_run, save_weights, start_run, write_metrics

ROOT = Path(__file__).parents[2]
SENTENCES = ["a dog on a bike", "", "the red man runs"]
WORDS = ("a", "bike", "dog", "man", "on", "red", "runs", "the")
FLOAT32 = ("--text", "float32", "--image", "")
SMALL = [
    "embedding_size=16",
    "image.size=32",
    "image_tower.weights=none",
    "text.length=5",
    "text_tower.width=0.125",
    "text_tower.blocks=[1]",
    "text_tower.word_width=8",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> list[str]:
    """Sixteen pictures on disk, as settings of a data set."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(5)
    rows = ["image,caption,split"]
    for i in range(16):
        pixels = random.integers(0, 255, (24, 24, 3), dtype=np.uint8)
        (folder / f"{i}.png").write_bytes(tf.io.encode_png(pixels).numpy())
        words = " ".join(random.permutation(WORDS)[: 2 + i % 5])
        rows.append(f"{i}.png,{words},{('train', 'dev')[i % 2]}")
    (folder / "captions.csv").write_text("\n".join(rows) + "\n")
    return ["dataset.name=folder", f'dataset.root="{folder}"', 'dataset.splits=["train", "dev"]']


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    """A finished run, as far as an export can tell: random weights and batch statistics."""
    path = tmp_path_factory.mktemp("runs") / "small"
    config = load_config(None, [*SMALL, *data])
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


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("exported")
    assert export.main([str(run), str(out)]) == 0
    return out


def test_the_pair_answers_as_the_run_does(run, exported):
    live, vocabulary = load_model(open_run(run)), open_run(run).vocabulary
    text = tf.saved_model.load(str(exported / "text_encoder/1")).signatures["serving_default"]
    given = text(text=tf.constant(SENTENCES))
    assert given["known_words"].numpy().tolist() == [5, 0, 4]
    expected = encoder(live, "text", shifts="left")(vocabulary.encode(SENTENCES))
    np.testing.assert_allclose(given["embedding"], expected, atol=1e-5)
    pixels = np.random.default_rng(1).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    picture = tf.io.encode_jpeg(pixels)
    image = tf.saved_model.load(str(exported / "image_encoder/1")).signatures["serving_default"]
    given = image(image_bytes=picture[None])["embedding"]
    config = open_run(run).config
    expected = encoder(live, "image", flip=config.evaluation.flip)(load_image(picture, size=32, fit="stretch")[None])
    np.testing.assert_allclose(given, expected, atol=1e-5)


def test_the_program_says_what_it_wrote_and_its_hint_runs(run, exported, tmp_path, capsys):
    assert export.main([str(run), str(tmp_path), "--set", "evaluation.shifts=all"]) == 0
    said = capsys.readouterr().out
    contract = json.loads((tmp_path / "encoders.json").read_text())
    for name in ("image_encoder", "text_encoder"):
        assert f"{tmp_path / name / '1'}: {contract['encoders'][name]['bytes'] / 1e6:.1f} MB" in said
    assert contract["contract"][:16] in said
    averaged_otherwise = "the same weights give other embeddings: an index must not mix the two"
    assert contract["contract"] != _contract(exported / "encoders.json"), averaged_otherwise
    hint = said.split("try it:\n")[1].strip().replace("python", sys.executable, 1)
    done = subprocess.run(hint, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "embedding" in done.stdout, done.stderr[-2000:]


def test_a_cut_is_pca_on_train_inside_the_encoders_and_says_what_it_costs(run, data, exported, tmp_path, capsys):
    assert export.main([str(run), str(tmp_path), "--pca", "6"]) == 0
    said = capsys.readouterr().out
    contract = json.loads((tmp_path / "encoders.json").read_text())
    assert contract["contract"] != _contract(exported / "encoders.json")
    assert contract["embedding_size"] == 6 and (contract["cut"]["from"], contract["cut"]["to"]) == (16, 6)
    blocks = contract["cut"]["before"], contract["cut"]["after"]
    assert all(format_table(RetrievalTable.from_json(block)) in said for block in blocks)

    folder = Path(json.loads(data[1].partition("=")[2]))
    rows = [line.split(",") for line in (folder / "captions.csv").read_text().splitlines()[1:]]
    content = {
        "image_encoder": lambda row: (folder / row[0]).read_bytes(),
        "text_encoder": lambda row: row[1],
    }

    def embed(out: Path, side: str) -> tuple[np.ndarray, np.ndarray]:
        """Of train and of dev, from one load."""
        encode = tf.saved_model.load(str(out / side / "1")).signatures["serving_default"]
        found = encode(tf.constant([content[side](row) for row in rows]))["embedding"].numpy()
        return found[::2], found[1::2]

    whole = [embed(exported, side) for side in content]
    cut = [embed(tmp_path, side)[1] for side in content]
    train = np.concatenate([side[0] for side in whole])  # eight pictures, eight captions
    axes = np.linalg.svd(train, full_matrices=False)[2][:6]
    kept = np.linalg.norm(train @ axes.T) ** 2 / len(train)
    assert contract["cut"]["kept_percent"] == pytest.approx(100 * kept, abs=1e-3)
    short = [side[1] @ axes.T for side in whole]
    short = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in short]
    np.testing.assert_allclose(cut[0] @ cut[1].T, short[0] @ short[1].T, atol=1e-5)  # axes are free in sign
    for block, pair in zip(blocks, ([side[1] for side in whole], cut)):
        table = retrieval_table(*pair, np.arange(8), np.arange(8))
        assert block["rsum"] == pytest.approx(table.rsum) and block["interval_95"]["rsum"][0] < block["rsum"]


@pytest.mark.parametrize(("size", "says"), [("16", "1 to 15, not 16"), ("99", "not 99")])
def test_a_cut_that_is_none_is_refused(size, says, run, tmp_path, capsys):
    assert export.main([str(run), str(tmp_path / "out"), "--pca", size]) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_cut_keeps_what_says_nothing_at_zero_and_needs_enough_of_train():
    random = np.random.default_rng(0)
    axes, kept = fit_pca(Embeddings(random.normal(size=(9, 4)), random.normal(size=(9, 4))), 4)
    assert kept == pytest.approx(100) and np.abs(axes.T @ axes - np.eye(4)).max() < 1e-6
    assert project(np.zeros((1, 4), np.float32), axes).tolist() == [[0, 0, 0, 0]]
    with pytest.raises(ValueError, match="too few for a PCA of 5 dimensions"):
        fit_pca(Embeddings(np.eye(2, 6), np.eye(2, 6)), 5)


@pytest.fixture(scope="module")
def tflite(run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("tflite")
    command = [sys.executable, "-m", "export.tflite", run, out, *FLOAT32]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"^text_encoder.float32.tflite +\d+\.\d\d .* 0.00  6.25$", done.stdout, re.M)
    return out


def test_tflite_belongs_to_the_pair(exported, tflite):
    assert _contract(tflite / "text_encoder.json") == _contract(exported / "encoders.json")


def test_tflite_averages_over_all_shifts(run, tflite, tmp_path):
    assert export.main(["--to", "litert", str(run), str(tmp_path), "--set", "evaluation.shifts=all", *FLOAT32]) == 0
    told = json.loads((tmp_path / "text_encoder.json").read_text())
    assert told["parity"]["max_abs_difference"] <= 1e-5
    assert told["contract"] != _contract(tflite / "text_encoder.json")


@pytest.mark.parametrize("to", ["saved_model", "litert"])
def test_what_cannot_be_exported_is_said(to, run, tmp_path, capsys):
    assert export.main(["--to", to, str(tmp_path / "nothing"), str(tmp_path / "out")]) == 1
    assert "is not a run directory" in capsys.readouterr().err
    assert export.main(["--to", to, str(run), str(tmp_path / "out"), "--set", "text.lowercase=false"]) == 2
    assert "an export can change evaluation.flip" in capsys.readouterr().err
    shutil.copytree(run, tmp_path / "unfinished")
    write_metrics(tmp_path / "unfinished", {"schema": 1, "finished": False, "classes": 3})
    assert export.main(["--to", to, str(tmp_path / "unfinished"), str(tmp_path / "out")]) == 1
    assert "has not finished" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_half_precision_run_is_exported_in_float32(run, data, tflite, tmp_path):
    shutil.copytree(run, tmp_path / "half")
    (tmp_path / "half/config.toml").write_text(
        dump_config(load_config(None, [*SMALL, *data, "precision=mixed_bfloat16"]))
    )
    keras.config.set_dtype_policy("mixed_bfloat16")  # as the training program leaves it
    assert export.main(["--to", "litert", str(tmp_path / "half"), str(tmp_path / "out"), *FLOAT32]) == 0
    name = "text_encoder.float32.tflite"
    assert (tmp_path / "out" / name).read_bytes() == (tflite / name).read_bytes()


def test_the_benchmark_measures_a_small_run():
    command = [sys.executable, "-m", "benchmarks.export_recall", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rsum = float(next(line for line in done.stdout.splitlines() if line.startswith("rsum")).split()[1])
    assert rsum > 120, "chance is 82: a pair of constant encoders would agree about nothing"
    assert done.stdout.splitlines()[-1] == "export_recall: 0.00 points (bar 0.1) ok"


def test_the_benchmark_sees_one_recall_that_fell():
    recalls = {"R@1": 20.0, "R@5": 50.0, "R@10": 60.0}
    live = {"image_query": recalls, "text_query": recalls, "rsum": 260.0}
    served = {**live, "text_query": {**recalls, "R@5": 49.5}, "rsum": 259.5}
    assert benchmarks.export_recall.compare(live, served) == 0.5


def _contract(path: Path) -> str:
    return json.loads(path.read_text())["contract"]
