"""The tokenizers of the edge kit (Python, JavaScript, Java) give the words and ids of the training tokenizer."""

from __future__ import annotations

import base64
import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from itembed_tf.exporting.tokenizer_file import tokenizer_file
from itembed_tf.text import MAX_BYTES, Vocabulary, tokenize
from tests.support.golden_sentences import generated, golden

ROOT = Path(__file__).parents[2]
EDGE = ROOT / "export" / "edge"
TEXTS = [text for _, text, _ in golden("words")] + generated(1_000, seed=3)
TEXTS += ["é" * MAX_BYTES + " dog", "dog " + "é" * MAX_BYTES]
TEXTS += [" ".join(f"a{chr(c)}b" for c in range(first, first + 24)) for first in range(0, 0x3100, 24)]


@pytest.fixture(scope="module", params=[("words", True), ("unicode", True), ("unicode", False)])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Vocabulary, Path]:
    """A vocabulary of four fifths of all words of the texts, and a placeholder for a .tflite file that contains it."""
    tokenizer, lowercase = request.param
    words = sorted({w for s in TEXTS for w in tokenize(s, tokenizer=tokenizer, lowercase=lowercase)})
    known = tuple(word for i, word in enumerate(words) if i % 5)
    vocabulary = Vocabulary(known, tokenizer=tokenizer, lowercase=lowercase, length=24)
    file = tmp_path_factory.mktemp("edge") / "text_encoder.int8.tflite"
    file.write_bytes(b"the model is here" * 7)
    with zipfile.ZipFile(file, "a") as inside:
        inside.writestr("tokenizer.txt", tokenizer_file(vocabulary))
        inside.writestr("vocabulary.txt", "".join(f"{word}\n" for word in vocabulary.words))
    return vocabulary, file


def expected(vocabulary: Vocabulary) -> list[dict[str, Any]]:
    rows = vocabulary.encode(TEXTS).tolist()
    return [{"words": vocabulary.tokenize(s), "ids": ids} for s, ids in zip(TEXTS, rows)]


def assert_same(vocabulary: Vocabulary, results: Sequence[dict[str, Any]]) -> None:
    wrong = [(s, a, b) for s, a, b in zip(TEXTS, expected(vocabulary), results, strict=True) if a != b]
    assert wrong[:5] == []
    words_of = {s if isinstance(s, str) else bytes(s): row["words"] for s, row in zip(TEXTS, results)}
    if vocabulary.lowercase:
        assert all(words_of[text] == words for _, text, words in golden(vocabulary.tokenizer))


def as_base64() -> str:
    data = [s.encode("utf-8", "replace") if isinstance(s, str) else s for s in TEXTS]
    return "".join(base64.b64encode(d).decode() + "\n" for d in data)


def test_python(case: tuple[Vocabulary, Path]) -> None:
    vocabulary, file = case
    spec = importlib.util.spec_from_file_location("edge_tokenizer", EDGE / "tokenizer.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tokenizer = module.Tokenizer(file)
    assert_same(vocabulary, [{"words": tokenizer.words(s), "ids": tokenizer.encode(s)} for s in TEXTS])


def test_python_needs_the_standard_library_only(case: tuple[Vocabulary, Path], tmp_path: Path) -> None:
    """Copied to another folder, without site-packages, with the files beside the model."""
    vocabulary, file = case
    shutil.copy(EDGE / "tokenizer.py", tmp_path)
    with zipfile.ZipFile(file) as inside:
        inside.extractall(tmp_path / "files")
    command = [sys.executable, "-I", "-S", "tokenizer.py", "files", vocabulary.words[7]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout == f"{[vocabulary.words[7]]} {[8] + [0] * 23}\n"


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_javascript(case: tuple[Vocabulary, Path]) -> None:
    vocabulary, file = case
    command = ["node", str(ROOT / "tests/support/edge/words.mjs"), str(file)]
    assert_same(vocabulary, run_lines(command))


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("javac") is None:
        pytest.skip("needs a JDK")
    out = tmp_path_factory.mktemp("classes")
    sources = [EDGE / "java/itembed/Tokenizer.java", ROOT / "tests/support/edge/Words.java"]
    command = ["javac", "-Xlint:all", "-Werror", "-encoding", "UTF-8", "-d", out, *sources]
    subprocess.run([*map(str, command)], check=True)
    return out


def test_java(case: tuple[Vocabulary, Path], classes: Path) -> None:
    vocabulary, file = case
    assert_same(vocabulary, run_lines(["java", "-cp", str(classes), "Words", str(file)]))


def run_lines(command: Sequence[str]) -> list[dict[str, Any]]:
    done = subprocess.run(command, input=as_base64().encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return [json.loads(line) for line in done.stdout.decode("utf-8").split("\n")[:-1]]
