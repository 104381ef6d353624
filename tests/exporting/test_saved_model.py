"""SavedModels of an encoder pair: what a stock loader computes, what the contract hash covers, what is refused."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from keras import layers
from tensorflow.core.protobuf.config_pb2 import CallableOptions
from tensorflow_serving.apis import prediction_log_pb2

from itembed_tf.data.images import load_image
from itembed_tf.export_layout import ENCODERS
from itembed_tf.exporting import (
    EncoderPair,
    ParityError,
    parity,
    read_contract,
    saved_model,
    write_litert_text_encoder,
    write_saved_models,
)
from itembed_tf.exporting.contract import Parity
from itembed_tf.exporting.endpoints import Endpoint
from itembed_tf.litert import files_inside
from itembed_tf.text import Vocabulary, load_vocabulary

SIZE, LENGTH, D = 32, 6, 128
WORDS = ("a", "bike", "dog", "man", "on", "red", "runs", "the")
TEXTS = ["A man on THE red bike", "", "zeppelin", "dog dog dog dog dog dog dog dog", b"\xff the dog"]
KNOWN = [6, 0, 0, 6, 2]


def vocabulary(**changes) -> Vocabulary:
    return Vocabulary(**{"words": WORDS, "tokenizer": "words", "lowercase": True, "length": LENGTH} | changes)


def image_encoder() -> keras.Model:
    x = keras.Input((SIZE, SIZE, 3), name="image")
    y = layers.Conv2D(64, 3, strides=2, name="stem")(layers.Rescaling(1 / 127, offset=-1)(x))
    y = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.BatchNormalization(name="norm")(y)))
    return keras.Model(x, layers.UnitNormalization()(layers.Dense(D, name="fc")(y)), name="image_encoder")


def text_encoder(size: int = len(WORDS) + 1, pooling: type = layers.GlobalAveragePooling1D) -> keras.Model:
    x = keras.Input((LENGTH,), dtype="int32", name="ids")
    y = layers.Conv1D(128, 2, padding="same")(layers.Embedding(size, 64, name="words")(x))
    y = pooling()(layers.BatchNormalization(name="norm")(y))
    return keras.Model(x, layers.UnitNormalization()(layers.Dense(D)(y)), name="text_encoder")


def make_pair(seed: int = 0) -> EncoderPair:
    """A pair whose weights are not their initial ones, batch statistics included."""
    keras.utils.set_random_seed(seed)
    models = image_encoder(), text_encoder()
    random = np.random.default_rng(seed)
    for model in models:
        norm = model.get_layer("norm")
        norm.set_weights([random.uniform(0.5, 2, w.shape) for w in norm.get_weights()])
    return EncoderPair(*models, vocabulary(), size=SIZE, fit="stretch", flip=False, shifts="left")


@pytest.fixture(scope="module")
def pair() -> EncoderPair:
    return make_pair()


@pytest.fixture(scope="module")
def exported(pair, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("exported")
    assert write_saved_models(out, pair).contract_file == out / "encoders.json"
    return out


@pytest.fixture(scope="module")
def loaded(exported) -> dict[str, Any]:
    """Signatures of both SavedModels, by the name of the encoder."""
    return {name: tf.saved_model.load(str(exported / name / "1")).signatures for name in ENCODERS}


@pytest.fixture
def copied_image_encoder(exported, monkeypatch) -> None:
    """The SavedModel of the image encoder is copied in place of written and compared, in tests of the text encoder."""
    save, source = saved_model._save, exported / "image_encoder" / "1"

    def save_or_copy(folder: Path, endpoint: Endpoint | None) -> None:
        save(folder, endpoint) if endpoint else shutil.copytree(source, folder, dirs_exist_ok=True)

    monkeypatch.setattr(saved_model, "endpoint_of_images", lambda pair: None)
    monkeypatch.setattr(saved_model, "_save", save_or_copy)
    monkeypatch.setattr(saved_model, "_check_image", lambda *_: Parity(max_abs_difference=0.0, min_cosine=1.0))


@pytest.fixture(scope="module")
def litert(pair, tmp_path_factory) -> Path:
    """``text_encoder.float32.tflite`` with the files beside it."""
    return write_litert_text_encoder(tmp_path_factory.mktemp("litert"), pair)


LOADER = """
import json, sys
import numpy as np
import tensorflow as tf
out, inputs, outputs = sys.argv[1:]
inputs = json.load(open(inputs))
image = tf.saved_model.load(out + "/image_encoder/1").signatures
text = tf.saved_model.load(out + "/text_encoder/1").signatures
results = {
    "image": image["serving_default"](image_bytes=tf.constant([bytes.fromhex(i) for i in inputs["images"]])),
    "text": text["serving_default"](text=tf.constant([bytes.fromhex(t) for t in inputs["texts"]])),
    "ids": text["ids"](ids=tf.constant(inputs["ids"], tf.int32)),
}
np.savez(outputs, **{f"{k}-{name}": v.numpy() for k, result in results.items() for name, v in result.items()})
print(json.dumps([m for m in sys.modules if m.split(".")[0] in ("itembed_tf", "tensorflow_text")]))
"""


def test_tensorflow_alone_gives_the_live_embeddings(pair, exported, tmp_path):
    """Another process, a moved folder, without itembed_tf: image files and strings in, the live embeddings out."""
    shutil.copytree(exported, tmp_path / "moved")
    images, ids = list(parity.sample_images().values()), vocabulary().encode(TEXTS)
    raw = [text if isinstance(text, bytes) else text.encode() for text in TEXTS]
    inputs = {"images": [i.hex() for i in images], "texts": [t.hex() for t in raw], "ids": ids.tolist()}
    (tmp_path / "inputs.json").write_text(json.dumps(inputs))
    command = [sys.executable, "-c", LOADER, tmp_path / "moved", tmp_path / "inputs.json", tmp_path / "outputs.npz"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [], "the other process imported itembed_tf or tensorflow_text"
    results = np.load(tmp_path / "outputs.npz")
    live_images = pair.image_encoder(tf.stack([load_image(p, size=SIZE, fit="stretch") for p in images]))
    live_texts = pair.text_encoder(ids)
    names = "ids-embedding ids-known_words image-embedding text-embedding text-known_words"
    assert sorted(results.files) == names.split()
    for name, live in (("image", live_images), ("text", live_texts), ("ids", live_texts)):
        embedding = results[f"{name}-embedding"]
        assert embedding.dtype == np.float32 and embedding.shape == live.shape
        np.testing.assert_allclose(embedding, live, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-6)
    for name in ("text", "ids"):
        assert results[f"{name}-known_words"].dtype == np.int32
        assert results[f"{name}-known_words"].tolist() == KNOWN


def test_the_contract_file_describes_the_signatures(pair, exported, loaded):
    contract = json.loads((exported / "encoders.json").read_text())
    assert contract["embedding_size"] == D and contract["length"] == LENGTH and contract["version"] == 1
    assert contract["vocabulary"] == {"sha256": vocabulary().checksum(), "size": 9}
    assert contract["contract"] == pair.contract
    assert contract["needs"] == [] and contract["image"] == {"size": SIZE, "fit": "stretch"}
    for name, encoder in contract["encoders"].items():
        assert sorted(loaded[name]) == sorted(encoder["signatures"])
        for signature, described in encoder["signatures"].items():
            function = loaded[name][signature]
            inputs, outputs = function.structured_input_signature[1], function.structured_outputs
            for specs, side in ((inputs, described["inputs"]), (outputs, described["outputs"])):
                plain = {n: {"dtype": s.dtype.name, "shape": [d or "batch" for d in s.shape]} for n, s in specs.items()}
                assert plain == side, f"{name} {signature}"
        kept = json.loads((exported / name / "1/assets.extra/encoders.json").read_text())
        assert kept == contract, "a server that is rolled back to this version needs its contract"


def test_weights_are_stored_once(pair, exported):
    for name, encoder in (("image_encoder", pair.image_encoder), ("text_encoder", pair.text_encoder)):
        stored = (exported / name / "1/variables/variables.data-00000-of-00001").stat().st_size
        assert stored == pytest.approx(4 * encoder.count_params(), rel=0.1)


def test_weights_stored_twice_are_refused(pair, tmp_path, monkeypatch):
    def doubled(encoder):
        module = tf.Module()
        module.weights = [*encoder.variables, *(v.value for v in encoder.variables)]  # as keras.Model.export does
        return module

    monkeypatch.setattr("itembed_tf.exporting.endpoints._module_of", doubled)
    features = keras.Input((64,))
    of_features = keras.Model(features, layers.UnitNormalization()(layers.Dense(D)(features)), name="image_encoder")
    with pytest.raises(ParityError, match="bytes of weights on disk"):
        write_saved_models(tmp_path, replace(pair, image_encoder=of_features))
    assert list(tmp_path.rglob("saved_model.pb")) == []


def test_warm_up_records_are_valid_requests(exported, loaded):
    """One record per signature and batch size, each a request that the SavedModel beside it computes."""
    seen = []
    for name in ("image_encoder", "text_encoder"):
        folder = exported / name / "1"
        for record in tf.data.TFRecordDataset(str(folder / "assets.extra/tf_serving_warmup_requests")):
            request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
            assert request.model_spec.name == name
            inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
            signature = request.model_spec.signature_name
            embedding = loaded[name][signature](**inputs)["embedding"].numpy()
            assert np.isfinite(embedding).all()
            seen.append((name, signature, len(embedding)))
    expected = [("image_encoder", "serving_default"), ("text_encoder", "serving_default"), ("text_encoder", "ids")]
    assert seen == [(name, signature, size) for name, signature in expected for size in (1, 2, 4, 8, 16, 32)]


def test_errors_name_the_bad_input(loaded):
    image, text = loaded["image_encoder"]["serving_default"], loaded["text_encoder"]
    samples = parity.sample_images()
    good, jpeg, bmp = samples["a PNG, 257 x 129"], samples["a JPEG, 320 x 240"], samples["a BMP, 40 x 24"]
    batch = [
        good,
        b"not an image",
        jpeg,
        b"",
        jpeg[:2000],
        bmp,
        good[:-9],
        bmp[:60],
        jpeg + b"trailing bytes",
        b"BM",
    ]
    damaged = "a truncated or damaged image"
    reasons = {1: "not an image of a known format", 3: "an empty file", 4: damaged, 6: damaged, 7: damaged, 9: "a BMP"}
    places = ".*; ".join(rf"image_bytes\[{i}\] is {reason}" for i, reason in reasons.items())
    for call, message in (
        (lambda: image(image_bytes=tf.constant(batch)), places),
        (lambda: image(image_bytes=tf.constant([b""])), r"image_bytes\[0\] is an empty file"),
        (lambda: image(image_bytes=tf.constant([], tf.string)), "image_bytes is an empty batch"),
        (lambda: text["serving_default"](text=tf.constant([], tf.string)), "text is an empty batch"),
        (lambda: text["ids"](ids=tf.zeros((0, LENGTH), tf.int32)), "ids is an empty batch"),
        (lambda: text["ids"](ids=tf.fill((1, LENGTH), 9)), r"ids must be in 0 \.\. 8"),
        (lambda: text["ids"](ids=tf.fill((1, LENGTH), -1)), r"ids must be in 0 \.\. 8"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            call()
    fine = [item for i, item in enumerate(batch) if i in (0, 2, 5, 8)]
    assert image(image_bytes=tf.constant(fine))["embedding"].shape == (4, D)


def call_as_tf_serving_does(folder, signature, output, values):
    """Run a signature through TensorFlow's C++ session, which does not check the shape of an input."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        described = graph.signature_def[signature]
        (sent,) = described.inputs.values()
        fetched = CallableOptions(feed=[sent.name], fetch=[described.outputs[output].name])
        return session._make_callable_from_options(fetched)(values)[0]


@pytest.mark.parametrize("output", ["embedding", "known_words"])
def test_there_is_one_row_for_each_item(exported, output):
    """More rows than items would give other requests of a batch the wrong ones."""
    text = exported / "text_encoder/1"
    assert len(call_as_tf_serving_does(text, "serving_default", output, np.array(["a dog", "a man"], object))) == 2
    sentences = np.array([["a dog", "a man"], ["the dog", "on"]], object)
    with pytest.raises(tf.errors.InvalidArgumentError, match="the input must have one dimension"):
        call_as_tf_serving_does(text, "serving_default", output, sentences)
    for shape in ((2, 2 * LENGTH), (2, 2, LENGTH)):
        with contextlib.suppress(tf.errors.OpError):
            assert len(call_as_tf_serving_does(text, "ids", output, np.ones(shape, np.int32))) == 2


@pytest.mark.usefixtures("copied_image_encoder")
def test_versions_count_up_and_are_never_overwritten(pair, exported, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(exported, out)
    (out / "text_encoder" / "²").mkdir()  # a digit for Python, but no number
    files = {p: p.read_bytes() for p in out.rglob("1/**/*") if p.is_file()}
    second = write_saved_models(out, pair).contract
    assert second.version == 2 and read_contract(out) == second
    assert second.contract == read_contract(exported).contract, "the same weights exported again: the same contract"
    assert {p: p.read_bytes() for p in out.rglob("1/**/*") if p.is_file()} == files
    with pytest.raises(FileExistsError, match="exists already"):
        write_saved_models(out, pair, version=2)


@pytest.mark.usefixtures("copied_image_encoder")
def test_an_export_that_differs_from_the_live_model_is_not_published(pair, exported, tmp_path, monkeypatch):
    shutil.copytree(exported, tmp_path / "out")
    before = sorted(p for p in (tmp_path / "out").rglob("*"))
    contract = (tmp_path / "out/encoders.json").read_bytes()
    other = make_pair(seed=1)
    endpoint = saved_model.text_endpoint
    monkeypatch.setattr(saved_model, "text_endpoint", lambda _, **k: endpoint(other.text_encoder, **k))
    message = r"text_encoder \(text\).*differs from the live model by 0\.\d+ \(tolerance 1e-05\)"
    with pytest.raises(ParityError, match=message):
        write_saved_models(tmp_path / "out", pair)
    assert sorted(p for p in (tmp_path / "out").rglob("*")) == before
    assert (tmp_path / "out/encoders.json").read_bytes() == contract


@pytest.mark.usefixtures("copied_image_encoder")
def test_a_different_vocabulary_in_the_graph_is_detected(pair, tmp_path, monkeypatch):
    endpoint = saved_model.text_endpoint
    swapped = vocabulary(words=("the", "bike", "dog", "man", "on", "red", "runs", "a"))

    def wrong(encoder, *, vocabulary, vocabulary_file, trailing_padding):
        swapped.save(vocabulary_file)
        return endpoint(encoder, vocabulary=swapped, vocabulary_file=vocabulary_file)

    monkeypatch.setattr(saved_model, "text_endpoint", wrong)
    with pytest.raises(ParityError, match="on the text"):
        write_saved_models(tmp_path, pair)


def test_the_contract_hash_covers_everything_that_decides_an_embedding(pair):
    base, same = pair.contract, make_pair()
    assert base == same.contract, "a model built again with the same weights"
    for name, encoder in (("image_encoder", same.image_encoder), ("text_encoder", same.text_encoder)):
        weight = encoder.get_layer("norm").moving_mean
        weight.assign(np.nextafter(np.asarray(weight), np.float32(9)))
        assert replace(pair, **{name: encoder}).contract != base, f"one step of one weight of {name}"
    others = [
        {"vocabulary": vocabulary(words=("an", *WORDS[1:]))},
        {"vocabulary": vocabulary(words=WORDS[::-1])},
        {"vocabulary": vocabulary(lowercase=False)},
        {"vocabulary": vocabulary(tokenizer="unicode")},
        {"fit": "crop"},
        {"flip": True},
        {"shifts": "all"},
    ]
    hashes = {replace(pair, **change).contract for change in others}
    assert len(hashes | {base}) == len(others) + 1


@pytest.mark.parametrize("bad", [np.nan, 0.0])
def test_parity_refuses_vectors_not_of_unit_length(bad):
    live = np.full((2, 4), 0.5, np.float32)
    exported = live.copy()
    exported[1] = bad
    with pytest.raises(ParityError, match="on the second"):
        parity.compare_embeddings(
            "x", np.where(np.isnan(exported), live, exported), exported, ["the first", "the second"]
        )


def test_a_text_without_known_words_may_be_zero():
    unit, zero = np.full((1, 4), 0.5, np.float32), np.zeros((1, 4), np.float32)
    rows, no_known_word = np.concatenate([unit, zero]), np.array([False, True])
    figures = parity.compare_embeddings("x", rows, rows, ["known", "unknown"], no_known_word)
    assert figures == Parity(max_abs_difference=0.0, min_cosine=1.0)
    with pytest.raises(ParityError, match="on known"):
        parity.compare_embeddings("x", rows[::-1], rows[::-1], ["known", "unknown"], no_known_word)


def test_encoders_that_do_not_fit_together_are_refused(pair, tmp_path):
    for change, message in (
        ({"vocabulary": vocabulary(length=5)}, r"text encoder's input .* expected int32 \(None, 5\)"),
        ({"size": 64}, r"image encoder's input .* expected float32 \(None, 64, 64, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            write_saved_models(tmp_path, replace(pair, **change))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = text_encoder()
    finally:
        keras.config.set_dtype_policy("float32")
    out = layers.UnitNormalization(dtype="float32")(half.output)
    with pytest.raises(ValueError, match="half precision"):
        write_saved_models(tmp_path, replace(pair, text_encoder=keras.Model(half.input, out)))


@pytest.mark.usefixtures("copied_image_encoder")
def test_the_unicode_tokenizer_needs_tensorflow_text(pair, tmp_path):
    models = write_saved_models(tmp_path, replace(pair, vocabulary=vocabulary(tokenizer="unicode")))
    assert json.loads(models.contract_file.read_text())["needs"] == ["tensorflow_text"]


def test_litert_gives_the_live_embeddings(pair, litert):
    assert litert.name == "text_encoder.float32.tflite"
    settings = json.loads((litert.parent / "text_encoder.json").read_text())
    words = load_vocabulary(
        litert.parent / "vocabulary.txt",
        tokenizer=settings["tokenizer"],
        lowercase=settings["lowercase"],
        length=settings["length"],
    )
    run = Interpreter(model_path=str(litert)).get_signature_runner()
    ids = words.encode(TEXTS)
    embeddings = np.concatenate([run(ids=row[None])["embedding"] for row in ids])
    assert settings["output"] == {"embedding": {"dtype": "float32", "shape": [1, D]}} and embeddings.shape == (5, D)
    np.testing.assert_allclose(embeddings, pair.text_encoder(ids), atol=1e-5)
    assert settings["contract"] == pair.contract and settings["vocabulary"]["sha256"] == vocabulary().checksum()


def test_a_litert_file_contains_the_files_beside_it(litert):
    folder = litert.parent
    inside = files_inside(litert.read_bytes())
    assert inside["vocabulary.txt"] == (folder / "vocabulary.txt").read_text() == "".join(f"{w}\n" for w in WORDS)
    assert inside["tokenizer.txt"] == (folder / "tokenizer.txt").read_text()
    settings, beside = json.loads(inside["text_encoder.json"]), json.loads((folder / "text_encoder.json").read_text())
    assert settings == {key: value for key, value in beside.items() if key not in ("parity", "tolerance")}
    with zipfile.ZipFile(litert) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}, (
            "required by TensorFlow Lite's metadata readers"
        )
    model = schema.Model.GetRootAsModel(litert.read_bytes(), 0)
    described = next(m for m in map(model.Metadata, range(model.MetadataLength())) if m.Name() == b"TFLITE_METADATA")
    metadata = model.Buffers(described.Buffer()).DataAsNumpy().tobytes()
    assert metadata[4:8] == b"M001"
    for word in (b"text_encoder", b"ids", b"embedding", b"vocabulary.txt", b"tokenizer.txt"):
        assert word in metadata


def test_litert_buffers_are_aligned(litert):
    """LiteRT's kernels read weights in place, 16 bytes at a time."""
    model = schema.Model.GetRootAsModel(litert.read_bytes(), 0)
    tables = [model.Buffers(i)._tab for i in range(model.BuffersLength()) if model.Buffers(i).DataLength()]
    assert {table.Vector(table.Offset(4)) % 16 for table in tables} == {0} and len(tables) > 4


def test_a_litert_file_without_weights_is_refused(pair, tmp_path, monkeypatch):
    """From a function and its Keras model, the converter writes a small file without weights and reports no error."""

    encoder = pair.text_encoder
    spec = tf.TensorSpec([1, LENGTH], tf.int32, name="ids")
    function = tf.function(lambda ids: {"embedding": encoder(ids, training=False)}).get_concrete_function(spec)
    emptied = tf.lite.TFLiteConverter.from_concrete_functions([function], encoder)
    monkeypatch.setattr(tf.lite.TFLiteConverter, "from_saved_model", lambda *args, **kwargs: emptied)
    with pytest.raises(ParityError, match=r"VAR_HANDLE|cannot hold"):
        write_litert_text_encoder(tmp_path, pair)
    assert list(tmp_path.iterdir()) == []
