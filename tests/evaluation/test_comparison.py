"""Comparison of two runs: by hand, by the coverage of the interval, and its errors; rank files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from itembed_tf import compare
from itembed_tf.evaluation.comparison import compare_runs, differences
from itembed_tf.evaluation.measurement import QueryRanks
from itembed_tf.evaluation.rank_files import read_ranks, write_ranks
from itembed_tf.retrieval import QueryFigures, RetrievalTable

TABLE = RetrievalTable(
    QueryFigures({}),
    QueryFigures({}),
    dataset="flickr8k",
    split="dev",
    name="flickr-1k/1000x5000",
    gallery="abc",
    protocol="flickr8k dev, flickr-1k: 1,000 images, 5,000 captions; flip=yes shifts=left",
)


def queries(image_hits, caption_hits):
    """Queries with rank 1, or rank 99; three captions per image."""
    groups = np.array([str(i) for i in range(len(image_hits))])
    ranks = [np.where(hits, 1, 99) for hits in (image_hits, caption_hits)]
    return {"image_query": QueryRanks(ranks[0], groups), "text_query": QueryRanks(ranks[1], np.repeat(groups, 3))}


def run(tmp_path, folder, images, captions, **fields):
    folder = tmp_path / folder
    write_ranks(folder, replace(TABLE, **fields), queries(np.array(images), np.array(captions)))
    return folder


def random_run(generator, images, share):
    """A run in which every image has its own probability of a hit, which its captions share."""
    chance = np.clip(share + generator.normal(0, 0.2, images), 0, 1)
    return queries(generator.random(images) < chance, generator.random(3 * images) < np.repeat(chance, 3))


def test_rank_file_round_trip(tmp_path):
    one = queries(np.array([True, False]), np.array([True] * 6))
    one["text_query"] = replace(one["text_query"], rates={"mAP": np.linspace(0, 1, 6)})
    file = write_ranks(tmp_path, TABLE, one)
    assert file == tmp_path / "ranks" / "dev_flickr-1k.npz"
    ranks = read_ranks(tmp_path, "dev", None)
    assert (ranks.dataset, ranks.name, ranks.gallery) == ("flickr8k", "flickr-1k/1000x5000", "abc")
    for direction, written in one.items():
        np.testing.assert_array_equal(ranks.queries[direction].ranks, written.ranks)
        assert ranks.queries[direction].groups.tolist() == written.groups.tolist()
    np.testing.assert_array_equal(ranks.queries["text_query"].rates["mAP"], np.linspace(0, 1, 6))


def test_corrected_ranks_are_compared_with_corrected_ranks(tmp_path, capsys):
    """Plain ranks of A and B are the same; only A has ranks of corrected scores, then both."""
    a, b = (run(tmp_path, name, [True, False], [True] * 6) for name in "ab")
    write_ranks(a, TABLE, queries(np.array([True, True]), np.array([True] * 6)), corrected=True)
    assert compare.main([str(a), str(b), "--corrected"]) != 0
    assert "b has no ranks of hubness-corrected scores, which need encoders with a cal" in capsys.readouterr().err
    write_ranks(b, TABLE, queries(np.array([True, False]), np.array([True] * 6)), corrected=True)
    assert compare_runs([a], [b], "dev", corrected=True).figures["image_query R@1"].difference == 50
    assert compare_runs([a], [b], "dev").figures["image_query R@1"].difference == 0


def test_differences_by_hand(tmp_path, capsys):
    # 4 images: A has 3 hits and B 1; 12 captions: A and B have the same 6
    captions = [True, False] * 6
    a = run(tmp_path, "a", [True, True, True, False], captions)
    b = run(tmp_path, "b", [True, False, False, False], captions)
    assert compare.main([str(a), str(b)]) == 0
    printed = capsys.readouterr().out
    assert sum("R@" in line for line in printed.splitlines()) == 6
    assert "image → text  R@1" in printed and "text → image  R@10" in printed
    comparison = compare_runs([a], [b], "dev")
    first = comparison.figures["image_query R@1"]
    assert (first.a, first.b, first.difference) == (75, 25, 50)
    assert first.interval_95 == (0, 100)  # 0 if all four draws are of the two images on which they agree: 1/16
    same = comparison.figures["text_query R@5"]
    assert (same.a, same.b, same.difference, same.interval_95) == (50, 50, 0, (0, 0))
    assert comparison.figures["rsum"].difference == 150 and "Another seed would change both" in printed
    assert comparison.to_json()["figures"]["rsum"]["verdict"] == comparison.figures["rsum"].verdict


def test_paired_comparison_detects_a_small_difference():
    base = random_run(np.random.default_rng(0), 500, 0.5)
    ranks = base["text_query"].ranks.copy()
    ranks[np.flatnonzero(ranks > 1)[::12]] = 1  # one in twelve of the queries that base misses
    better = {**base, "text_query": replace(base["text_query"], ranks=ranks)}
    figure = differences([better], [base])["text_query R@1"]
    assert figure.verdict == "A is better" and figure.difference < 5
    assert differences([base], [better])["text_query R@1"].verdict == "B is better"
    assert differences([base], [base])["rsum"].verdict == "undecided"


def test_variation_between_seeds_widens_the_interval():
    generator = np.random.default_rng(1)
    a, b = ([random_run(generator, 300, share) for share in shares] for shares in ((0.4, 0.6, 0.5), (0.3, 0.5, 0.4)))
    one = differences(a[2:], b[2:])["rsum"]
    three = differences(a, b)["rsum"]
    assert one.verdict == "A is better"  # these two models differ
    assert three.verdict == "undecided"  # but seeds differ as much: +-10 points of each recall
    assert np.diff(three.interval_95) > 2 * np.diff(one.interval_95)
    # s = 60 points of rsum, error 60 * sqrt(2 / 3) = 49, t(4) = 2.78: about +-136
    assert np.diff(three.interval_95)[0] / 2 == pytest.approx(136, rel=0.2)


def test_equal_configurations_rarely_differ():
    generator = np.random.default_rng(2)
    wrong = 0
    for _ in range(120):
        sides = [[random_run(generator, 60, 0.5 + generator.normal(0, 0.05)) for _ in range(3)] for _ in range(2)]
        wrong += differences(*sides, resamples=200)["rsum"].verdict != "undecided"
    assert wrong / 120 < 0.1


def test_incomparable_runs_are_refused(tmp_path, capsys):
    def error(*arguments):
        assert compare.main([str(argument) for argument in arguments]) == 1
        return capsys.readouterr().err

    a = run(tmp_path, "a", [True, False], [True] * 6)
    for fields, message in (
        ({"dataset": "flickr30k"}, "their datasets differ (flickr8k, flickr30k)"),
        ({"gallery": "abd"}, "their images or captions differ"),
        ({"name": "whole/999x4995"}, "their protocols or gallery sizes differ (flickr-1k/1000x5000, whole/999x4995)"),
    ):
        assert message in error(a, run(tmp_path, f"b{len(message)}", [True, False], [True] * 6, **fields))
    assert f"itembed evaluate {tmp_path / 'nothing'} --split dev" in error(a, tmp_path / "nothing")
    assert "--split test" in error(a, a, "--split", "test")
    run(tmp_path, "a", [True, False], [True] * 6, name="coco-5k/5000x25000")
    assert "choose one with --protocol: coco-5k, flickr-1k" in error(a, a)
    (tmp_path / "a/ranks/dev_flickr-1k.npz").write_bytes(b"PK half")
    assert "cannot be read" in error(a, a, "--protocol", "flickr-1k")
    with pytest.raises(SystemExit):
        compare.main([str(a)])
