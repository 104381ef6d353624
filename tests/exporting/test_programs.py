"""`itembed export`, from a run directory to files that give the run's embeddings, and its errors."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
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
from itembed_tf.exporting import load_pair
from itembed_tf.exporting.pca import fit_pca, project
from itembed_tf.models.dual_path import encoder
from itembed_tf.retrieval import RetrievalTable, retrieval_table
from itembed_tf.training.build import load_model
from itembed_tf.training.run_directory import open_run, write_metrics
from tests.support.small_run import SMALL, dataset_settings

pytestmark = pytest.mark.usefixtures("shallow_backbone")
ROOT = Path(__file__).parents[2]
TEXTS = ["a dog on a bike", "", "the red man runs"]
FLOAT32 = ("--text", "float32", "--image", "")


def test_the_exported_pair_gives_the_embeddings_of_the_run(small_run, small_export):
    live, vocabulary = load_model(open_run(small_run)), open_run(small_run).vocabulary
    text = tf.saved_model.load(str(small_export / "text_encoder/1")).signatures["serving_default"]
    given = text(text=tf.constant(TEXTS))
    assert given["known_words"].numpy().tolist() == [5, 0, 4]
    expected = encoder(live, "text", shifts="left")(vocabulary.encode(TEXTS))
    np.testing.assert_allclose(given["embedding"], expected, atol=1e-5)
    pixels = np.random.default_rng(1).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    image_file = tf.io.encode_jpeg(pixels)
    image = tf.saved_model.load(str(small_export / "image_encoder/1")).signatures["serving_default"]
    given = image(image_bytes=image_file[None])["embedding"]
    config = open_run(small_run).config
    expected = encoder(live, "image", flip=config.evaluation.flip)(load_image(image_file, size=32, fit="stretch")[None])
    np.testing.assert_allclose(given, expected, atol=1e-5)


@pytest.fixture(scope="module")
def shortened(small_run, tmp_path_factory) -> tuple[Path, str]:
    """An export of six dimensions without the mirror image, and what the command printed."""
    out = tmp_path_factory.mktemp("pca")
    command = [str(small_run), str(out), "--pca", "6", "--set", "evaluation.flip=false", "--set", "card.license=mit"]
    with redirect_stdout(StringIO()) as stdout:
        assert export.main(command) == 0
    return out, stdout.getvalue()


def test_the_output_names_what_was_written_and_the_next_command(shortened):
    folder, output = shortened
    contract = json.loads((folder / "encoders.json").read_text())
    for name in ("image_encoder", "text_encoder"):
        assert f"{folder / name / '1'}: {contract['encoders'][name]['bytes'] / 1e6:.1f} MB" in output
    assert contract["contract"][:16] in output and "calibration.npz: measured on dev" in output
    assert shlex.split(output.splitlines()[-1])[-2:] == ["serve", str(folder)]
    assert 'license: "mit"' in (folder / "README.md").read_text(encoding="utf-8")


def test_pca_is_fitted_on_train_and_reports_the_loss(small_run, small_dataset, small_export, shortened):
    out, output = shortened
    contract = json.loads((out / "encoders.json").read_text())
    assert contract["contract"] != _contract(small_export / "encoders.json")
    assert contract["encoding"]["flip"] is False
    assert contract["embedding_size"] == 6 and (contract["cut"]["from"], contract["cut"]["to"]) == (16, 6)
    blocks = contract["cut"]["before"], contract["cut"]["after"]
    assert all(format_table(RetrievalTable.from_json(block)) in output for block in blocks)

    folder, (_, pair) = small_dataset, load_pair(small_run, ["evaluation.flip=false"])
    rows = [line.split(",") for line in (folder / "captions.csv").read_text().splitlines()[1:]]
    content = {
        "image_encoder": lambda row: (folder / row[0]).read_bytes(),
        "text_encoder": lambda row: row[1],
    }

    def embed_dev(side: str) -> np.ndarray:
        encode = tf.saved_model.load(str(out / side / "1")).signatures["serving_default"]
        return encode(tf.constant([content[side](row) for row in rows[1::2]]))["embedding"].numpy()

    pixels = np.stack([load_image(content["image_encoder"](row), size=32, fit="stretch") for row in rows])
    live = pair.image_encoder(pixels).numpy(), pair.text_encoder(pair.vocabulary.encode([r[1] for r in rows])).numpy()
    whole = [(side[::2], side[1::2]) for side in live]
    cut = [embed_dev(side) for side in content]
    train = np.concatenate([side[0] for side in whole])  # eight images, eight captions
    axes = np.linalg.svd(train, full_matrices=False)[2][:6]
    kept = np.linalg.norm(train @ axes.T) ** 2 / len(train)
    assert contract["cut"]["kept_percent"] == pytest.approx(100 * kept, abs=1e-3)
    short = [side[1] @ axes.T for side in whole]
    short = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in short]
    np.testing.assert_allclose(cut[0] @ cut[1].T, short[0] @ short[1].T, atol=1e-5)  # axes are free in sign
    for block, sides in zip(blocks, ([side[1] for side in whole], cut)):
        table = retrieval_table(*sides, np.arange(8), np.arange(8))
        assert block["rsum"] == pytest.approx(table.rsum) and block["interval_95"]["rsum"][0] < block["rsum"]


@pytest.mark.parametrize(("size", "message"), [("16", "1 to 15, not 16"), ("99", "not 99")])
def test_pca_refuses_dimensions_out_of_range(size, message, small_run, tmp_path, capsys):
    assert export.main([str(small_run), str(tmp_path / "out"), "--pca", size]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_pca_keeps_zero_vectors_and_needs_enough_embeddings():
    random = np.random.default_rng(0)
    axes, kept_percent = fit_pca(Embeddings(random.normal(size=(9, 4)), random.normal(size=(9, 4))), 4)
    assert kept_percent == pytest.approx(100) and np.abs(axes.T @ axes - np.eye(4)).max() < 1e-6
    assert project(np.zeros((1, 4), np.float32), axes).tolist() == [[0, 0, 0, 0]]
    with pytest.raises(ValueError, match="too few for a PCA of 5 dimensions"):
        fit_pca(Embeddings(np.eye(2, 6), np.eye(2, 6)), 5)


@pytest.fixture(scope="module")
def litert(small_run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("litert")
    with redirect_stdout(StringIO()) as stdout, redirect_stderr(StringIO()) as stderr:
        assert export.main(["--to", "litert", str(small_run), str(out), *FLOAT32]) == 0
    assert re.search(r"^text_encoder.float32.tflite +\d+\.\d\d .* 0.00  6.25$", stdout.getvalue(), re.M)
    lines = stderr.getvalue().replace("\r", "\n")
    assert re.search(r"^\[2/2\] text_encoder.float32.tflite   \(0:\d\d elapsed", lines, re.M)
    return out


def test_a_litert_file_has_the_contract_hash_of_the_pair(small_export, litert):
    assert _contract(litert / "text_encoder.json") == _contract(small_export / "encoders.json")


def test_litert_averages_over_all_shifts(small_run, litert, tmp_path):
    command = ["--to", "litert", str(small_run), str(tmp_path), "--set", "evaluation.shifts=all", *FLOAT32]
    assert export.main(command) == 0
    settings = json.loads((tmp_path / "text_encoder.json").read_text())
    assert settings["parity"]["max_abs_difference"] <= 1e-5
    assert settings["contract"] != _contract(litert / "text_encoder.json")


@pytest.mark.parametrize("to", ["saved_model", "litert"])
def test_errors_name_the_run_or_the_setting(to, small_run, tmp_path, capsys):
    assert export.main(["--to", to, str(tmp_path / "nothing"), str(tmp_path / "out")]) == 1
    assert "is not a run directory" in capsys.readouterr().err
    assert export.main(["--to", to, str(small_run), str(tmp_path / "out"), "--set", "text.lowercase=false"]) == 2
    assert "an export can change evaluation.flip" in capsys.readouterr().err
    shutil.copytree(small_run, tmp_path / "unfinished")
    write_metrics(tmp_path / "unfinished", {"schema": 1, "finished": False, "classes": 3})
    assert export.main(["--to", to, str(tmp_path / "unfinished"), str(tmp_path / "out")]) == 1
    assert "has not finished" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_half_precision_run_is_exported_in_float32(small_run, small_dataset, litert, tmp_path):
    shutil.copytree(small_run, tmp_path / "half")
    config = load_config(None, [*SMALL, *dataset_settings(small_dataset), "precision=mixed_bfloat16"])
    (tmp_path / "half/config.toml").write_text(dump_config(config))
    keras.config.set_dtype_policy("mixed_bfloat16")  # as training leaves it
    assert export.main(["--to", "litert", str(tmp_path / "half"), str(tmp_path / "out"), *FLOAT32]) == 0
    name = "text_encoder.float32.tflite"
    assert (tmp_path / "out" / name).read_bytes() == (litert / name).read_bytes()


def test_the_benchmark_detects_one_recall_that_fell():
    recalls = {"R@1": 20.0, "R@5": 50.0, "R@10": 60.0}
    live = {"image_query": recalls, "text_query": recalls, "rsum": 260.0}
    exported = {**live, "text_query": {**recalls, "R@5": 49.5}, "rsum": 259.5}
    assert benchmarks.export_recall.compare(live, exported) == 0.5


def _contract(path: Path) -> str:
    return json.loads(path.read_text())["contract"]
