"""Workers other than the chief: their data is the chief's, wherever it is, or they say that it is not."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from itembed_tf.config import load_config
from itembed_tf.data.batches import flatten
from itembed_tf.pipeline.following import Begun, follow, for_followers
from itembed_tf.pipeline.training_data import TrainingData, readable_groups
from itembed_tf.text import Vocabulary
from itembed_tf.training.distribution import Replicas
from itembed_tf.training.errors import RunError
from tests.support.small_run import SMALL, WORDS, dataset_settings


class Follower(Replicas):
    """A worker to which the chief sends a fixed answer."""

    answer: dict

    def from_chief(self, result):
        return self.answer


def followed(config, answer, monkeypatch):
    """What a worker trains on, given its config and the chief's answer."""
    seen = []
    monkeypatch.setattr("itembed_tf.pipeline.following.train_encoders", lambda *args, **_: seen.append(args))
    monkeypatch.setattr(Follower, "answer", answer, raising=False)
    follow(config, type("Steps", (), {"start": lambda *_: None})(), Follower(None, 2, 2, 1))
    return seen[0]


def answer_of(config, run):
    groups, skipped, checksums = readable_groups(config, run, None)
    vocabulary = Vocabulary(WORDS, tokenizer="words", lowercase=True, length=5)
    data = TrainingData({}, skipped, flatten(groups), [], vocabulary, np.zeros((0, 5)), checksums)
    return json.loads(json.dumps(for_followers(Begun(config, data, [], None, None), run)))


def test_a_worker_reads_its_own_copy_of_the_data_with_the_settings_of_the_chief(small_dataset, tmp_path, monkeypatch):
    chief = load_config(None, [*SMALL, *dataset_settings(small_dataset), "seed=3"])
    copy = shutil.copytree(small_dataset, tmp_path / "copy")
    own = load_config(None, [*SMALL, *dataset_settings(copy)])
    config, _, data, *_ = followed(own, answer_of(chief, tmp_path / "run"), monkeypatch)
    assert config.seed == 3 and config.dataset.root == str(copy)
    assert len(data.items.images) == 8 and all(image.startswith(str(copy)) for image in data.items.images)
    assert data.vocabulary.words == WORDS and data.ids.shape == (8, 5)


def test_other_data_is_refused(small_dataset, tmp_path, monkeypatch):
    chief = load_config(None, [*SMALL, *dataset_settings(small_dataset)])
    answer = answer_of(chief, tmp_path / "run")
    copy = shutil.copytree(small_dataset, tmp_path / "copy")
    captions = (copy / "captions.csv").read_text()
    (copy / "captions.csv").write_text(captions.replace("0.png,", "0.png,red ", 1))
    own = load_config(None, [*SMALL, *dataset_settings(copy)])
    with pytest.raises(RunError, match=r"worker 1: its data \(16 groups of folder\) is not that of worker 0"):
        followed(own, answer, monkeypatch)
