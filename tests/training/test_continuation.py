"""A run from a finished one: classes that stay, grow, are removed or change their order, and what is refused."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.config import arguments, load_config
from itembed_tf.data.batches import flatten
from itembed_tf.data.readers import read_data
from itembed_tf.models.dual_path import parts
from itembed_tf.models.imprinting import imprint_new
from itembed_tf.training.build import build_model, load_model
from itembed_tf.training.continuation import class_rows, finished_run, resize_classes, start_from_run
from itembed_tf.training.errors import RunError
from itembed_tf.training.run_data import group_records, write_records
from itembed_tf.training.run_directory import open_run, save_weights
from itembed_tf.training.train_set import TrainSet
from tests.support.toy_model import dual_path


def test_classes_keep_their_rows_by_the_id_of_their_group() -> None:
    rows = class_rows(["a", "b", "c"], ["c", "new", "a"])
    assert rows.tolist() == [2, -1, 0]
    weights = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], np.float32)
    assert resize_classes(weights, rows).tolist() == [[5, 6], [0, 0], [1, 2]]
    assert resize_classes(weights[:, 0], rows).tolist() == [5, 0, 1]


def test_new_classes_are_imprinted_with_the_mean_length_and_others_stay() -> None:
    model = dual_path(classes=4)
    head, classifier = parts(model)["image_head"], model.get_layer("classifier")
    before = np.array([[3.0] + [0] * 7, [0, 5.0] + [0] * 6, [9.0] * 8, [9.0] * 8], np.float32)
    classifier.class_weights.assign(before)
    features = np.random.default_rng(0).normal(size=(5, head.input.shape[-1])).astype(np.float32)
    labels, new = np.array([2, 0, 3, 2, 1]), np.array([False, False, True, True])
    imprint_new(model, features, labels, new)
    found = classifier.class_weights.numpy()
    assert np.array_equal(found[:2], before[:2])
    unit = np.asarray(head(features, training=False), np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for row, images in ((2, [0, 3]), (3, [2])):
        direction = unit[images].sum(axis=0)
        np.testing.assert_allclose(found[row], 4 * direction / np.linalg.norm(direction), rtol=1e-4, atol=1e-5)


def test_a_run_that_cannot_be_continued_is_refused_with_the_settings(small_run: Path, tmp_path: Path) -> None:
    own = load_config(small_run / "config.toml")
    assert finished_run(small_run, own).path == small_run
    wider = load_config(small_run / "config.toml", ["embedding_size=7", "model.bias=true", "text.length=9"])
    with pytest.raises(
        RunError, match=r"another model. Set, as it has: embedding_size = \d+; text.length = \d+; model."
    ):
        finished_run(small_run, wider)
    with pytest.raises(RunError, match="is not a run directory"):
        finished_run(tmp_path, own)


@pytest.mark.usefixtures("shallow_backbone")
def test_a_new_run_starts_with_the_towers_and_the_classes_of_a_finished_one(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run"
    shutil.copytree(small_run, path)
    config = load_config(path / "config.toml", ["model.softmax=sampled", "model.sampled_classes=2"])
    groups = read_data(**arguments(config.dataset)).groups
    train, dev = ([g for g in groups if g.split == split] for split in ("train", "dev"))
    former = [train[0], train[1], dataclasses.replace(dev[0], split="train")]
    write_records(path, group_records(former, config.dataset.root))
    trained = load_model(open_run(path))
    trained.get_layer("classifier").class_weights.assign(np.random.default_rng(0).normal(size=(3, 16)))
    save_weights(path, trained)
    run, now = open_run(path), {"train": [train[1], train[4], train[0]], "dev": dev}
    model = build_model(config, vocabulary_size=run.vocabulary.size, classes=3)
    items = flatten(now["train"])
    train_set = TrainSet(items, run.vocabulary.encode(items.captions), np.arange(3, dtype=np.int32))
    start_from_run(config, model, run, train_set, now)
    before = load_model(run)
    for tower in ("image_tower", "text_tower"):
        for one, two in zip(before.get_layer(tower).weights, model.get_layer(tower).weights, strict=True):
            np.testing.assert_array_equal(one.numpy(), two.numpy(), err_msg=one.path)
    old, new = (each.get_layer("classifier").class_weights.numpy() for each in (before, model))
    assert np.array_equal(new[[0, 2]], old[[1, 0]]) and np.linalg.norm(new[1]) > 0
    out = capsys.readouterr().out
    assert f"classes: 2 with the weights that {path} has trained, 1 new, 1 removed" in out
    assert f"warning: 1 groups of dev were trained on in {path}" in out
    write_records(path, group_records(former[:2], config.dataset.root))
    with pytest.raises(RunError, match=r"data.json of .* does not list its classes"):
        start_from_run(config, model, run, train_set, now)
