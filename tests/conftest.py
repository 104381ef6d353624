"""What every test stands on: a quiet runtime, a cache of its own, float32 unless a test says otherwise."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # the workers share the cores; two pools would fight over them


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


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small Flickr8k of drawn boxes; its folder."""
    from benchmarks.drawn import drawn_flickr8k

    return drawn_flickr8k(tmp_path_factory.mktemp("drawn"))
