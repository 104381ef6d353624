"""What the encoders learned: every figure against the same thing done by hand; the program on a run directory."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from itembed_tf import analyze as program
from itembed_tf.analysis import measures as analysis_module
from itembed_tf.analysis.measures import analyze, overlap_figures
from itembed_tf.analysis.overlap import overlap, pair_densities
from itembed_tf.config import Config, arguments, dump_config, load_config
from itembed_tf.data.batches import Items
from itembed_tf.evaluation.embeddings import Embeddings, embedder
from itembed_tf.models.dual_path import encoder
from itembed_tf.pipeline import analyze as pipeline
from itembed_tf.text import Vocabulary
from itembed_tf.training.build import build_model
from itembed_tf.training.run_directory import save_weights, write_metrics
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


def picture(shade: int, side: int = 40) -> bytes:
    pixels = np.random.default_rng(shade).integers(0, 256, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def toy() -> dict[str, Any]:
    """The arguments of analyze: three groups of one or two pictures and two captions each, and the toy model."""
    base = Config()
    config = dataclasses.replace(base, image=dataclasses.replace(base.image, size=SIZE))
    vocabulary = Vocabulary(WORDS, tokenizer="words", lowercase=True, length=LENGTH)
    groups = np.array([0, 0, 1, 2], np.int32)
    items = Items([picture(n) for n in range(4)], groups, list(CAPTIONS), np.repeat(np.arange(3, dtype=np.int32), 2))
    model = dual_path()
    embeddings = embedder(model, items, vocabulary, **arguments(config.image), **arguments(config.evaluation))()
    return {"model": model, "items": items, "embeddings": embeddings, "config": config, "vocabulary": vocabulary}


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis_module, "build_model", lambda config, **sizes: dual_path(dropout=0.1))


def test_overlap_is_that_of_the_embeddings(untrained: None) -> None:
    made = toy()
    items, embeddings = made["items"], made["embeddings"]
    told = overlap_figures(analyze(**made, classes=CLASSES))
    densities = pair_densities(embeddings.images, embeddings.captions, items.image_groups, items.caption_groups)
    assert told["S"] == pytest.approx(overlap(densities), abs=1e-5)
    assert (told["matching_pairs"], told["other_pairs"], told["bins"]) == (2 * 2 + 2 + 2, 4 * 6 - 8, 100)


def test_words_are_what_the_encoder_says_of_sentences_written_without_them(untrained: None) -> None:
    made = toy()
    found = analyze(**made, classes=CLASSES)
    text = encoder(made["model"], "text", shifts="left")
    assert {sentence["caption"] for sentence in found["sentences"]} <= {0, 1, 3, 5}  # the others have one known word
    assert len(found["sentences"]) == 3  # of different groups
    for sentence in found["sentences"]:
        words = made["vocabulary"].tokenize(CAPTIONS[sentence["caption"]])
        assert [word["word"] for word in sentence["words"]] == words
        assert sentence["picture"] == {0: 0, 1: 2, 2: 3}[sentence["caption"] // 2]  # the first of its group
        known = [at for at, word in enumerate(words) if word in WORDS]
        for at, word in enumerate(sentence["words"]):
            assert (word["change"] is not None) == (at in known[:LENGTH])
            if word["change"] is not None:
                pair = [" ".join(words), " ".join(words[:at] + words[at + 1 :])]
                scores = (
                    np.asarray(text(made["vocabulary"].encode(pair))) @ made["embeddings"].images[sentence["picture"]]
                )
                assert sentence["score"] == pytest.approx(scores[0], abs=2e-5)
                assert word["change"] == pytest.approx(scores[1] - scores[0], abs=2e-5)


def test_means_are_over_all_drawn_sentences(untrained: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis_module, "AT_LEAST", 2)
    made = toy()
    found = analyze(**made, classes=CLASSES)["words"]
    rows = {row["word"]: row for row in found["most"]}
    assert {word: row["count"] for word, row in rows.items()} == {
        "red": 3,
        "on": 3,
        "the": 3,
        "blue": 2,
        "square": 2,
        "circle": 2,
    }
    assert [row["change"] for row in found["most"]] == sorted(row["change"] for row in found["most"])
    assert found["sentences"] == 4 and found["different"] == 6 and found["least"] == []
    few = analyze(**made, classes=CLASSES, sentences=2)
    assert few["words"]["sentences"] == 2 and few == analyze(**made, classes=CLASSES, sentences=2)


def test_before_is_the_untrained_model_and_after_the_trained_one(untrained: None) -> None:
    made = toy()
    made["embeddings"] = Embeddings(
        np.eye(8, dtype=np.float32)[[0, 1, 2, 3]], np.eye(8, dtype=np.float32)[[0, 0, 2, 2, 2, 2]]
    )
    found = analyze(**made, classes=CLASSES)["similarity"]
    assert found["pictures"] == [0, 2, 3] and found["captions"] == [0, 2, 4]
    assert found["after"]["scores"] == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert found["after"]["found"] == 2 and found["after"]["mean_matching"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["after"]["mean_other"] == pytest.approx(1 / 6, abs=1e-4)
    start = toy()["embeddings"]  # dual_path() is seeded: what stands for the untrained model gives these
    expected = start.images[[0, 2, 3]] @ start.captions[[0, 2, 4]].T
    np.testing.assert_allclose(found["before"]["scores"], expected, atol=1e-4)


def test_without_the_pretrained_weights_there_is_no_before(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise OSError("the ImageNet weights could not be downloaded")

    monkeypatch.setattr(analysis_module, "build_model", missing)
    found = analyze(**toy(), classes=CLASSES)
    assert found["similarity"]["before"] is None and found["similarity"]["after"]
    assert "could not be downloaded" in capsys.readouterr().err


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory as a training leaves it, of a small model that was never trained."""
    place = tmp_path_factory.mktemp("analyze")
    (place / "pictures").mkdir()
    rows = []
    for number in range(6):
        (place / "pictures" / f"{number}.png").write_bytes(picture(number))
        rows += [(f"{number}.png", caption, "dev") for caption in CAPTIONS[:2]]
    with (place / "pictures" / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "caption", "split"), *rows])
    settings = {"dataset.name": '"folder"', "dataset.root": json.dumps(str(place / "pictures")), "image.size": "32"}
    settings |= {
        "text.length": "8",
        "image_tower.weights": '"none"',
        "image_tower.levels": "[]",
        "embedding_size": "16",
    }
    settings |= {"text_tower.width": "0.05", "text_tower.word_width": "8", "text_tower.stem": "0"}
    config, run = load_config(None, [f"{key}={value}" for key, value in settings.items()]), place / "run"
    run.mkdir()
    (run / "config.toml").write_text(dump_config(config))
    Vocabulary(WORDS, tokenizer="words", lowercase=True, length=8).save(run / "vocabulary.txt")
    save_weights(run, build_model(config, vocabulary_size=len(WORDS) + 1, classes=4))
    write_metrics(run, {"schema": 1, "dataset": "folder", "finished": True, "classes": 4, "stages": []})
    return run


def test_the_program_writes_a_page_and_its_figures(finished: Path, tmp_path: Path, capsys: Any) -> None:
    before = sorted(finished.rglob("*"))
    assert program.main([str(finished), str(tmp_path / "out")]) == 0
    assert sorted(finished.rglob("*")) == before  # an OUT of its own: nothing is written into the run
    told = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert told["split"] == "dev" and told["gallery_images"] == 6 and 0 <= told["overlap"]["S"] <= 1
    assert sum(told["overlap"]["matching"]) == 12 and sum(told["overlap"]["other"]) == 60
    assert told["words"]["sentences"] == 12 and len(told["sentences"]) == 6
    # Nothing was trained, and the weights are drawn from the seed: before is after.
    np.testing.assert_allclose(told["similarity"]["before"]["scores"], told["similarity"]["after"]["scores"], atol=2e-4)
    page = (tmp_path / "out" / "index.html").read_text()
    for part in ("Overlap", "Words that tell", "Before and after training", "Sentences looking for pictures"):
        assert part in page, part
    printed = capsys.readouterr().out
    assert f"overlap S {told['overlap']['S']:.4f} of 12 matching and 60 other pairs" in printed
    assert str(tmp_path / "out" / "index.html") in printed and "next:" in printed


def test_by_default_it_writes_into_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(program, "run_config", lambda run: None)
    monkeypatch.setattr(pipeline, "analyze_run", lambda *arguments: asked.append(arguments) or {}["told"])
    with pytest.raises(KeyError, match="told"):
        program.main(["runs/mine", "--split", "test"])
    assert asked == [("runs/mine", Path("runs/mine/analysis/test"), "test", 2000)]


def test_what_cannot_be_analysed_is_said(finished: Path, tmp_path: Path, capsys: Any) -> None:
    assert program.main([str(tmp_path / "nothing"), str(tmp_path / "out")]) == 1
    assert "is not a run directory" in capsys.readouterr().err
    assert program.main([str(finished), str(tmp_path / "out"), "--split", "test"]) == 1
    assert "test" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        program.main([str(finished), str(tmp_path / "out"), "--captions", "0"])
    assert "--captions" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
