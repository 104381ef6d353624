"""Text encoders in LiteRT: the answers of the SavedModel, and TensorFlow wherever a file cannot be served."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from itembed_tf import serve
from itembed_tf.server.engine_choice import EngineChoice
from itembed_tf.server.errors import RequestError
from itembed_tf.server.limits import Limits
from itembed_tf.server.litert_engine import NoLiteRT, compare_engines
from itembed_tf.server.model_version import ModelVersion

FILE = "text_encoder.float32.tflite"
TEXTS = [b"a dog runs", b"THE man, on a red bike!", b"", b"unknown words only", b"\xff a d\xc3\xb6g", b"dog " * 50]


@pytest.fixture
def exports(toy_exports, tmp_path):
    return toy_exports.copy(tmp_path / "exports")


def text_encoder(exports, engine="auto", number=1):
    return ModelVersion("text_encoder", number, exports / "text_encoder" / str(number), Limits(), EngineChoice(engine))


def test_both_engines_give_the_same_in_batches_of_every_size(exports):
    litert, tensorflow = text_encoder(exports), text_encoder(exports, "tensorflow")
    assert (litert.engine, tensorflow.engine) == ("LiteRT float32", "TensorFlow")
    assert FILE in litert.engine_reason and tensorflow.engine_reason == ""
    assert litert.runnable == tensorflow.runnable == {"serving_default", "ids"}
    ids = np.array([[1, 2, 3, 0, 0, 0], [0] * 6, [8] * 6, [0, 0, 4, 0, 0, 5]], np.int32)
    for size in (1, 2, 35):
        for signature, name, items in (("serving_default", "text", np.array(TEXTS, object)), ("ids", "ids", ids)):
            batch = {name: items[np.arange(size) % len(items)]}
            a, b = litert.run(signature, batch), tensorflow.run(signature, batch)
            assert a.keys() == b.keys() and all(a[key].dtype == b[key].dtype for key in a)
            np.testing.assert_allclose(a["embedding"], b["embedding"], atol=1e-6)
            assert a["known_words"].tolist() == b["known_words"].tolist()
    for wrong in (9, -1):
        batch = {"ids": np.array([[1, 2, wrong, 0, 0, 0]], np.int32)}
        errors = []
        for version in (litert, tensorflow):
            with pytest.raises(RequestError, match=r"ids must be in 0 \.\. 8 \(0 = padding\)") as caught:
                version.run("ids", batch)
            errors.append(caught.value.code)
        assert errors[0] == errors[1]


def test_a_file_beside_the_saved_models_is_served_too(exports):
    shutil.move(exports / "text_encoder/1/assets.extra" / FILE, exports / FILE)
    assert text_encoder(exports).engine == "LiteRT float32"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path, other: path.unlink(), f"there is no {FILE}"),
        (lambda path, other: shutil.copy(other, path), "is of the contract"),
        (lambda path, other: path.write_bytes(path.read_bytes()[:1000]), "cannot be loaded"),
        (lambda path, other: (path.parent / "tf_serving_warmup_requests").unlink(), "no warm-up records"),
    ],
    ids=["missing", "other", "damaged", "unchecked"],
)
def test_tensorflow_answers_where_the_file_cannot_be_served(exports, toy_exports, tmp_path, change, reason):
    other = toy_exports.copy(tmp_path / "other", 2) / "text_encoder/2/assets.extra" / FILE
    change(exports / "text_encoder/1/assets.extra" / FILE, other)
    version = text_encoder(exports)
    assert version.engine == "TensorFlow" and reason in version.engine_reason
    with pytest.raises(NoLiteRT, match=reason):
        text_encoder(exports, "litert")


class Fixed:
    """An engine that gives one embedding for everything."""

    name, signatures = "fixed", frozenset(("s",))

    def __init__(self, *embedding, known=2):
        self.outputs = {"embedding": np.array([embedding], np.float32), "known_words": np.array([known], np.int32)}

    def run(self, signature, inputs):
        return self.outputs


def test_the_gate_of_each_precision():
    requests, one = [("s", {})], Fixed(0.6, 0.8)
    assert compare_engines(Fixed(0.6, 0.8), one, "float32", requests) == 0
    assert compare_engines(Fixed(0.6, 0.800005), one, "float32", requests) == pytest.approx(5e-6, rel=0.02)
    with pytest.raises(NoLiteRT, match=r"differs from the SavedModel by 2e-05"):
        compare_engines(Fixed(0.6, 0.80002), one, "float32", requests)
    assert compare_engines(Fixed(0.8, 0.6), one, "dynamic", requests) == pytest.approx(0.2)  # cosine 0.96
    with pytest.raises(NoLiteRT, match=r"cosine to the SavedModel is 0\.9600; the minimum is 0\.999"):
        compare_engines(Fixed(0.8, 0.6), one, "float16", requests)
    for precision in ("float32", "int8"):
        with pytest.raises(NoLiteRT):
            compare_engines(Fixed(np.nan, 0.8), one, precision, requests)
        assert compare_engines(Fixed(0, 0, known=0), Fixed(0, 0, known=0), precision, requests) == 0
    with pytest.raises(NoLiteRT, match="other words"):
        compare_engines(Fixed(0.6, 0.8, known=3), one, "float32", requests)


def test_the_command_refuses_an_engine_without_its_file_at_once(exports, capsys):
    (exports / "text_encoder/1/assets.extra" / FILE).unlink()
    assert serve.main([str(exports), "--engine", "litert"]) == 1
    assert f"has no {FILE} for --engine litert" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        serve.main([str(exports), "--precision", "int8"])
    assert "--precision int8 needs --engine litert" in capsys.readouterr().err
