"""Analysis of a toy model: every figure against a direct computation."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from itembed_tf.analysis import analyze as analysis_module
from itembed_tf.analysis.analyze import analyze
from itembed_tf.analysis.overlap import similarity_overlap
from itembed_tf.analysis.records import Analysis
from itembed_tf.config import Config, arguments
from itembed_tf.data.batches import Items
from itembed_tf.evaluation.embeddings import Embeddings, embedder
from itembed_tf.models.dual_path import encoder
from itembed_tf.text import Vocabulary
from tests.support.toy_model import CLASSES, LENGTH, SIZE, dual_path

WORDS = ("blue", "circle", "on", "paper", "red", "square", "the", "white")
CAPTIONS = (
    "The red square, on white paper!",
    "a blue circle",
    "red",
    "the blue square on the blue paper",
    "zebra circle",
    "red circle on red paper",
)


def noise_image(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def toy() -> dict[str, Any]:
    """The arguments of analyze: three groups of one or two images and two captions each, and the toy model."""
    base = Config()
    config = dataclasses.replace(base, image=dataclasses.replace(base.image, size=SIZE))
    vocabulary = Vocabulary(WORDS, tokenizer="words", lowercase=True, length=LENGTH)
    groups = np.array([0, 0, 1, 2], np.int32)
    items = Items(
        [noise_image(n) for n in range(4)], groups, list(CAPTIONS), np.repeat(np.arange(3, dtype=np.int32), 2)
    )
    model = dual_path()
    embeddings = embedder(model, items, vocabulary, **arguments(config.image), **arguments(config.evaluation))()
    return {
        "model": model,
        "items": items,
        "embeddings": embeddings,
        "config": config,
        "vocabulary": vocabulary,
        "classes": CLASSES,
    }


@pytest.fixture(scope="module")
def untrained() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analysis_module, "build_model", lambda config, **sizes: dual_path(dropout=0.1))
        patch.setattr(analysis_module, "MINIMUM_COUNT", 2)
        yield


@pytest.fixture(scope="module")
def analysis(toy: dict[str, Any], untrained: None) -> Analysis:
    return analyze(**toy)


def test_overlap_is_computed_from_the_embeddings(toy: dict[str, Any], analysis: Analysis) -> None:
    items, embeddings, overlap = toy["items"], toy["embeddings"], analysis.overlap
    expected = similarity_overlap(embeddings.images, embeddings.captions, items.image_groups, items.caption_groups)
    assert overlap.to_json() == expected.to_json()
    assert overlap.summary()["S"] == pytest.approx(expected.s, abs=1e-5)
    summary = overlap.summary()
    assert (summary["matching_pairs"], summary["other_pairs"], summary["bins"]) == (2 * 2 + 2 + 2, 4 * 6 - 8, 100)


def test_word_change_is_the_change_of_the_score_without_the_word(toy: dict[str, Any], analysis: Analysis) -> None:
    examples = analysis.examples
    text, vocabulary = encoder(toy["model"], "text", shifts="left"), toy["vocabulary"]
    assert {example.caption for example in examples} <= {0, 1, 3, 5}  # the others have one known word
    assert len(examples) == 3  # of distinct groups
    for example in examples:
        words = vocabulary.tokenize(CAPTIONS[example.caption])
        assert [word.word for word in example.words] == words
        assert example.image == {0: 0, 1: 2, 2: 3}[example.caption // 2]  # the first of its group
        known = [at for at, word in enumerate(words) if word in WORDS]
        for at, word in enumerate(example.words):
            assert (word.change is not None) == (at in known[:LENGTH])
            if word.change is not None:
                pair = [" ".join(words), " ".join(words[:at] + words[at + 1 :])]
                scores = np.asarray(text(vocabulary.encode(pair))) @ toy["embeddings"].images[example.image]
                assert example.score == pytest.approx(scores[0], abs=2e-5)
                assert word.change == pytest.approx(scores[1] - scores[0], abs=2e-5)


def test_means_are_over_all_sampled_captions(toy: dict[str, Any], analysis: Analysis, untrained: None) -> None:
    words = analysis.words
    assert {mean.word: mean.count for mean in words.most} == {
        "red": 3,
        "on": 3,
        "the": 3,
        "blue": 2,
        "square": 2,
        "circle": 2,
    }
    assert [mean.change for mean in words.most] == sorted(mean.change for mean in words.most)
    assert words.captions == 4 and words.words == 6 and words.least == ()
    few = analyze(**toy, captions=2)
    assert few.words.captions == 2 and few.to_json() == analyze(**toy, captions=2).to_json()


def test_similarities_before_training_are_those_of_a_new_model(toy: dict[str, Any], analysis: Analysis) -> None:
    initial = toy["embeddings"]  # dual_path() has a fixed seed, so the "untrained" model is the same
    expected = initial.images[[0, 2, 3]] @ initial.captions[[0, 2, 4]].T
    assert analysis.similarity.before is not None
    np.testing.assert_allclose(analysis.similarity.before.scores, expected, atol=1e-4)


def test_similarities_after_training_and_none_before_it_without_backbone_weights(
    toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise OSError("the ImageNet weights could not be downloaded")

    monkeypatch.setattr(analysis_module, "build_model", missing)
    trained = Embeddings(np.eye(8, dtype=np.float32)[[0, 1, 2, 3]], np.eye(8, dtype=np.float32)[[0, 0, 2, 2, 2, 2]])
    similarity = analyze(**{**toy, "embeddings": trained}).similarity
    assert similarity.images == (0, 2, 3) and similarity.captions == (0, 2, 4)
    after = similarity.after
    assert after.scores == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert after.correct == 2 and after.mean_matching == pytest.approx(2 / 3, abs=1e-4)
    assert after.mean_other == pytest.approx(1 / 6, abs=1e-4)
    assert similarity.before is None
    assert "could not be downloaded" in capsys.readouterr().err
