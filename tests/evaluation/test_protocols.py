"""Every protocol says what it is, gives hand-worked figures, and refuses what it does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf.evaluation import coco_positives as coco_ids
from itembed_tf.evaluation import gallery
from itembed_tf.evaluation.gallery import Gallery
from itembed_tf.evaluation.protocols import PROTOCOLS, by_answers, counted, measure, protocol_for, selection_score
from itembed_tf.retrieval import given_scores, retrieval_table, scores_of


def made(pictures: int, each: int, width: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Gallery]:
    draws = np.random.default_rng(seed)
    images = draws.normal(size=(pictures, width)).astype(np.float32)
    captions = np.repeat(images, each, axis=0) + draws.normal(size=(pictures * each, width)).astype(np.float32)
    images, captions = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (images, captions))
    names = np.array([str(100 + i) for i in range(pictures)])
    return images, captions, Gallery(names, np.repeat(names, each), None)


def test_whole_is_the_retrieval_table_with_its_gallery_and_intervals():
    images, captions, names = made(40, 3)
    block, asked = measure("whole", scores_of(images, captions), names)
    table = retrieval_table(images, captions, names.images, names.captions)
    assert {key: block[key] for key in table} == table
    assert block["name"] == "whole/40x120" and (block["gallery_images"], block["gallery_captions"]) == (40, 120)
    told = block["interval_95"]
    for way in ("image_query", "text_query"):
        for key in ("R@1", "R@5", "R@10"):
            low, high = told[way][key]
            assert low <= block[way][key] <= high and low < high
    assert told["rsum"][0] < block["rsum"] < told["rsum"][1]
    assert (told["groups"], told["resamples"]) == (40, 2000)
    assert asked["text_query"].ranks.shape == (120,)
    assert measure("whole", scores_of(images, captions), names)[0] == block, "the seed is fixed"


def test_person_search_by_hand():
    # identities a (pictures 0, 1) and b (picture 2); three captions, one of a and two of b
    scores = np.array([[0.9, 0.2, 0.8], [0.3, 0.1, 0.7], [0.5, 0.6, 0.1]], np.float32)
    names = Gallery(np.array(["a", "a", "b"]), np.array(["a", "b", "b"]))
    block, _ = measure("cuhk", given_scores(scores), names)
    # caption 0 ranks 0 2 1: right at 1 and 3; caption 1 ranks 2 first: 1; caption 2 ranks 2 last: 3
    text = block["text_query"]
    assert text["R@1"] == pytest.approx(200 / 3)
    assert text["mAP"] == pytest.approx(100 * ((1 + 2 / 3) / 2 + 1 + 1 / 3) / 3)
    assert text["mINP"] == pytest.approx(100 * (2 / 3 + 1 + 1 / 3) / 3)
    assert block["interval_95"]["text_query"]["mAP"][0] <= text["mAP"]
    assert "mAP" not in block["image_query"]
    assert counted(block["name"]) == ("text_query",) and counted("whole/3x3") == ("image_query", "text_query")
    assert selection_score(block, "cuhk-pedes") == pytest.approx(200 / 3 + 100 + 100)
    assert selection_score(block, "folder") == block["rsum"]


def test_the_usual_protocol_needs_the_usual_gallery():
    five, four = made(1000, 5)[2], made(1000, 4)[2]
    assert protocol_for("flickr8k", five) == "flickr-1k"
    assert protocol_for("flickr8k", four) == protocol_for("flickr30k", made(999, 5)[2]) == "whole"
    assert protocol_for("coco", five) == protocol_for("folder", five) == protocol_for("openmoji", five) == "whole"
    assert protocol_for("cuhk-pedes", made(3, 2)[2]) == "cuhk"


def test_flickr_1k_and_what_it_refuses():
    images, captions, names = made(1000, 5)
    assert measure("flickr-1k", scores_of(images, captions), names)[0]["name"] == "flickr-1k/1000x5000"
    for pictures, each, words in ((999, 5, "999 pictures"), (1000, 4, "1000 of them with fewer than five captions")):
        images, captions, names = made(pictures, each)
        with pytest.raises(ValueError, match=words):
            measure("flickr-1k", scores_of(images, captions), names)
    twins = Gallery(np.repeat(np.array([str(i) for i in range(500)]), 2), np.repeat([str(i) for i in range(500)], 10))
    images, captions, _ = made(1000, 5)
    with pytest.raises(ValueError, match="1,000 pictures in 500 groups"):
        measure("flickr-1k", scores_of(images, captions), twins)


def test_coco_5k_takes_the_first_five_captions():
    images, captions, names = made(4, 5)
    more = np.insert(names.captions, [5, 5, 20], [names.images[0], names.images[0], names.images[3]])
    assert gallery.first_five(Gallery(names.images, more), 4, "coco-5k").tolist() == [*range(5), *range(7, 22)]
    apart = Gallery(names.images, names.captions.reshape(4, 5).T.ravel())  # captions of a picture need not be together
    assert gallery.first_five(apart, 4, "coco-5k").tolist() == np.arange(20).reshape(5, 4).T.ravel().tolist()
    for name in ("coco-5k", "coco-1k-listed"):
        with pytest.raises(ValueError, match=f"{name} is for 5,000 pictures"):
            measure(name, scores_of(images, captions), names)


def test_coco_1k_is_the_mean_of_five_galleries_of_1000():
    images, captions, names = made(5000, 5)
    block, asked = measure("coco-1k-listed", scores_of(images, captions), names)
    assert block["name"] == "coco-1k-listed/1000x5000" and block["folds"] == 5
    groups = np.repeat(np.arange(1000), 5)
    tables = [
        retrieval_table(images[1000 * i :][:1000], captions[5000 * i :][:5000], np.arange(1000), groups)
        for i in range(5)
    ]
    for way in ("image_query", "text_query"):
        for key in ("R@1", "R@10", "MedR", "MeanR"):
            assert block[way][key] == pytest.approx(np.mean([table[way][key] for table in tables]))
    assert block["rsum"] == pytest.approx(np.mean([table["rsum"] for table in tables]))
    assert asked["text_query"].ranks.max() <= 1000 and len(asked["text_query"].ranks) == 25000


@pytest.fixture
def small_coco(monkeypatch: pytest.MonkeyPatch) -> Gallery:
    """Three pictures with five captions each, published in another order than they come in."""
    owners = {1000 + i: 7 + i // 5 for i in range(15)}
    order = np.array([*range(1005, 1010), *range(1010, 1015), *range(1000, 1005)])
    monkeypatch.setattr(gallery, "captions_in_order", lambda: order)
    monkeypatch.setattr(gallery, "pictures_of_captions", lambda: owners)
    return Gallery(np.array(["7", "8", "9"]), np.repeat(["7", "8", "9"], 5), np.arange(1000, 1015))


def test_published_answers_by_hand(small_coco):
    scores = np.zeros((3, 15), np.float32)
    scores[0] = np.linspace(0.9, 0.1, 15)  # picture 7 ranks the captions in their order
    scores[1], scores[2] = 0.3 - scores[0] / 9, -scores[0]
    # picture 7: right are 1001 (rank 2), 1004 (rank 5), and one that is not in the gallery: R = 3
    answers = ({7: [1001, 1004, 4711]}, {1003: [9, 7], 1014: [8]})
    block, asked = by_answers(given_scores(scores), small_coco, answers, "eccv", precision=True)
    assert asked["image_query"].ranks.tolist() == [2] and asked["image_query"].groups.tolist() == ["7"]
    assert block["image_query"]["R@1"] == 0 and block["image_query"]["R@5"] == 100
    assert block["image_query"]["R-Precision"] == pytest.approx(100 / 3)
    assert block["image_query"]["mAP@R"] == pytest.approx(100 * (1 / 2) / 3)
    # caption 1003: picture 7 first, 8 second, 9 third; caption 1014: 8 first (0.29), 7 (0.1), 9
    assert asked["text_query"].ranks.tolist() == [1, 1]
    assert block["text_query"]["R-Precision"] == pytest.approx(100 * (1 / 2 + 1) / 2)
    assert block["text_query"]["mAP@R"] == pytest.approx(100 * (1 / 2 + 1) / 2)


def test_published_ids_in_their_order(small_coco):
    scores = given_scores(np.arange(45, dtype=np.float32).reshape(3, 15))
    part, names = gallery.published_five_thousand(scores, small_coco, "cxc")
    assert names.images.tolist() == ["8", "9", "7"] and names.caption_ids[[0, -1]].tolist() == [1005, 1004]
    assert part.block(np.array([2]), np.array([0])).tolist() == [[5]]  # picture 7 with caption 1005


def test_other_pictures_than_the_published_are_refused(small_coco):
    scores = given_scores(np.zeros((3, 15), np.float32))
    for other, words in (
        (Gallery(small_coco.images, small_coco.captions), "come without"),
        (Gallery(np.array(["7", "8", "cat"]), small_coco.captions, small_coco.caption_ids), "1 and 0 are not here"),
        (Gallery(small_coco.images, small_coco.captions, np.arange(1001, 1016)), "0 and 1 are not here"),
    ):
        for name in ("coco-1k", "cxc", "eccv"):
            with pytest.raises(ValueError, match=f"{name} .*{words}"):
                gallery.published_five_thousand(scores, other, name)


def test_an_unknown_protocol_is_answered_with_the_known():
    images, captions, names = made(4, 5)
    with pytest.raises(ValueError, match=r"'coco' is not known.*coco-1k, .*eccv"):
        measure("coco", scores_of(images, captions), names)
    assert set(PROTOCOLS) >= {"whole", "flickr-1k", "coco-1k", "coco-5k", "cuhk", "cxc", "eccv"}


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(coco_ids.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"itembed_tf\[coco\]"):
        coco_ids.right_answers("cxc")


def test_what_the_package_holds():
    pytest.importorskip("eccv_caption", reason="the extra coco is not installed")
    sizes = {"original": (5000, 25000), "cxc": (5000, 24972), "eccv": (1261, 1332)}
    assert {name: tuple(map(len, coco_ids.right_answers(name))) for name in coco_ids.NAMES} == sizes
    order, owners = coco_ids.captions_in_order(), coco_ids.pictures_of_captions()
    assert len(order) == 25000 and set(order.tolist()) == set(owners)
    assert all(len({owners[c] for c in order[i : i + 5].tolist()}) == 1 for i in range(0, 25000, 5))
