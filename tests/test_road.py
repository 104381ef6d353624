"""Training from end to end by the commands: from a folder of images to a run directory, encoders and a report."""

from __future__ import annotations

import csv
import json
import re
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageDraw

from itembed_tf import compare, evaluate, train
from itembed_tf.config import load_config
from itembed_tf.data.batches import flatten
from itembed_tf.data.readers import Group
from itembed_tf.index import Query, open_searcher
from itembed_tf.index.build import build_index
from itembed_tf.index.sources import find_source
from itembed_tf.index.teaching import teach
from itembed_tf.pipeline import encoder
from itembed_tf.pipeline.stages import batches_of
from itembed_tf.pipeline.training_data import word_vectors
from itembed_tf.training.build import build_model
from itembed_tf.training.checkpoints import Checkpoint
from itembed_tf.training.frozen_outputs import evaluation_features
from itembed_tf.training.state import RunState
from itembed_tf.training.train_set import TrainSet

pytestmark = pytest.mark.usefixtures("shallow_backbone")
COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 160, 60),
    "blue": (40, 60, 220),
    "yellow": (240, 220, 40),
    "black": (20, 20, 20),
    "pink": (250, 140, 190),
}
SHAPES = ("square", "circle", "triangle", "cross")
TEMPLATES = ("a {colour} {shape}", "the {shape} is {colour}", "{colour} {shape} on {paper} paper")
PAPERS = {"white": (255, 255, 255), "cream": (252, 249, 240)}
ONLY_HELD_OUT = "zebra"  # a word of dev and test captions that no training caption has

SETTINGS = {
    "dataset.name": '"folder"',
    "text.length": "8",
    "image.size": "64",
    "word_vectors.source": '"random"',
    "text_tower.width": "0.1",
    "text_tower.blocks": "[1, 1]",
    "text_tower.word_width": "16",
    "embedding_size": "32",
    "image_tower.weights": '"none"',
    "image_tower.levels": '["block2_2_add", "head_relu"]',
    "max_broken_percent": "3.0",
}
STAGES = """
[[stages]]
name = "I"
epochs = 20
batch_size = 8
cached_views = 2
learning_rate = 3e-3
losses = { instance_image = 1.0, instance_text = 1.0, infonce = 1.0 }

[[stages]]
name = "II"
epochs = 1
batch_size = 16
freeze = []
learning_rate = 1e-5
keep = "last"
"""


def draw(shape: str, colour: str, paper: str) -> Image.Image:
    picture = Image.new("RGB", (96, 80), PAPERS[paper])
    pen, fill = ImageDraw.Draw(picture), COLOURS[colour]
    if shape == "square":
        pen.rectangle((24, 16, 72, 64), fill=fill)
    elif shape == "circle":
        pen.ellipse((24, 16, 72, 64), fill=fill)
    elif shape == "triangle":
        pen.polygon(((48, 12), (78, 66), (18, 66)), fill=fill)
    else:
        pen.rectangle((40, 10, 56, 70), fill=fill)
        pen.rectangle((18, 32, 78, 48), fill=fill)
    return picture


def write_pictures(folder: Path) -> None:
    """48 pictures: 28 train, 10 dev, 10 test; one of the training pictures is cut short.

    Each shape and colour of dev and test is in train once, on the other paper.
    """
    rows = []
    names = [(s, c, p) for p in PAPERS for c in COLOURS for s in SHAPES]
    for number, (shape, colour, paper) in enumerate(names):
        split = {0: "dev", 2: "test"}.get(number % 5, "train")
        draw(shape, colour, paper).save(folder / f"{number}.png")
        captions = [template.format(shape=shape, colour=colour, paper=paper) for template in TEMPLATES]
        captions += [f"{captions[0]} {ONLY_HELD_OUT}"] if split != "train" else []
        rows += [{"image": f"{number}.png", "caption": caption, "split": split} for caption in captions]
    broken = folder / next(row["image"] for row in rows if row["split"] == "train")
    broken.write_bytes(broken.read_bytes()[:200])
    with (folder / "captions.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ("image", "caption", "split"))
        table.writeheader()
        table.writerows(rows)


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, own_cache: None, deterministic_ops_end: None, shallow_backbone: None
) -> dict[str, Any]:
    """One finished training by the command line: its run directory, pictures and arguments."""
    place = tmp_path_factory.mktemp("trained")
    pictures = place / "pictures"
    pictures.mkdir()
    write_pictures(pictures)
    toml = place / "shapes.toml"
    toml.write_text(STAGES)
    arguments = [str(toml), str(place / "run")]
    for key, value in {**SETTINGS, "dataset.root": json.dumps(str(pictures))}.items():
        arguments += ["--set", f"{key}={value}"]
    assert train.main(arguments) == 0
    return {"run": place / "run", "pictures": pictures, "arguments": arguments}


def metrics(trained: dict[str, Any]) -> dict[str, Any]:
    return json.loads((trained["run"] / "metrics.json").read_text())


def test_run_directory_holds_what_the_contract_says(trained):
    there = {path.name for path in trained["run"].iterdir()}
    expected = {"config.toml", "vocabulary.txt", "skipped.json", "history.jsonl", "metrics.json"}
    assert expected | {"weights", "checkpoints", "logs", "report", "encoders"} <= there
    assert "model-index" in (trained["run"] / "encoders/README.md").read_text(encoding="utf-8")
    assert list((trained["run"] / "logs").glob("events.*")), "nothing for TensorBoard"
    assert not list((trained["run"] / "checkpoints").iterdir()), "a finished run needs no checkpoint"
    assert load_config(trained["run"] / "config.toml").embedding_size == 32  # resolved: reads back by itself


def test_metrics_follow_the_schema(trained):
    measured = metrics(trained)
    assert measured["schema"] == 1 and measured["dataset"] == "folder" and measured["finished"] is True
    assert [(stage["name"], stage["epochs"]) for stage in measured["stages"]] == [("I", 20), ("II", 1)]
    history = [json.loads(line) for line in (trained["run"] / "history.jsonl").read_text().splitlines()]
    assert [(entry["stage"], entry["epoch"]) for entry in history] == [("I", n) for n in range(1, 21)] + [("II", 1)]
    for stage in measured["stages"]:
        assert stage["seconds"] > 0 and stage["images_per_s"] > 0
        assert stage["train"].keys() >= {"loss", "instance_image", "instance_text", "accuracy_image", "accuracy_text"}
    best = max(entry["val"]["rsum"] for entry in history[:20])
    assert measured["stages"][0]["val"]["rsum"] == best
    assert measured["stages"][1]["val"] == history[20]["val"]
    for table in [measured["test"], *(stage["val"] for stage in measured["stages"])]:
        for query in ("image_query", "text_query"):
            assert set(table[query]) == {"R@1", "R@5", "R@10", "MedR", "MeanR"}
            assert 0 <= table[query]["R@1"] <= table[query]["R@5"] <= table[query]["R@10"] <= 100
    assert measured["test"]["gallery_images"] == 10 and measured["test"]["gallery_captions"] == 10 * 4
    overlap = measured["test"]["overlap"]
    assert 0 < overlap["S"] < 1 and (overlap["matching_pairs"], overlap["other_pairs"]) == (40, 360)
    assert "flip=yes" in measured["test"]["protocol"] and "shifts=left" in measured["test"]["protocol"]
    assert measured["test"]["name"] == "whole/10x40" and measured["test"]["split"] == "test"
    low, high = measured["test"]["interval_95"]["rsum"]
    assert low <= measured["test"]["rsum"] <= high


def test_it_learns(trained):
    history = [json.loads(line) for line in (trained["run"] / "history.jsonl").read_text().splitlines()][:20]
    assert history[-1]["train"]["instance_text"] < history[0]["train"]["instance_text"] / 2
    assert max(entry["train"]["accuracy_text"] for entry in history) > 0.4  # chance 0.04
    assert max(entry["val"]["text_query"]["R@5"] for entry in history) > 60  # chance 50: 5 of 10 pictures


def test_vocabulary_is_of_training_captions_alone(trained):
    words = (trained["run"] / "vocabulary.txt").read_text().split()
    assert {"red", "square", "paper"} <= set(words)
    assert ONLY_HELD_OUT not in words
    assert words == sorted(words)


def test_words_of_the_vectors_are_known_though_no_caption_has_them(tmp_path):
    (tmp_path / "glove.txt").write_text("zebra 1 2\nwolf 3 4\nred 5 6\n")
    keys = {"source": '"glove"', "path": json.dumps(str(tmp_path / "glove.txt")), "extra_words": "1"}
    overrides = [f"word_vectors.{key}={value}" for key, value in keys.items()]
    config = load_config(None, [*overrides, "text_tower.word_width=2", "text.tokenizer=words"])
    groups = [Group("a", ("a.jpg",), ("a red square",), "train")]
    vocabulary, (table,) = word_vectors(config, [caption.split() for caption in groups[0].captions])
    assert vocabulary.words == ("a", "red", "square", "zebra")
    np.testing.assert_array_equal(table[[2, 4]], [[5, 6], [1, 2]])


def test_other_levels_of_the_cnn_are_other_features(tmp_path):
    """The weights are the same ones: the cache must not give what was computed for the other layers."""
    draw("circle", "red", next(iter(PAPERS))).save(tmp_path / "a.png")
    items = flatten([Group("a", (str(tmp_path / "a.png"),), ("a red circle",), "train")])
    found = []
    for levels in ('["block2_2_add"]', '["block1_1_project_bn"]', '["block2_2_add"]'):
        config = load_config(None, ["image.size=32", 'image_tower.weights="none"', f"image_tower.levels={levels}"])
        model = build_model(config, vocabulary_size=3, classes=1)
        found.append(evaluation_features(config, model, items))
    assert [features.shape for features in found] == [(1, 48), (1, 32), (1, 48)]
    np.testing.assert_array_equal(found[0], found[2])


def test_clusters_are_found_once_and_are_the_labels_of_the_batches(tmp_path):
    """Two black and two white pictures in two classes; a continued run takes the classes that it began with."""
    groups = []
    for name, colour in (("a", "black"), ("b", "white"), ("c", "black"), ("d", "white")):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{name}.png")
        groups.append(Group(name, (str(tmp_path / f"{name}.png"),), ("a picture",), "train"))
    config = load_config(None, ["image.size=32", 'image_tower.weights="none"', "classes.clusters=2"])
    items = flatten(groups)
    model = build_model(config, vocabulary_size=3, classes=2)
    labels = encoder._class_labels(config, tmp_path, model, items, None)
    assert labels[0] == labels[2] != labels[1] == labels[3]
    other = load_config(None, ["image.size=32", 'image_tower.weights="none"', "classes.clusters=2", "seed=7"])
    continued = Checkpoint(RunState(), {})
    assert encoder._class_labels(other, tmp_path, model, items, continued).tolist() == labels.tolist()
    ids = np.array([[1, 2], [2, 1], [1, 1], [2, 2]], np.int32)  # one caption a group: it tells which group it is of
    of_epoch = batches_of(config, model, TrainSet(items, ids, labels), config.stages[0], 0)
    batch = next(iter(of_epoch(0, 0)))
    by_caption = {tuple(row): label for row, label in zip(ids.tolist(), labels.tolist(), strict=True)}
    assert batch["classes"].numpy().tolist() == [by_caption[tuple(row)] for row in batch["ids"].numpy().tolist()]


def test_the_broken_picture_is_counted_named_and_left_out(trained):
    skipped = json.loads((trained["run"] / "skipped.json").read_text())
    assert len(skipped) == 1 and skipped[0]["image"].endswith(".png") and skipped[0]["reason"]
    assert metrics(trained)["classes"] == 27
    report = (trained["run"] / "report" / "index.html").read_text()
    assert Path(skipped[0]["image"]).name in report


def test_the_report_stands_alone(trained):
    report = (trained["run"] / "report" / "index.html").read_text()
    assert "data:image/" in report and "zebra" in report
    assert "Word importance" in report and "Before and after training" in report
    low, high = metrics(trained)["test"]["interval_95"]["text_query"]["R@1"]
    assert f'<td class="interval">{low:.1f} to {high:.1f}</td>' in report
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*\.(?:png|jpe?g|css|js)"', report)


def test_encoders_find_what_the_run_says(trained):
    """Raw bytes and strings through the two SavedModels give the table of metrics.json."""
    from itembed_tf.config import arguments
    from itembed_tf.data.batches import flatten
    from itembed_tf.data.readers import read_dataset
    from itembed_tf.retrieval import retrieval_table

    folder = trained["run"] / "encoders"
    image = tf.saved_model.load(str(folder / "image_encoder" / "1")).signatures["serving_default"]
    text = tf.saved_model.load(str(folder / "text_encoder" / "1")).signatures["serving_default"]
    config = load_config(trained["run"] / "config.toml", ['dataset.splits=["test"]'])
    items = flatten(read_dataset(**arguments(config.dataset)))
    images = image(image_bytes=tf.constant([Path(path).read_bytes() for path in items.images]))["embedding"].numpy()
    captions = text(text=tf.constant(items.captions))
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-5)
    table = retrieval_table(images, captions["embedding"].numpy(), items.image_groups, items.caption_groups)
    measured = metrics(trained)["test"]
    assert table.rsum == pytest.approx(measured["rsum"], abs=0.1)
    known = captions["known_words"].numpy()[items.captions.index(next(c for c in items.captions if "zebra" in c))]
    assert known == 3


def test_evaluate_prints_the_recalls_of_metrics_json(trained, capsys):
    assert evaluate.main([str(trained["run"]), "--split", "test"]) == 0
    printed = capsys.readouterr().out
    measured = metrics(trained)["test"]
    for query, word in (("image_query", "image → text"), ("text_query", "text → image")):
        line = next(line for line in printed.splitlines() if line.startswith(word))
        assert [float(n) for n in line.split()[3:6]] == [round(measured[query][k], 1) for k in ("R@1", "R@5", "R@10")]
    assert f"rsum {measured['rsum']:.1f}" in printed


def test_evaluate_accepts_the_broken_pictures_that_the_run_accepted(trained, capsys):
    """1 of 28 training pictures is over the limit of 3 %; of all 48 it was not."""
    assert evaluate.main([str(trained["run"]), "--split", "train"]) == 0
    assert "skipped: " in capsys.readouterr().err


def test_ranks_are_kept_and_two_runs_compared(trained, capsys):
    run = str(trained["run"])
    assert compare.main([run, run, "--split", "test"]) == 0  # measured at the end of the training
    output = capsys.readouterr().out
    assert "folder test, whole" in output and output.count("undecided") == 7
    assert f"{metrics(trained)['test']['rsum']:.1f}" in output
    assert compare.main([run, run]) == 1
    assert f"itembed evaluate {run} --split dev" in capsys.readouterr().err
    assert evaluate.main([run]) == 0 and compare.main([run, run]) == 0
    before = len(list((trained["run"] / "ranks").iterdir()))
    assert evaluate.main([run, "--split", "train", "--set", "evaluation.flip=false"]) == 0
    assert len(list((trained["run"] / "ranks").iterdir())) == before, "other settings than the run's are not the run"


def test_a_protocol_that_does_not_fit_and_a_split_among_the_settings_are_refused(trained, capsys):
    assert evaluate.main([str(trained["run"]), "--protocol", "coco-5k"]) == 1
    assert "protocol coco-5k needs 5,000 images" in capsys.readouterr().err
    assert evaluate.main([str(trained["run"]), "--set", 'dataset.splits=["test"]']) == 2
    assert "choose the split with --split" in capsys.readouterr().err


def test_choosing_without_dev_is_refused(tmp_path, capsys):
    (tmp_path / "shapes.toml").write_text(STAGES)
    for splits, words in (
        ('["train", "test"]', "test is never used to choose"),
        ('["dev", "test"]', "vocabulary is built from"),
    ):
        arguments = [str(tmp_path / "shapes.toml"), str(tmp_path / "run"), "--set", f"dataset.splits={splits}"]
        assert train.main(arguments) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists(), "refused before anything was written"


def test_a_second_call_says_finished_and_touches_nothing(trained, capsys):
    before = (trained["run"] / "metrics.json").stat().st_mtime_ns
    assert train.main(trained["arguments"]) == 0
    assert "finished already" in capsys.readouterr().out
    assert (trained["run"] / "metrics.json").stat().st_mtime_ns == before


def test_another_config_in_the_same_directory_is_refused(trained, capsys):
    assert train.main([*trained["arguments"], "--set", "model.scale=7.0"]) == 1
    error = capsys.readouterr().err
    assert "model.scale is 7.0 now, and was 20.0" in error and "another run directory" in error
    assert "embedding_size" not in error  # only the lines that differ


def test_a_wrong_root_can_be_corrected_in_the_same_directory(trained, tmp_path, capsys):
    arguments = [trained["arguments"][0], str(tmp_path / "run"), *trained["arguments"][2:]]
    assert train.main([*arguments, "--set", 'dataset.root="nowhere"']) == 2
    assert "nowhere" in capsys.readouterr().err
    assert train.main([*arguments, "--set", "max_broken_percent=0.5"]) == 1
    error = capsys.readouterr().err
    assert "1 of 48 images" in error and ".png" in error
    assert not (tmp_path / "run" / "skipped.json").exists()  # so that a repaired picture is looked at again


def test_an_index_of_the_run_learns_a_name_without_the_run(
    trained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The small dev says little of recall, so no lesson is refused here."""
    monkeypatch.setattr("itembed_tf.index.taught_encoders.MOST_LOST", 100.0)
    run, index = tmp_path / "moved", tmp_path / "shapes.index"
    shutil.copytree(trained["run"], run)
    (tmp_path / "photos").mkdir()
    for number in range(1, 9):
        shutil.copy(trained["pictures"] / f"{number}.png", tmp_path / "photos")
    build_index(index, [find_source(str(tmp_path / "photos"))], encoders=run)
    shutil.rmtree(run)
    lesson = teach(index, "zorbal", items=[2])
    with closing(open_searcher(index)) as searcher:
        hits = searcher.search(Query("zorbal", by="vector", limit=3, corrected=False)).hits
    assert 2 in [hit.item.id for hit in hits]
    assert lesson.words == ("zorbal",) and 0 < lesson.recall_before <= 100
