"""Two runs against each other: by hand, by coverage, and what is refused; ranks come back from disk as they went."""

from __future__ import annotations

import numpy as np
import pytest

from itembed_tf import compare as program
from itembed_tf.evaluation import comparison as compare
from itembed_tf.evaluation.protocols import QueryRanks
from itembed_tf.evaluation.rank_files import read_ranks, write_ranks

BLOCK = {
    "dataset": "flickr8k",
    "split": "dev",
    "name": "flickr-1k/1000x5000",
    "gallery": "abc",
    "protocol": "flickr8k dev, flickr-1k: 1,000 pictures, 5,000 captions; flip=yes shifts=left",
}


def asked(found_images, found_captions):
    """Queries found first, or never; three captions a picture."""
    groups = np.array([str(i) for i in range(len(found_images))])
    ranks = [np.where(found, 1, 99) for found in (found_images, found_captions)]
    return {"image_query": QueryRanks(ranks[0], groups), "text_query": QueryRanks(ranks[1], np.repeat(groups, 3))}


def run(tmp_path, folder, images, captions, **other):
    folder = tmp_path / folder
    write_ranks(folder, {**BLOCK, **other}, asked(np.array(images), np.array(captions)))
    return folder


def drawn(draws, pictures, share):
    """A run: each picture's own chance, the same for its captions."""
    chance = np.clip(share + draws.normal(0, 0.2, pictures), 0, 1)
    return asked(draws.random(pictures) < chance, draws.random(3 * pictures) < np.repeat(chance, 3))


def test_ranks_come_back_as_they_went(tmp_path):
    one = asked(np.array([True, False]), np.array([True] * 6))
    one["text_query"] = QueryRanks(one["text_query"].ranks, one["text_query"].groups, {"mAP": np.linspace(0, 1, 6)})
    file = write_ranks(tmp_path, BLOCK, one)
    assert file == tmp_path / "ranks" / "dev_flickr-1k.npz"
    told, back = read_ranks(tmp_path, "dev", None)
    assert told == BLOCK
    for way, queries in one.items():
        np.testing.assert_array_equal(back[way].ranks, queries.ranks)
        assert back[way].groups.tolist() == queries.groups.tolist()
    np.testing.assert_array_equal(back["text_query"].others["mAP"], np.linspace(0, 1, 6))


def test_differences_by_hand(tmp_path, capsys):
    # of 4 pictures A finds 3 and B 1; of 12 captions A finds 6 and B the same 6
    captions = [True, False] * 6
    a = run(tmp_path, "a", [True, True, True, False], captions)
    b = run(tmp_path, "b", [True, False, False, False], captions)
    assert program.main([str(a), str(b)]) == 0
    said = capsys.readouterr().out
    assert sum("R@" in line for line in said.splitlines()) == 6
    found = compare.compare_runs([a], [b], "dev")["figures"]
    assert found["image_query R@1"]["a"] == 75 and found["image_query R@1"]["b"] == 25
    assert found["image_query R@1"]["difference"] == 50
    assert found["image_query R@1"]["interval_95"] == [0, 100]  # 0: four draws of the two on which they agree, 1/16
    assert found["text_query R@5"] == {"a": 50, "b": 50, "difference": 0, "interval_95": [0, 0]}
    assert found["rsum"]["difference"] == 150 and "another seed moves both" in said


def test_pairing_sees_what_two_single_intervals_do_not():
    draws = np.random.default_rng(0)
    base = drawn(draws, 500, 0.5)
    ranks = base["text_query"].ranks.copy()
    ranks[np.flatnonzero(ranks > 1)[::12]] = 1  # B misses all that A misses, and one in twelve of those A finds more
    better = {**base, "text_query": QueryRanks(ranks, base["text_query"].groups)}
    figure = compare.differences([better], [base])["text_query R@1"]
    assert compare.verdict(figure) == "A is better" and figure["difference"] < 5
    assert compare.verdict(compare.differences([base], [better])["text_query R@1"]) == "B is better"
    assert compare.verdict(compare.differences([base], [base])["rsum"]) == "undecided"


def test_several_seeds_widen_the_interval_by_what_seeds_move():
    draws = np.random.default_rng(1)
    a, b = ([drawn(draws, 300, share) for share in shares] for shares in ((0.4, 0.6, 0.5), (0.3, 0.5, 0.4)))
    one = compare.differences(a[2:], b[2:])["rsum"]
    three = compare.differences(a, b)["rsum"]
    assert compare.verdict(one) == "A is better"  # these two encoders do differ
    assert compare.verdict(three) == "undecided"  # but seeds move as much: +-10 points of each recall
    assert np.diff(three["interval_95"]) > 2 * np.diff(one["interval_95"])
    # s = 60 points of rsum, error 60 * sqrt(2 / 3) = 49, t(4) = 2.78: about +-136
    assert np.diff(three["interval_95"])[0] / 2 == pytest.approx(136, rel=0.2)


def test_two_recipes_alike_are_told_apart_one_time_in_twenty():
    draws = np.random.default_rng(2)
    wrong = 0
    for _ in range(120):
        sides = [[drawn(draws, 60, 0.5 + draws.normal(0, 0.05)) for _ in range(3)] for _ in range(2)]
        wrong += compare.verdict(compare.differences(*sides, resamples=200)["rsum"]) != "undecided"
    assert wrong / 120 < 0.1


def test_what_cannot_be_compared_is_refused(tmp_path, capsys):
    def error(*arguments):
        assert program.main([str(argument) for argument in arguments]) == 1
        return capsys.readouterr().err

    a = run(tmp_path, "a", [True, False], [True] * 6)
    for other, words in (
        ({"dataset": "flickr30k"}, "their data sets differ (flickr8k, flickr30k)"),
        ({"gallery": "abd"}, "their pictures or captions differ"),
        ({"name": "whole/999x4995"}, "their protocols or sizes differ (flickr-1k/1000x5000, whole/999x4995)"),
    ):
        assert words in error(a, run(tmp_path, f"b{len(words)}", [True, False], [True] * 6, **other))
    assert "python -m itembed_tf.evaluate" in error(a, tmp_path / "nothing")
    assert "--split test" in error(a, a, "--split", "test")
    run(tmp_path, "a", [True, False], [True] * 6, name="coco-5k/5000x25000")
    assert "choose one with --protocol: coco-5k, flickr-1k" in error(a, a)
    (tmp_path / "a/ranks/dev_flickr-1k.npz").write_bytes(b"PK half")
    assert "cannot be read" in error(a, a, "--protocol", "flickr-1k")
    with pytest.raises(SystemExit):
        program.main([str(a)])
