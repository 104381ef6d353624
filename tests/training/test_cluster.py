"""TF_CONFIG: who is the chief, and what is refused before a training starts."""

from __future__ import annotations

import json

import pytest

from itembed_tf import train
from itembed_tf.config import Config, ConfigError, load_config
from itembed_tf.errors import UsageError
from itembed_tf.training.cluster import check_batches, check_shares, read_cluster

HOSTS = ["a:1", "b:1", "c:1"]


def with_variable(monkeypatch, content):
    monkeypatch.setenv("TF_CONFIG", content if isinstance(content, str) else json.dumps(content))
    return read_cluster()


def test_workers_are_numbered_and_the_first_is_the_chief(monkeypatch):
    cluster = with_variable(monkeypatch, {"cluster": {"worker": HOSTS}, "task": {"type": "worker", "index": 2}})
    assert cluster == (3, 2, tuple(HOSTS))
    with_chief = {"chief": ["z:1"], "worker": HOSTS}
    numbers = [
        with_variable(monkeypatch, {"cluster": with_chief, "task": {"type": kind, "index": index}}).number
        for kind, index in (("chief", 0), ("worker", 0), ("worker", 2))
    ]
    assert numbers == [0, 1, 3]


def test_without_other_workers_there_is_no_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert read_cluster() is None
    assert with_variable(monkeypatch, " ") is None
    alone = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    assert with_variable(monkeypatch, alone) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{not json", "is not JSON"),
        ("[1]", 'needs "cluster"'),
        ({"cluster": {"worker": "a:1"}}, 'needs "cluster"'),
        ({"cluster": {"worker": ["a", "b"]}}, 'addresses "host:port"'),
        (
            {"cluster": {"worker": HOSTS, "ps": ["d:1"]}, "task": {"type": "worker", "index": 0}},
            "has ps in its cluster",
        ),
        ({"cluster": {"worker": HOSTS}}, 'needs "task"'),
        ({"cluster": {"worker": HOSTS}, "task": {"type": "worker", "index": "1"}}, 'needs "task"'),
        (
            {"cluster": {"worker": HOSTS}, "task": {"type": "worker", "index": 3}},
            r"index 3.*3 of type \"worker\": 0 to 2",
        ),
        ({"cluster": {"worker": HOSTS}, "task": {"type": "chief", "index": 0}}, 'task type "chief"'),
        ({"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}, "an address twice"),
        ({"cluster": {"chief": HOSTS}, "task": {"type": "chief", "index": 0}}, "more than one chief"),
    ],
)
def test_a_variable_that_cannot_be_used_is_refused_with_one_that_can(monkeypatch, content, message):
    with pytest.raises(UsageError, match=message) as refused:
        with_variable(monkeypatch, content)
    assert "TF_CONFIG" in str(refused.value) and '"index": 0' in str(refused.value)


def test_the_command_ends_with_one_line_before_anything_is_read(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TF_CONFIG", "{not json")
    assert train.main(["openmoji", str(tmp_path / "run")]) == 2
    refused = capsys.readouterr().err
    assert refused.startswith("error: the environment variable TF_CONFIG is not JSON") and refused.count("\n") == 1
    three = {"cluster": {"worker": HOSTS}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(three))
    assert train.main(["openmoji", str(tmp_path / "run"), "--set", "stages.0.batch_size=128"]) == 2
    assert "stages.0.batch_size = 128: 3 replicas" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_batch_that_replicas_cannot_share_is_refused_with_one_that_they_can():
    config = load_config(text="[[stages]]\nname = 'I'\nbatch_size = 10\n")
    check_shares(config, 5)
    with pytest.raises(ConfigError, match=r"stages.0.batch_size = 10: 4 replicas .* multiple of 4, such as 8"):
        check_shares(config, 4)
    check_batches(config, images=8, count=2)
    with pytest.raises(ConfigError, match="set batch_size = 6"):
        check_batches(config, images=7, count=2)


def test_settings_that_do_not_work_on_several_replicas_are_refused():
    members = load_config(None, ["members=2"])
    check_shares(members, 2)
    with pytest.raises(ConfigError, match=r"members = 2: .* unset it, or set members = 0"):
        check_shares(members, 2, workers=2)
    sharded = load_config(None, ["model.softmax=sharded", "precision=mixed_float16"])
    check_shares(sharded, 1)
    with pytest.raises(ConfigError, match="mixed_bfloat16"):
        check_shares(sharded, 2)
    check_shares(Config(), 4)
