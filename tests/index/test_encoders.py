"""The encoders that an index carries: the same vectors as the export, without TensorFlow for text."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from itembed_tf.errors import UserError
from itembed_tf.index.database import reading, writing
from itembed_tf.index.encoders import find_exports, pack_encoders, store_image_encoder, stored_image_encoder
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import StoredEncoders, read_encoders, start_generation
from itembed_tf.index.text_encoder import load_text_encoder

TEXTS = ["A red bike.", "the dog runs on the man", "zzqx zebra", "", "dog zebra"]


@pytest.fixture(scope="module")
def packed(small_export: Path) -> StoredEncoders:
    return pack_encoders(small_export)


def test_the_stored_text_encoder_gives_the_vectors_of_the_export(small_export: Path, packed: StoredEncoders) -> None:
    import itembed_tf

    model = itembed_tf.load(small_export)
    embedded = load_text_encoder(packed).embed(TEXTS)
    np.testing.assert_array_equal(embedded.known_words, model.known_words(TEXTS))
    np.testing.assert_array_equal(embedded.known_words, [3, 5, 0, 0, 1])
    known = embedded.known_words > 0
    np.testing.assert_allclose(embedded.vectors[known], model.embed_texts(TEXTS)[known], atol=1e-5)
    assert not embedded.vectors[~known].any(), "a text without a known word has no direction"
    assert embedded.words[2] == (("zzqx", False), ("zebra", False))
    assert embedded.words[4] == (("dog", True), ("zebra", False))
    assert packed.contract == model.contract and packed.dimensions == model.embedding_size


def test_texts_are_encoded_without_tensorflow(packed: StoredEncoders, tmp_path: Path) -> None:
    with writing(tmp_path / "i", create=True) as connection:
        start_generation(connection, packed)
    code = f"""
import sys
from itembed_tf.index.database import reading
from itembed_tf.index.generations import read_encoders
from itembed_tf.index.text_encoder import load_text_encoder
encoder = load_text_encoder(read_encoders(reading({str(tmp_path / "i")!r}), {packed.contract!r}))
print(encoder.embed(["a red dog"]).vectors.shape, [m for m in ("tensorflow", "keras") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "(1, 16) []\n", done.stderr


def test_what_an_index_stores_comes_back(packed: StoredEncoders, tmp_path: Path) -> None:
    with writing(tmp_path / "i", create=True) as connection:
        start_generation(connection, packed)
    with closing(reading(tmp_path / "i")) as connection:
        assert read_encoders(connection, packed.contract) == packed


def test_a_damaged_text_encoder_is_refused_with_what_to_do(packed: StoredEncoders) -> None:
    for damage in ({"text_encoder": b"no model"}, {"tokenizer": "{}"}, {"tokenizer": "["}):
        with pytest.raises(SearchIndexError, match=r"cannot be loaded.*--verify"):
            load_text_encoder(dataclasses.replace(packed, **damage))


def test_the_image_encoder_is_copied_once_and_found_by_its_contract(
    small_export: Path, packed: StoredEncoders, tmp_path: Path
) -> None:
    with pytest.raises(SearchIndexError, match=r"has no image encoder of the contract .*itembed index RUN --out"):
        stored_image_encoder(tmp_path, packed.contract)
    folder = store_image_encoder(small_export, tmp_path)
    assert store_image_encoder(small_export, tmp_path) == folder
    assert (stored_image_encoder(tmp_path, packed.contract) / "saved_model.pb").is_file()
    other = packed.contract[:16] + "0" * 48
    with pytest.raises(SearchIndexError, match="has no image encoder"):
        stored_image_encoder(tmp_path, other)


def test_exports_are_found_by_their_folder_or_their_run(
    small_run: Path, small_export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_exports(small_export) == small_export
    run = shutil.copytree(small_run, tmp_path / "run")
    calls = []

    def export(path: Path, out: Path) -> None:
        calls.append(path)
        shutil.copytree(small_export, out)

    monkeypatch.setattr("itembed_tf.exporting.export_saved_models", export)
    assert find_exports(run) == find_exports(run) == run / "encoders"
    assert calls == [run], "exported once"
    with pytest.raises(UserError, match=r"has neither config.toml nor encoders.json: expected the directory of a"):
        find_exports(tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        find_exports(tmp_path / "none")
