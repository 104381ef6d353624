"""Reciprocal rank fusion, by hand."""

from __future__ import annotations

from itembed_tf.index.fusion import reciprocal_rank_fusion


def test_sums_of_reciprocal_ranks_order_the_ids() -> None:
    # 1: 1/61 + 1/62 = 0.03252; 2: 1/62 + 1/61, the same; 3: 1/63 = 0.0159; 4: 1/63
    assert reciprocal_rank_fusion([[2, 1, 3], [1, 2, 4]]) == [1, 2, 3, 4]


def test_an_item_in_both_rankings_comes_before_the_first_of_one() -> None:
    # 9: 1/70 + 1/70 = 0.0286 > 1/61 = 0.0164
    assert reciprocal_rank_fusion([[1, 2, 3, 4, 5, 6, 7, 8, 10, 9], [11, 12, 13, 14, 15, 16, 17, 18, 19, 9]])[0] == 9


def test_a_small_constant_trusts_the_first_ranks_more() -> None:
    # 1: 1/1 = 1; 2: 1/2 + 1/3 = 0.83; with 60: 1/61 = 0.016 < 1/62 + 1/63 = 0.032
    rankings = [[1, 2], [4, 5, 2]]
    assert reciprocal_rank_fusion(rankings, constant=0)[0] == 1
    assert reciprocal_rank_fusion(rankings)[0] == 2


def test_one_ranking_stays_as_it_is() -> None:
    assert reciprocal_rank_fusion([[3, 1, 2]]) == [3, 1, 2]
    assert reciprocal_rank_fusion([]) == []
