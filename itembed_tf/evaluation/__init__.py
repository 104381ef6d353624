"""Evaluation: named protocols, galleries, per-query ranks."""
