"""Two matrices of embeddings -> who finds whom: ranks, Recall@K, nearest neighbours (NumPy).

Scores are dot products of float32 rows, so cosines where the rows have unit length, as an encoder gives them. They are
computed block by block: memory does not grow with the square of the gallery. Both directions share each block.

**Ties count against us.** An item of another group that scores as high as the best true item is ranked before it, so
that a collapsed encoder gets the worst ranks and not the best. Rounding must not break a tie in our favour: one vector
at two places of the gallery can score differently in the last bits, as matrix products add in an order that depends on
the shape of the block (up to 8 float32 ulps of 1 were measured for widths up to 2,048). Scores closer than `TIE` times
the lengths of the two rows therefore count as equal, which costs at most a rank where neighbours are that dense.
"""

from __future__ import annotations

from itembed_tf.retrieval.bootstrap import RESAMPLES, SEED, interval_95, resampled_means
from itembed_tf.retrieval.nearest import top_k
from itembed_tf.retrieval.ranks import best_ranks, recalls, retrieval_table, rsum, two_way_ranks
from itembed_tf.retrieval.right_ranks import (
    average_precision,
    average_precision_at_r,
    inverse_negative_penalty,
    r_precision,
    right_ranks,
)
from itembed_tf.retrieval.scores import TIE, Scores, given_scores, scores_of

__all__ = [
    "RESAMPLES",
    "SEED",
    "TIE",
    "Scores",
    "average_precision",
    "average_precision_at_r",
    "best_ranks",
    "given_scores",
    "interval_95",
    "inverse_negative_penalty",
    "r_precision",
    "recalls",
    "resampled_means",
    "retrieval_table",
    "right_ranks",
    "rsum",
    "scores_of",
    "top_k",
    "two_way_ranks",
]
