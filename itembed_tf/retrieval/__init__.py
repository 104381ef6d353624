"""Retrieval of embeddings: ranks, recall@K, average precision, bootstrap intervals, nearest neighbours (NumPy).

With the hubness correction of scores, and the calibration that a search needs beside the vectors.

Scores are dot products of float32 rows: cosine similarities where the rows have unit length, as an encoder returns
them. They are computed block by block, so memory does not grow with the square of the gallery. Both query directions
share each block.

**Ties count against the model.** An item of another group that scores as high as the best relevant item ranks before
it, so that a collapsed encoder gets the worst ranks and not the best. Rounding must not break a tie in favour of the
model: equal vectors at two positions of the gallery can differ in the last bits of their scores, because the order of
summation in a matrix product depends on the shape of the block (up to 8 float32 ulps of 1 were measured for up to
2,048 dimensions). Scores closer than `TIE` times the lengths of the two rows therefore count as equal.
"""

from __future__ import annotations

from itembed_tf.retrieval.bands import Band, band_of, fit_bands, shown_hits
from itembed_tf.retrieval.bootstrap import RESAMPLES, SEED, interval_95, resampled_means
from itembed_tf.retrieval.calibration import (
    CALIBRATION_FILE,
    Calibration,
    CalibrationError,
    Direction,
    Far,
    calibration_bytes,
    nearest_cosine,
    parse_calibration,
    read_calibration,
    write_calibration,
)
from itembed_tf.retrieval.chance import chance_figures, chance_ranks, chance_recall, with_chance
from itembed_tf.retrieval.hubness import (
    Bank,
    Choice,
    Correction,
    biases,
    choose_correction,
    neighbour_means,
    own_groups,
    recall_sum,
)
from itembed_tf.retrieval.nearest import top_k
from itembed_tf.retrieval.precision import (
    average_precision,
    average_precision_at_r,
    inverse_negative_penalty,
    r_precision,
    relevant_ranks,
)
from itembed_tf.retrieval.ranks import best_ranks, retrieval_table, two_way_ranks
from itembed_tf.retrieval.scores import TIE, Scores, embedding_scores, matrix_scores
from itembed_tf.retrieval.table import (
    CUTOFFS,
    DIRECTION_NAMES,
    QUERY_DIRECTIONS,
    Interval,
    QueryFigures,
    RetrievalTable,
    rank_figures,
)

__all__ = [
    "CALIBRATION_FILE",
    "CUTOFFS",
    "DIRECTION_NAMES",
    "QUERY_DIRECTIONS",
    "RESAMPLES",
    "SEED",
    "TIE",
    "Band",
    "Bank",
    "Calibration",
    "CalibrationError",
    "Choice",
    "Correction",
    "Direction",
    "Far",
    "Interval",
    "QueryFigures",
    "RetrievalTable",
    "Scores",
    "average_precision",
    "average_precision_at_r",
    "band_of",
    "best_ranks",
    "biases",
    "calibration_bytes",
    "chance_figures",
    "chance_ranks",
    "chance_recall",
    "choose_correction",
    "embedding_scores",
    "fit_bands",
    "interval_95",
    "inverse_negative_penalty",
    "matrix_scores",
    "nearest_cosine",
    "neighbour_means",
    "own_groups",
    "parse_calibration",
    "r_precision",
    "rank_figures",
    "read_calibration",
    "recall_sum",
    "relevant_ranks",
    "resampled_means",
    "retrieval_table",
    "shown_hits",
    "top_k",
    "two_way_ranks",
    "with_chance",
    "write_calibration",
]
