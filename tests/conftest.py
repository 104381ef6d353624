"""Fixtures of all tests: a quiet runtime, a temporary cache, float32 as the default policy."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores; two pools would fight over them
    for pool in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(pool, "1")

# First of all: sqlite3 that is imported after TensorFlow has TensorFlow's own SQLite, without full-text search.
import itembed_tf.index.sqlite_library  # noqa: F401
from tests.support.shared import shared_folder

if TYPE_CHECKING:
    from benchmarks.served import Served
    from itembed_tf.teaching import TeachingData
    from tests.support.toy_exports import ToyExports


# They begin first, so that all workers end at about the same time. The first ones share no fixtures with each other:
# a worker does not wait for what another one writes.
LONGEST = (
    "pipeline/test_two_branch.py",
    "training/test_stage.py",
    "test_road.py",
    "exporting/test_programs.py",
    "index/test_teaching.py",
    "pipeline/test_open_backbones.py",
    "exporting/test_onnx.py",
    "exporting/test_card.py",
    "benchmarks/test_native.py",
    "exporting/test_saved_model.py",
    "exporting/test_litert.py",
    "server/test_local_server.py",
    "demo/test_page.py",
    "demo/test_lessons.py",
    "pipeline/test_members.py",
    "training/test_initialisation.py",
    "exporting/test_calibration.py",
    "benchmarks/test_bad_data.py",
    "test_site.py",
    "test_api.py",
    "test_house.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


def pytest_collection_finish() -> None:
    """The objects of all imports stay; without this, the garbage collector would visit them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that an earlier version left in the user's cache can make a test pass, nor the other way round."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ITEMBED_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def float32_policy() -> Iterator[None]:
    """A test that sets another Keras policy does not pass it on to the next."""
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].mixed_precision.set_global_policy("float32")


@pytest.fixture(scope="module")
def deterministic_ops_end() -> Iterator[None]:
    """train() makes TensorFlow deterministic for the whole process; later tests get it as it was."""
    yield
    from tensorflow.python.framework import config

    config.disable_op_determinism()


@contextmanager
def two_stages() -> Iterator[None]:
    from itembed_tf.models import efficientnet_lite

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(efficientnet_lite, "STAGES", efficientnet_lite.STAGES[:2])
        yield


@pytest.fixture(scope="module")
def shallow_backbone() -> Iterator[None]:
    """The first two stages of EfficientNet-Lite, for runs without ImageNet weights: built and traced in seconds."""
    with two_stages():
        yield


@pytest.fixture(scope="module")
def without_exports() -> Iterator[None]:
    """Trainings export no encoders, which takes most of the time of a small one and has tests of its own."""
    from itembed_tf.pipeline import outputs

    with pytest.MonkeyPatch.context() as patch:
        for step in ("write_saved_models", "write_litert_text_encoder", "write_card"):
            patch.setattr(outputs, step, lambda *_, **__: None)
        yield


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small Flickr8k of drawn boxes; its folder."""
    from benchmarks.tiny_flickr8k import write_tiny_flickr8k

    return write_tiny_flickr8k(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="session")
def toy_exports(tmp_path_factory: pytest.TempPathFactory) -> ToyExports:
    """Exports of tiny encoders (`tests.support.toy_exports`)."""
    from tests.support.toy_exports import ToyExports

    return ToyExports(tmp_path_factory)


@pytest.fixture(scope="session")
def toy_server(toy_exports: ToyExports, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A local server of version 1 of the toy encoders, with the label stable and texts of at most 1,000 bytes."""
    from benchmarks.served import local_server

    exports = toy_exports.copy(tmp_path_factory.mktemp("served"))
    with local_server(exports, "--label", "stable=1", "--max-text", "1000") as server:
        yield server


@contextmanager
def unchanged(folder: Path) -> Iterator[Path]:
    """A folder that many tests share: a test that writes into it would change the result of another."""

    def files() -> dict[str, int]:
        return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}

    before = files()
    yield folder
    changed = sorted(name for name, _ in before.items() ^ files().items())
    assert not changed, f"a test changed {changed} in the shared folder {folder}: copy it first"


@pytest.fixture(scope="session")
def teaching() -> TeachingData:
    """The data of lessons of a tiny text encoder (`tests.support.small_teaching`)."""
    from tests.support.small_teaching import small_teaching

    return small_teaching()


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of sixteen random images with captions (`tests.support.small_run`)."""
    from tests.support.small_run import write_dataset

    with unchanged(shared_folder(tmp_path_factory, "small_dataset", write_dataset)) as folder:
        yield folder


@pytest.fixture(scope="session")
def small_run(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of a tiny model on `small_dataset`, to load with `shallow_backbone`. Copy it before changing it."""
    from tests.support.small_run import write_run

    def write(folder: Path) -> None:
        with two_stages():
            write_run(folder, small_dataset)

    with unchanged(shared_folder(tmp_path_factory, "small", write)) as folder:
        yield folder


@pytest.fixture(scope="session")
def small_export(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The SavedModels of `small_run`. Copy the folder before changing it."""
    from itembed_tf.exporting import export_saved_models

    def write(folder: Path) -> None:
        with two_stages():
            export_saved_models(small_run, folder)

    with unchanged(shared_folder(tmp_path_factory, "small_export", write)) as folder:
        yield folder


@pytest.fixture(scope="session")
def small_onnx(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """ONNX files of `small_run`: ``whole``, and ``pca`` of six dimensions (`tests.support.small_run`)."""
    from tests.support.small_run import write_onnx_exports

    def write(folder: Path) -> None:
        with two_stages():
            write_onnx_exports(folder, small_run)

    with unchanged(shared_folder(tmp_path_factory, "small_onnx", write)) as folder:
        yield folder
