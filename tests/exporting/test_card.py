"""The model card of an export, as Hugging Face's own library reads it."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from itembed_tf import export
from itembed_tf.exporting import read_contract, write_card
from itembed_tf.exporting.front_matter import front_matter, model_index
from itembed_tf.retrieval import RetrievalTable, retrieval_table
from itembed_tf.retrieval.table import QUERY_DIRECTIONS
from itembed_tf.training.run_directory import read_metrics, write_metrics

huggingface_hub = pytest.importorskip("huggingface_hub")
repocard_data = pytest.importorskip("huggingface_hub.repocard_data")
pytest.importorskip("tf2onnx")
pytestmark = pytest.mark.usefixtures("shallow_backbone")
SETTINGS = ["card.languages=['en', 'pt-BR']", "card.license=apache-2.0", "card.data_license=CC BY 4.0"]
LITERT = ("--to", "litert", "--text", "float32", "--image", "")


def measured() -> RetrievalTable:
    """Ranks of random embeddings, with intervals that bootstrap would give."""
    random, groups = np.random.default_rng(3), np.arange(12)
    rows = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in random.normal(size=(2, 12, 3))]
    table = retrieval_table(*rows, groups, groups)
    sides = {
        name: replace(table[name], intervals={"R@1": (0.00005, 33.3), "R@5": (20.0, 70.0), "R@10": (60.0, 100.0)})
        for name in QUERY_DIRECTIONS
    }
    about = {"protocol": "folder test: 12 images, whole", "split": "test", "dataset": "folder", "gallery_images": 12}
    bootstrap = {"resamples": 1000, "seed": 0, "groups": 12}
    return replace(table, **sides, **about, gallery_captions=12, rsum_interval=(210.5, 300.25), bootstrap=bootstrap)


@pytest.fixture(scope="module")
def run(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run with figures of test in metrics.json."""
    folder = tmp_path_factory.mktemp("card") / "emoji run"
    shutil.copytree(small_run, folder)
    write_metrics(folder, read_metrics(folder) | {"dataset": "folder", "test": measured().to_json()})
    return folder


@pytest.fixture(scope="module")
def exports(
    run: Path, small_export: Path, small_onnx: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """An export of each format, and a shortened one; all but LiteRT are copies, with another card."""
    folder = tmp_path_factory.mktemp("exports")
    words = [word for setting in SETTINGS for word in ("--set", setting)]
    assert export.main([str(run), str(folder / "LiteRT"), *LITERT, *words]) == 0
    for name, of in {"SavedModel": small_export, "ONNX": small_onnx / "whole", "PCA": small_onnx / "pca"}.items():
        shutil.copytree(of, folder / name)
        write_card(folder / name, run, SETTINGS, pca=name == "PCA")
    return {name: folder / name for name in ("SavedModel", "LiteRT", "ONNX", "PCA")}


@pytest.mark.parametrize("name", ["SavedModel", "LiteRT", "ONNX"])
def test_the_figures_of_a_card_are_those_of_metrics_json(name, run, exports):
    card = huggingface_hub.ModelCard.load(exports[name] / "README.md")
    metadata = huggingface_hub.metadata_load(exports[name] / "README.md")
    title, results = repocard_data.model_index_to_eval_results(metadata["model-index"])
    assert title == "emoji run" and card.data.eval_results == results
    assert repocard_data.eval_results_to_model_index(title, results)[0]["results"][0]["metrics"]
    test = read_metrics(run)["test"]
    expected = {(d, figure): value for d in QUERY_DIRECTIONS for figure, value in test[d].items()}
    expected[None, "rsum"] = test["rsum"]
    found = {(r.metric_args.get("direction"), r.metric_args["figure"]): r for r in results}
    assert {key: result.metric_value for key, result in found.items()} == expected
    for (direction, figure), result in found.items():
        bounds = test["interval_95"][direction].get(figure) if direction else test["interval_95"]["rsum"]
        assert result.metric_args.get("interval_95") == bounds
        assert (result.metric_config, result.dataset_split) == (test["protocol"], "test")
    assert f"| text → image | R@5 | {test['text_query']['R@5']:.1f} | 20.0 to 70.0 |" in card.text
    assert f"| both | rsum | {test['rsum']:.1f} | 210.5 to 300.2 |" in card.text


@pytest.mark.parametrize(("name", "tag"), [("SavedModel", "savedmodel"), ("LiteRT", "litert"), ("ONNX", "onnx")])
def test_a_card_names_task_language_licences_contract_and_sizes(name, tag, exports):
    card = huggingface_hub.ModelCard.load(exports[name] / "README.md")
    data = card.data.to_dict()
    assert (data["language"], data["license"], data["library_name"]) == (["en", "pt-BR"], "apache-2.0", "itembed_tf")
    assert data["pipeline_tag"] == "feature-extraction" and {tag, "image-text-retrieval"} <= set(data["tags"])
    assert "Licence of the dataset: CC BY 4.0" in card.text
    assert read_contract(exports["SavedModel"]).contract in card.text
    total = sum(int(size.replace(",", "")) for size in re.findall(r"^\| `.*` \| ([\d,]+) \|$", card.text, re.M))
    files = [file for file in exports[name].rglob("*") if file.is_file() and file.name != "README.md"]
    assert total == sum(file.stat().st_size for file in files if not file.name.startswith("."))


@pytest.mark.parametrize(("name", "calls"), [("SavedModel", 2), ("LiteRT", 1), ("ONNX", 1)])
def test_the_call_in_a_card_runs(name, calls, exports, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(exports[name], folder)
    (folder / "photo.jpg").write_bytes(tf.io.encode_jpeg(tf.zeros([9, 12, 3], tf.uint8)).numpy())
    (snippet,) = re.findall("```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.S)
    monkeypatch.chdir(folder)
    exec(snippet, {})
    assert re.findall(r"\(\d+, \d+\)", capsys.readouterr().out) == ["(1, 16)"] * calls


def test_other_encoders_than_the_measured_ones_have_no_figures(run, exports, tmp_path):
    shortened = (exports["PCA"] / "README.md").read_text(encoding="utf-8")
    assert "6 dimensions" in shortened and "shortened embeddings (PCA)" in shortened
    shutil.copytree(exports["LiteRT"], tmp_path / "copy")
    changed = write_card(tmp_path / "copy", run, ["evaluation.flip=false"]).read_text(encoding="utf-8")
    for text in (shortened, changed):
        card = huggingface_hub.ModelCard(text)
        assert card.data.eval_results is None and "R@1" not in card.text


def test_what_is_not_known_is_said_to_be_unknown(small_run, small_export):
    card = huggingface_hub.ModelCard.load(small_export / "README.md")
    assert card.data.license == "unknown" and card.data.language is None
    assert "Licence of the dataset: unknown" in card.text and "has not measured" in card.text


@pytest.mark.parametrize("setting", ['card.languages=["english"]', "card.license=Apache 2.0"])
def test_settings_of_a_card_are_refused_before_the_export(setting, small_run, tmp_path, capsys):
    assert export.main([str(small_run), str(tmp_path / "out"), "--set", setting]) == 2
    assert setting.partition("=")[0] in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_texts_of_any_kind_survive_yaml():
    title = 'a: "b" # {c} [d] \\ – 猫 😀 \' %'
    table = measured()
    card = huggingface_hub.ModelCard(front_matter(title, ["ONNX"], table, languages=[], license="mit") + "\ntext\n")
    assert card.data.to_dict()["model-index"] == model_index(title, table)
