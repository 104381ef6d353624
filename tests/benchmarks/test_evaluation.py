"""The evaluation benchmarks: ranked lists follow our rule for ties, and the VSE++ loop finds the same recall."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.coco_eval_speed import embeddings, vsepp
from benchmarks.protocols import head, ranked
from itembed_tf.retrieval import retrieval_table


def test_ranked_lists_put_incorrect_items_first_in_a_tie():
    matrix = np.array([[0.5, 0.9, 0.5, 0.50001, 0.1]], np.float32)
    queries, items = np.array([7]), np.array([10, 11, 12, 13, 14])
    for tie, order in ((0, [11, 13, 12, 10, 14]), (1e-3, [11, 12, 13, 10, 14])):  # 13 is 0.00001 ahead of 12
        ties = np.array([tie], np.float32)
        assert ranked(matrix, head(matrix), queries, items, {7: [10, 13]}, ties) == {7: order}
    assert ranked(matrix, head(matrix), queries, items, {8: [10]}, ties) == {}


def test_vsepp_loop_finds_the_same_recall():
    images, captions, groups = embeddings(60)
    table = retrieval_table(images, captions[:300], np.arange(60), groups[:300])
    expected = [table[direction]["R@1"] for direction in ("image_query", "text_query")]
    assert vsepp(images, captions[:300]) == pytest.approx(expected)
    assert len(captions) == 310
