"""Phrase localisation: boxes and metrics by hand, batches without false negatives, and the program end to end."""

from __future__ import annotations

import json
import math
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from itembed_tf import localise as program
from itembed_tf.config import Config, Stage, load_config, parse_losses
from itembed_tf.localisation.boxes import areas, box_features, clean_proposals, enclosing, overlaps
from itembed_tf.localisation.entities import AnnotatedImage, read_entities
from itembed_tf.localisation.network import (
    HARD_A_ROW,
    _draw_hard,
    embedder,
    hard_loss,
    localiser,
    train_stage,
)
from itembed_tf.localisation.phrases import normalise_phrase, phrase_features
from itembed_tf.localisation.proposals import compute_proposals, read_proposals, write_proposals
from itembed_tf.localisation.regions import LocatedPhrase, Regions, encode_regions
from itembed_tf.localisation.sampling import MAX_REGIONS, Batch, draw_batches, known_pairs
from itembed_tf.localisation.scenes import Kinds, write_scenes
from itembed_tf.localisation.search import MAX_HARD, chance_recall, hard_negatives, metrics_table, search
from tests.localisation.test_scenes import drawing

CONFIG = Path(__file__).parents[2] / "configs" / "localisation.toml"
SMALL = (
    "embedding_size=16",
    "image.size=32",
    'image_tower.weights="none"',
    "image_tower.hidden=16",
    "text_tower.hidden=16",
    'sentence.kind="tf-idf"',
    'word_vectors.source="random"',
    "word_vectors.extra_words=0",
    "text.only_with_vectors=false",
    "stages.0.epochs=1",
    "stages.0.batch_size=4",
    "stages.1.epochs=1",
    "stages.1.batch_size=4",
)


def boxes(*sides: tuple[int, int, int, int]) -> np.ndarray:
    return np.array(sides, np.int32).reshape(-1, 4)


def test_iou_includes_the_last_row_and_column() -> None:
    """10 x 10 and 10 x 5 pixels that share 5 x 5: 25 of 125."""
    found = overlaps(boxes((0, 0, 9, 9)), boxes((5, 5, 14, 9), (0, 0, 9, 9), (10, 0, 19, 9), (0, 0, 9, 4)))
    np.testing.assert_allclose(found, [[25 / 125, 1.0, 0.0, 0.5]])
    assert areas(boxes((3, 3, 3, 3))).tolist() == [1]
    assert enclosing(boxes((5, 1, 8, 9), (2, 4, 6, 7))).tolist() == [2, 1, 8, 9]


def test_position_features() -> None:
    np.testing.assert_allclose(box_features(boxes((0, 0, 9, 4), (5, 0, 9, 9)), 10, 10)[1], [0.5, 0, 1, 1, 0.5])


def test_proposals_are_clipped_and_deduplicated() -> None:
    raw = np.array([[-3, 2, 5, 99], [0, 2, 5, 9], [7, 7, 6, 9], [20, 0, 30, 5], [1, 1, 2, 2], [3, 3, 4, 4]])
    assert clean_proposals(raw, 10, 10, max_boxes=2).tolist() == [[0, 2, 5, 9], [1, 1, 2, 2]]


@pytest.mark.parametrize(
    ("phrase", "words"), [("A large Red dog", "large red dog"), ("The", "the"), ("his arms", "arms"), ("...", "")]
)
def test_stop_words_are_removed_unless_nothing_is_left(phrase: str, words: str) -> None:
    assert normalise_phrase(phrase) == words


def image(id: str = "1", **changes: object) -> AnnotatedImage:
    known: dict = {"id": id, "path": "", "split": "train", "width": 100, "height": 50, "sentences": (), "phrases": ()}
    return AnnotatedImage(**{**known, "boxes": {}, "unboxed": {}, "clipped": 0, "unrelated": 0, **changes})


def test_proposals_file_round_trip(tmp_path: Path) -> None:
    there = {"1": boxes((0, 0, 9, 9), (3, 4, 60, 40)), "2": boxes((1, 1, 2, 2))}
    path = write_proposals(tmp_path / "boxes.jsonl", there)
    found = read_proposals(path, [image("1")], max_boxes=200)
    assert list(found) == ["1"] and np.array_equal(found["1"], there["1"])
    assert read_proposals(path, [image("1")], max_boxes=1)["1"].tolist() == [[0, 0, 9, 9]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "line 1 is not JSON"),
        ("[1, 2]", "line 1: '[1, 2]'; expected {"),
        ('{"image": "1", "boxes": [[1, 2, 3]]}', "line 1: "),
        ('{"image": "1", "boxes": [[1, 2, 3, "4"]]}', "line 1: "),
        ('{"image": "1", "boxes": [[1, 2, 3, NaN]]}', "NaN is not a JSON number"),
        ('{"image": "1", "boxes": [[1, 2, 3, 1e300]]}', "line 1: "),
        ('{"image": "1", "boxes": [[200, 0, 300, 5]]}', "has no box within 1 of 1 images:\n  1"),
        ('{"image": "2", "boxes": [[0, 0, 3, 5]]}', "has no box within 1 of 1 images"),
        ('{"image": "1", "boxes": [[0, 0, 3, 5]]}\n' * 2, "line 2: duplicate image '1'"),
    ],
)
def test_invalid_proposals_file_is_refused(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "boxes.jsonl").write_text(line)
    with pytest.raises(ValueError) as caught:
        read_proposals(tmp_path / "boxes.jsonl", [image("1")], max_boxes=200)
    assert message in str(caught.value)


def test_annotated_pairs_are_never_negatives() -> None:
    """Twelve phrases and twenty regions in many pairs; every batch is checked against all of them."""
    rng = np.random.default_rng(1)
    found = sorted({(int(r), int(p)) for r, p in zip(rng.integers(0, 20, 40), rng.integers(0, 12, 40))})
    known = known_pairs(found, seed=0)
    seen = set()
    for batch in draw_batches(known, 3, np.random.default_rng(0)):
        assert all((int(r), int(p)) in found for r, p in zip(batch.regions, batch.phrases))
        for i, region in enumerate(batch.regions):
            for j, phrase in enumerate(batch.phrases):
                assert batch.labels[i] == batch.labels[j] or (int(region), int(phrase)) not in found
        assert 2 <= len(set(batch.labels)) <= 3
        seen |= set(zip(batch.regions.tolist(), batch.phrases.tolist()))
    assert len(seen) > len(found) / 2


def test_batches_include_other_positives_of_phrase_and_region() -> None:
    """Phrase 0 belongs to regions 0 and 1, and region 0 also to phrase 1."""
    known = known_pairs([(0, 0), (1, 0), (0, 1), (2, 2), (3, 3)], seed=0)
    batch = next(draw_batches(known, 3, np.random.default_rng(3)))
    rows = {label: [] for label in batch.labels}
    for region, phrase, label in zip(batch.regions.tolist(), batch.phrases.tolist(), batch.labels):
        rows[label].append((region, phrase))
    together = next(group for group in rows.values() if (0, 0) in group)
    assert {(0, 0), (0, 1)} <= set(together)


def test_regions_of_a_phrase_are_limited() -> None:
    known = known_pairs([(region, 0) for region in range(30)] + [(7, 1)], seed=0)
    assert len(known.regions_of[0]) == MAX_REGIONS and len(known.pairs) == MAX_REGIONS + 1
    assert known.phrases_of[29] == [0]  # a region that was not sampled keeps its phrase


def test_hard_negative_loss_by_hand() -> None:
    """Distances sqrt(2 - 2 cos + 1e-4); the second negative of row 0 is padding, and row 1 has none."""
    right, up = [1.0, 0.0], [0.0, 1.0]
    near = [0.6, 0.8]
    region = np.array([near, right], np.float32)
    phrase = np.array([right, right], np.float32)
    hard = np.array([right, up, up, up], np.float32)
    real = np.array([[True, False], [False, False]])
    hinge = 0.05 + math.sqrt(2 - 1.2 + 1e-4) - math.sqrt(1e-4)
    assert float(hard_loss(region, phrase, hard, real, margin=0.05)) == pytest.approx(hinge / 2, abs=1e-6)


def test_hard_negatives_are_padded_with_the_true_region() -> None:
    batch = Batch(np.array([3, 4]), np.array([0, 1]), np.array([0, 1], np.int32))
    drawn, real = _draw_hard(batch, {1: np.array([8, 9])}, np.random.default_rng(0))
    assert drawn[:HARD_A_ROW].tolist() == [3] * HARD_A_ROW and not real[0].any()
    assert sorted(drawn[HARD_A_ROW:].tolist()) == sorted([8, 9] + [4] * (HARD_A_ROW - 2)) and real[1].sum() == 2


@pytest.fixture
def two_images() -> Regions:
    """Features are the embeddings themselves. Image 0: two true boxes, four proposals; image 1: one and two."""
    rows = boxes(
        *((0, 0, 9, 9), (50, 0, 59, 9)),
        *((0, 0, 9, 8), (50, 0, 59, 9), (80, 0, 89, 9), (0, 0, 99, 49)),
        *((0, 0, 99, 49), (0, 0, 9, 9), (0, 0, 99, 44)),
    )
    angles = np.array([0, 90, 20, 80, 10, 45, 0, 10, 30]) * math.pi / 180
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float16)
    phrases = [
        LocatedPhrase(0, "a dog", "dog", ("animals", "known"), 0),
        LocatedPhrase(0, "the cat", "cat", ("animals",), 1),
        LocatedPhrase(1, "the dog", "dog", ("animals",), 6),
    ]
    return Regions([image(), image("2")], rows, [slice(2, 6), slice(7, 9)], phrases, features, np.zeros((9, 0)))


PHRASES = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
NUMBER = {"dog": 0, "cat": 1}
NORMALISED = {side: (lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)) for side in ("region", "phrase")}


def test_ranks_recalls_and_baselines_by_hand(two_images: Regions) -> None:
    """dog in 0: the third box (10°) is nearest and wrong, the first (20°, overlap 0.9) second. cat: 80°, exact. dog in
    1: a wrong box first, then one of 45 of 50 rows."""
    found = search(two_images, PHRASES, NUMBER, NORMALISED)
    assert [each.rank for each in found] == [2, 1, 2]
    assert [each.correct for each in found] == [1, 1, 1]
    assert found[0].best.tolist() == [4, 2, 5, 3] and found[0].overlap[1] == pytest.approx(0.9)
    figures = metrics_table(found)
    third = 100 / 3
    assert figures["all"]["R@1"] == pytest.approx(third, abs=0.01) and figures["all"]["R@5"] == 100
    assert figures["all"]["random"]["R@1"] == pytest.approx((25 + 25 + 50) / 3, abs=0.01)
    assert figures["all"]["whole_image"] == pytest.approx(third, abs=0.01)
    assert figures["all"]["upper_bound"] == 100
    assert figures["types"]["known"]["phrases"] == 1 and figures["types"]["known"]["R@1"] == 0
    assert figures["types"]["animals"]["phrases"] == 3


def test_phrase_without_a_correct_proposal_lowers_recall(two_images: Regions) -> None:
    two_images.boxes[7:] = (20, 20, 25, 25)
    figures = metrics_table(search(two_images, PHRASES, NUMBER, NORMALISED))["all"]
    assert figures["R@10"] == figures["upper_bound"] == pytest.approx(200 / 3, abs=0.01)


@pytest.mark.parametrize(("right", "n", "k"), [(1, 4, 1), (2, 5, 3), (0, 3, 10), (2, 3, 10)])
def test_chance_recall_matches_simulation(right: int, n: int, k: int) -> None:
    rng = np.random.default_rng(0)
    drawn = np.mean([rng.permutation(n)[:k].min() < right if n else False for _ in range(4000)])
    assert chance_recall(right, n, k) == pytest.approx(drawn, abs=0.03)


def test_hard_negatives_violate_the_margin_and_are_incorrect(two_images: Regions) -> None:
    """dog (0°): its true boxes lie at 0°, so nothing is nearer. With the first at 15°, one of 10° is, one of 20° not.
    cat (90°, true box at 90°): none."""
    assert hard_negatives(two_images, PHRASES, NUMBER, NORMALISED, margin=0.0) == {}
    moved = two_images.features.copy()
    moved[0] = np.cos(np.radians(15)), np.sin(np.radians(15))
    moved[7] = np.cos(np.radians(5)), np.sin(np.radians(5))  # in image 1 the true box is nearer still
    two_images = Regions(**{**two_images.__dict__, "features": moved})
    found = hard_negatives(two_images, PHRASES, NUMBER, NORMALISED, margin=0.0)
    assert {phrase: rows.tolist() for phrase, rows in found.items()} == {0: [4]}
    # 15° is 0.261 away and 45° 0.765; in image 1 the wrong box at 5° is 0.087 away, the true one 0.
    found = hard_negatives(two_images, PHRASES, NUMBER, NORMALISED, margin=0.51)
    assert {phrase: rows.tolist() for phrase, rows in found.items()} == {0: [7, 4, 5]}


def test_hard_negatives_are_limited() -> None:
    rows = boxes((0, 0, 4, 4), *((20 + i, 0, 29 + i, 9) for i in range(60)))
    angles = np.radians([80, *range(60)])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float16)
    regions = Regions(
        [image()], rows, [slice(1, 61)], [LocatedPhrase(0, "dog", "dog", ("x",), 0)], features, np.zeros((61, 0))
    )
    found = hard_negatives(regions, PHRASES[:1], {"dog": 0}, NORMALISED, margin=0.0)
    assert found[0].tolist() == list(range(1, MAX_HARD + 1))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    known = [drawing(f"{word} thing", 10 + i) for i, word in enumerate(("red", "blue", "dark", "pale", "long", "odd"))]
    kinds = Kinds(
        known, {split: [drawing(f"{split} thing {i}", 40 + i) for i in range(6)] for split in ("dev", "test")}
    )
    out = tmp_path_factory.mktemp("localisation") / "scenes"
    return write_scenes(out, kinds, {"train": 10, "dev": 3, "test": 4}, 0, "drawn <by> us")


def test_edge_boxes_find_the_drawings_deterministically(scenes: Path) -> None:
    images = read_entities(scenes)
    found = compute_proposals(images, 200)
    again = compute_proposals(images[:3], 200)
    assert all(np.array_equal(again[id], found[id]) for id in again)
    assert all(1 <= len(each) <= 200 and len(np.unique(each, axis=0)) == len(each) for each in found.values())
    true = [(enclosing(b), found[p.id]) for p in images for b in p.boxes.values()]
    assert np.mean([overlaps(box[None], each).max() >= 0.5 for box, each in true]) > 0.8


def test_region_features_are_computed_from_the_crops(scenes: Path, tmp_path: Path, monkeypatch) -> None:
    """The backbone here is the mean colour of a crop, so each row identifies its box."""
    monkeypatch.setenv("ITEMBED_CACHE", str(tmp_path))
    image = keras.Input((32, 32, 3))
    mean = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image))
    images = read_entities(scenes, ["dev"])
    proposals = {p.id: boxes((0, 0, 3, 3), (10, 10, p.width - 1, p.height - 1)) for p in images}
    regions = encode_regions(images, proposals, mean, positions=True)
    assert regions.proposed[0].stop - regions.proposed[0].start == 2 and regions.width == 3 + 5
    assert len(list((tmp_path / "regions").iterdir())) == 1
    for phrase in regions.located:
        left, top, right, bottom = regions.boxes[phrase.row]
        pixels = np.asarray(Image.open(regions.images[phrase.image].path), np.float32)
        expected = pixels[top : bottom + 1, left : right + 1].mean(axis=(0, 1))
        np.testing.assert_allclose(regions.rows(np.array([phrase.row]))[0, :3], expected, atol=2.5)
    assert encode_regions(images, proposals, mean, positions=False).width == 3
    assert len(list((tmp_path / "regions").iterdir())) == 1  # read from the cache


def test_phrases_of_unknown_words_are_zero() -> None:
    config = load_config(CONFIG, SMALL)
    found = phrase_features(config, ["red dog", "dog"], ["dog", "zebra"])
    assert found[0].any() and not found[1].any()


def test_training_brings_pairs_together(two_images: Regions) -> None:
    config = Config(embedding_size=8)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(12, 6)).astype(np.float16)
    regions = Regions([image()], boxes(*[(0, 0, 1, 1)] * 12), [slice(0, 12)], [], rows, np.zeros((12, 0)))
    keras.utils.set_random_seed(0)
    model = localiser(config, 6, 12)
    stage = Stage(
        name="I",
        epochs=60,
        batch_size=12,
        losses=parse_losses({"topk_image": 1.0, "topk_text": 1.0}),
        learning_rate=1e-2,
    )
    known = known_pairs([(i, i) for i in range(12)], seed=0)
    train_stage(model, regions, np.eye(12, dtype=np.float32), known, stage, hard={}, seed=(0, 0))
    scores = embedder(model, "region")(rows.astype(np.float32)) @ embedder(model, "phrase")(np.eye(12, dtype="f")).T
    assert (scores.argmax(axis=1) == np.arange(12)).mean() > 0.8
    with pytest.raises(ValueError, match="instance_image"):
        bad = Stage(losses=parse_losses({"instance_image": 1.0}), batch_size=2)
        train_stage(model, regions, np.eye(12, dtype="f"), known, bad, hard={}, seed=(0,))
    with pytest.raises(ValueError, match="batch_size is 99, but there are only 12 pairs"):
        bad = Stage(losses=parse_losses({"topk_text": 1.0}), batch_size=99)
        train_stage(model, regions, np.eye(12, dtype="f"), known, bad, hard={}, seed=(0,))


def test_program_from_data_to_page(scenes: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("ITEMBED_CACHE", str(tmp_path / "cache"))
    sets = [part for each in (*SMALL, f'dataset.root="{scenes}"') for part in ("--set", each)]
    assert program.main([str(CONFIG), str(tmp_path / "out"), "--max-proposals", "20", *sets]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [stage["name"] for stage in metrics["stages"]] == ["I", "II"] and metrics["split"] == "test"
    assert metrics["test"] == metrics["stages"][1]["test"]
    figures = metrics["test"]["all"]
    assert 0 <= figures["R@1"] <= figures["R@5"] <= figures["R@10"] <= figures["upper_bound"] <= 100
    assert {"known", "other"} <= set(metrics["test"]["types"])
    page = (tmp_path / "out" / "index.html").read_text()
    assert "drawn &lt;by&gt; us" in page and page.count("<rect") >= 2
    assert "http" not in page.split("</style>")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a config"),
        ([str(CONFIG), "--set", 'dataset.splits=["train"]'], 'must have "train" and a split to evaluate'),
        ([str(CONFIG), "--set", "dataset.root=nowhere"], 'nowhere" is not a folder'),
    ],
)
def test_program_refuses_wrong_arguments(arguments: list[str], message: str, capsys) -> None:
    assert program.main(arguments) in (1, 2)
    assert message in capsys.readouterr().err
