"""Every protocol: metrics by hand, name and sizes, and errors for galleries that do not fit."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from itembed_tf.evaluation import coco_positives, gallery
from itembed_tf.evaluation.catalogue import PROTOCOLS, USUAL_PROTOCOLS, scored_directions
from itembed_tf.evaluation.gallery import Gallery
from itembed_tf.evaluation.protocols import _MEASURES, by_answers, measure, protocol_for, selection_score
from itembed_tf.retrieval import QUERY_DIRECTIONS, embedding_scores, matrix_scores, retrieval_table


def random_split(images: int, each: int, width: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Gallery]:
    """Unit vectors of images and of noisy captions, `each` per image, in the order of the images."""
    generator = np.random.default_rng(seed)
    image_vectors = generator.normal(size=(images, width)).astype(np.float32)
    captions = np.repeat(image_vectors, each, axis=0) + generator.normal(size=(images * each, width)).astype(np.float32)
    image_vectors, captions = (s / np.linalg.norm(s, axis=1, keepdims=True) for s in (image_vectors, captions))
    names = np.array([str(100 + i) for i in range(images)])
    return image_vectors, captions, Gallery(names, np.repeat(names, each), None)


def test_catalogue_lists_all_protocols():
    assert set(PROTOCOLS) == set(_MEASURES) and {name for name, _ in USUAL_PROTOCOLS.values()} <= set(PROTOCOLS)
    code = "import sys, itembed_tf.evaluation.catalogue; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, "programs list the names"


def test_whole_adds_sizes_intervals_and_chance_to_the_retrieval_table():
    images, captions, names = random_split(40, 3)
    measured = measure("whole", embedding_scores(images, captions), names)
    table, plain = measured.table, retrieval_table(images, captions, names.images, names.captions)
    assert all(table[direction].values == plain[direction].values for direction in QUERY_DIRECTIONS)
    assert table.rsum == plain.rsum
    assert table.name == "whole/40x120" and (table.gallery_images, table.gallery_captions) == (40, 120)
    for direction in QUERY_DIRECTIONS:
        for key in ("R@1", "R@5", "R@10"):
            low, high = table[direction].intervals[key]
            assert low <= table[direction][key] <= high and low < high
    assert table.rsum_interval[0] < table.rsum < table.rsum_interval[1]
    assert (table.bootstrap["groups"], table.bootstrap["resamples"]) == (40, 2000)
    assert table.image_query.correct_answers == 3 and table.text_query.correct_answers == 1
    assert table.text_query.chance == pytest.approx({"R@1": 2.5, "R@5": 12.5, "R@10": 25, "MedR": 21, "MeanR": 20.5})
    assert table.image_query.chance["R@1"] == pytest.approx(2.5)
    assert measured.queries["text_query"].ranks.shape == (120,)
    assert measure("whole", embedding_scores(images, captions), names).table == table, "the seed is fixed"


def test_person_search_by_hand():
    # identities a (images 0, 1) and b (image 2); three captions, one of a and two of b
    scores = np.array([[0.9, 0.2, 0.8], [0.3, 0.1, 0.7], [0.5, 0.6, 0.1]], np.float32)
    names = Gallery(np.array(["a", "a", "b"]), np.array(["a", "b", "b"]))
    table = measure("cuhk", matrix_scores(scores), names).table
    # caption 0 ranks 0 2 1: correct at 1 and 3; caption 1 ranks 2 first: 1; caption 2 ranks 2 last: 3
    text = table.text_query
    assert text["R@1"] == pytest.approx(200 / 3)
    assert text["mAP"] == pytest.approx(100 * ((1 + 2 / 3) / 2 + 1 + 1 / 3) / 3)
    assert text["mINP"] == pytest.approx(100 * (2 / 3 + 1 + 1 / 3) / 3)
    assert text.intervals["mAP"][0] <= text["mAP"]
    assert text.correct_answers == pytest.approx(4 / 3) and text.chance["R@1"] == pytest.approx(100 * (2 + 1 + 1) / 9)
    assert "mAP" not in table.image_query.values and text.other_rates == ("mAP", "mINP")
    assert scored_directions(table.name) == ("text_query",) and scored_directions("whole/3x3") == QUERY_DIRECTIONS
    assert selection_score(table, "cuhk-pedes") == pytest.approx(200 / 3 + 100 + 100)
    assert selection_score(table, "folder") == table.rsum


def test_usual_protocol_needs_a_gallery_of_its_size():
    five, four = random_split(1000, 5)[2], random_split(1000, 4)[2]
    assert protocol_for("flickr8k", five) == "flickr-1k"
    assert protocol_for("flickr8k", four) == protocol_for("flickr30k", random_split(999, 5)[2]) == "whole"
    assert protocol_for("coco", five) == protocol_for("folder", five) == protocol_for("openmoji", five) == "whole"
    assert protocol_for("cuhk-pedes", random_split(3, 2)[2]) == "cuhk"


def test_flickr_1k_refuses_other_galleries():
    images, captions, names = random_split(1000, 5)
    assert measure("flickr-1k", embedding_scores(images, captions), names).table.name == "flickr-1k/1000x5000"
    for count, each, message in ((999, 5, "has 999 images"), (1000, 4, "1000 of them with fewer than five captions")):
        images, captions, names = random_split(count, each)
        with pytest.raises(ValueError, match=message):
            measure("flickr-1k", embedding_scores(images, captions), names)
    pairs = Gallery(np.repeat(np.array([str(i) for i in range(500)]), 2), np.repeat([str(i) for i in range(500)], 10))
    images, captions, _ = random_split(1000, 5)
    with pytest.raises(ValueError, match=r"1,000 images in 500 groups.*--protocol whole"):
        measure("flickr-1k", embedding_scores(images, captions), pairs)


def test_coco_5k_uses_the_first_five_captions():
    images, captions, names = random_split(4, 5)
    more = np.insert(names.captions, [5, 5, 20], [names.images[0], names.images[0], names.images[3]])
    assert gallery.first_five(Gallery(names.images, more), 4, "coco-5k").tolist() == [*range(5), *range(7, 22)]
    mixed = Gallery(names.images, names.captions.reshape(4, 5).T.ravel())  # captions of an image need not be adjacent
    assert gallery.first_five(mixed, 4, "coco-5k").tolist() == np.arange(20).reshape(5, 4).T.ravel().tolist()
    for name in ("coco-5k", "coco-1k-listed"):
        with pytest.raises(ValueError, match=f"{name} needs 5,000 images"):
            measure(name, embedding_scores(images, captions), names)


def test_coco_1k_is_the_mean_of_five_galleries_of_1000():
    images, captions, names = random_split(5000, 5)
    measured = measure("coco-1k-listed", embedding_scores(images, captions), names)
    table = measured.table
    assert table.name == "coco-1k-listed/1000x5000" and table.folds == 5 and table.to_json()["folds"] == 5
    groups = np.repeat(np.arange(1000), 5)
    tables = [
        retrieval_table(images[1000 * i :][:1000], captions[5000 * i :][:5000], np.arange(1000), groups)
        for i in range(5)
    ]
    for direction in QUERY_DIRECTIONS:
        for key in ("R@1", "R@10", "MedR", "MeanR"):
            assert table[direction][key] == pytest.approx(np.mean([each[direction][key] for each in tables]))
    assert table.rsum == pytest.approx(np.mean([each.rsum for each in tables]))
    assert table.text_query.chance["R@10"] == pytest.approx(1)  # of one fold
    assert measured.queries["text_query"].ranks.max() <= 1000 and len(measured.queries["text_query"].ranks) == 25000


@pytest.fixture
def small_coco(monkeypatch: pytest.MonkeyPatch) -> Gallery:
    """Three images with five captions each; the published order differs from theirs."""
    owners = {1000 + i: 7 + i // 5 for i in range(15)}
    order = np.array([*range(1005, 1010), *range(1010, 1015), *range(1000, 1005)])
    monkeypatch.setattr(gallery, "captions_in_order", lambda: order)
    monkeypatch.setattr(gallery, "image_of_caption", lambda: owners)
    return Gallery(np.array(["7", "8", "9"]), np.repeat(["7", "8", "9"], 5), np.arange(1000, 1015))


def test_metrics_with_published_answers_by_hand(small_coco):
    scores = np.zeros((3, 15), np.float32)
    scores[0] = np.linspace(0.9, 0.1, 15)  # image 7 ranks the captions in their order
    scores[1], scores[2] = 0.3 - scores[0] / 9, -scores[0]
    # image 7: correct are 1001 (rank 2), 1004 (rank 5), and one that is not in the gallery: R = 3
    answers = ({7: [1001, 1004, 4711]}, {1003: [9, 7], 1014: [8]})
    measured = by_answers(matrix_scores(scores), small_coco, answers, "eccv", precision=True)
    queries, table = measured.queries, measured.table
    assert queries["image_query"].ranks.tolist() == [2] and queries["image_query"].groups.tolist() == ["7"]
    assert table.image_query["R@1"] == 0 and table.image_query["R@5"] == 100
    assert table.image_query["R-Precision"] == pytest.approx(100 / 3)
    assert table.image_query["mAP@R"] == pytest.approx(100 * (1 / 2) / 3)
    assert table.image_query.chance["R@1"] == pytest.approx(100 * 2 / 15)  # two correct captions in the gallery
    # caption 1003: image 7 first, 8 second, 9 third; caption 1014: 8 first (0.29), 7 (0.1), 9
    assert queries["text_query"].ranks.tolist() == [1, 1]
    assert table.text_query["R-Precision"] == pytest.approx(100 * (1 / 2 + 1) / 2)
    assert table.text_query["mAP@R"] == pytest.approx(100 * (1 / 2 + 1) / 2)


def test_gallery_has_the_published_ids_in_order(small_coco):
    scores = matrix_scores(np.arange(45, dtype=np.float32).reshape(3, 15))
    part, names = gallery.published_five_thousand(scores, small_coco, "cxc")
    assert names.images.tolist() == ["8", "9", "7"] and names.caption_ids[[0, -1]].tolist() == [1005, 1004]
    assert part.block(np.array([2]), np.array([0])).tolist() == [[5]]  # image 7 with caption 1005


def test_images_other_than_the_published_ones_are_refused(small_coco):
    scores = matrix_scores(np.zeros((3, 15), np.float32))
    for other, message in (
        (Gallery(small_coco.images, small_coco.captions), "needs COCO's ids"),
        (Gallery(np.array(["7", "8", "cat"]), small_coco.captions, small_coco.caption_ids), "1 of .* and 0 of"),
        (Gallery(small_coco.images, small_coco.captions, np.arange(1001, 1016)), "0 of .* and 1 of"),
    ):
        for name in ("coco-1k", "cxc", "eccv"):
            with pytest.raises(ValueError, match=f"protocol {name} .*{message}"):
                gallery.published_five_thousand(scores, other, name)


def test_unknown_protocol_is_refused_with_the_known_ones():
    images, captions, names = random_split(4, 5)
    with pytest.raises(ValueError, match=r"unknown protocol 'coco'.*coco-1k, .*eccv"):
        measure("coco", embedding_scores(images, captions), names)


def test_missing_package_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(coco_positives.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"itembed_tf\[coco\]"):
        coco_positives.correct_answers("cxc")


def test_contents_of_eccv_caption():
    pytest.importorskip("eccv_caption", reason="the extra coco is not installed")
    sizes = {"original": (5000, 25000), "cxc": (5000, 24972), "eccv": (1261, 1332)}
    assert {n: tuple(map(len, coco_positives.correct_answers(n))) for n in coco_positives.NAMES} == sizes
    order, owners = coco_positives.captions_in_order(), coco_positives.image_of_caption()
    assert len(order) == 25000 and set(order.tolist()) == set(owners)
    assert all(len({owners[c] for c in order[i : i + 5].tolist()}) == 1 for i in range(0, 25000, 5))
