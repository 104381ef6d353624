"""Evaluation: embeddings of a split, named retrieval protocols, per-query ranks, comparison of runs."""
