"""Which version answers while versions come and go: both encoders of an export change together."""

from __future__ import annotations

import asyncio
import shutil

import pytest
from tensorflow_serving.apis.model_pb2 import ModelSpec

from itembed_tf.server import model_manager
from itembed_tf.server.errors import RequestError
from itembed_tf.server.limits import Limits


class Version:
    """A version whose graph file holds its contract hash; "broken" cannot be loaded."""

    engine, engine_reason = "TensorFlow", ""

    def __init__(self, name, number, folder, limits, choice):
        self.name, self.number, self.leases, self.closed, self.signatures = name, number, 0, False, {}
        self.contract = (folder / "saved_model.pb").read_text()
        if self.contract == "broken":
            raise ValueError("broken")

    def start(self, observe):
        pass

    async def close(self):
        while self.leases:
            await asyncio.sleep(0.001)
        self.closed = True


@pytest.fixture
def manager(tmp_path, monkeypatch):
    monkeypatch.setattr(model_manager, "ModelVersion", Version)
    return model_manager.ModelManager(tmp_path, Limits(), newest=1, labels={"stable": 1}, observe=lambda *_: None)


def add(manager, encoder, number, contract):
    folder = manager.exports / f"{encoder}_encoder" / str(number)
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_text(contract)


def answering(manager):
    """Version that answers where a request names none: of the image encoder, of the text encoder."""
    return tuple(manager.find(ModelSpec(name=f"{name}_encoder")).number for name in ("image", "text"))


def run(manager, *steps):
    """Run the steps, with a scan and the pending work after each; returns what answers after each."""
    answers = []

    async def all_steps():
        for step in steps:
            step()
            await manager.scan(only_stable=False)
            answers.append(answering(manager))
            await asyncio.gather(*manager._unloading)

    asyncio.run(all_steps())
    return answers


def test_both_encoders_of_an_export_change_together(manager):
    def first():
        add(manager, "image", 1, "c1")
        add(manager, "text", 1, "c1")

    answers = run(manager, first, lambda: add(manager, "image", 2, "c2"), lambda: add(manager, "text", 2, "c2"))
    assert answers == [(1, 1), (1, 1), (2, 2)]


def test_a_version_that_waits_answers_where_a_request_names_it(manager):
    def first():
        add(manager, "image", 1, "c1")
        add(manager, "text", 1, "c1")

    run(manager, first, lambda: add(manager, "text", 2, "c2"))
    spec = ModelSpec(name="text_encoder")
    spec.version.value = 2
    assert manager.find(spec).number == 2


def test_an_export_of_which_one_encoder_is_broken_does_not_answer(manager):
    def first():
        add(manager, "image", 1, "c1")
        add(manager, "text", 1, "c1")

    def second():
        add(manager, "image", 2, "broken")
        add(manager, "text", 2, "c2")

    assert run(manager, first, second) == [(1, 1), (1, 1)]
    assert manager.models["image_encoder"].statuses[2].state == model_manager.END


def test_the_same_weights_under_another_number_need_no_partner(manager):
    def first():
        add(manager, "image", 1, "c1")
        add(manager, "text", 1, "c1")

    assert run(manager, first, lambda: add(manager, "text", 2, "c1")) == [(1, 1), (1, 2)]


def test_models_without_a_contract_change_alone(manager):
    def first():
        add(manager, "image", 1, "")
        add(manager, "text", 1, "")

    assert run(manager, first, lambda: add(manager, "text", 2, "")) == [(1, 1), (1, 2)]


def test_removing_the_newest_export_goes_back_to_the_older_one(manager):
    def both():
        for number in (1, 2):
            add(manager, "image", number, f"c{number}")
            add(manager, "text", number, f"c{number}")

    def remove():
        for name in ("image_encoder", "text_encoder"):
            shutil.rmtree(manager.exports / name / "2")

    assert run(manager, both, remove) == [(2, 2), (1, 1)]


def test_a_version_in_use_is_not_closed(manager):
    async def steps():
        add(manager, "text", 1, "c1")
        await manager.scan(only_stable=False)
        with manager.lease(ModelSpec(name="text_encoder")) as version:
            shutil.rmtree(manager.exports / "text_encoder")
            await manager.scan(only_stable=True)
            await asyncio.sleep(0.01)
            assert not version.closed
        await asyncio.gather(*manager._unloading)
        assert version.closed

    asyncio.run(steps())


def test_a_label_of_an_unknown_model(manager):
    with pytest.raises(RequestError, match="Unrecognized servable version label: stable"):
        manager.find(ModelSpec(name="nothing", version_label="stable"))
