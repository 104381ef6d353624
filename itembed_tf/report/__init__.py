"""The page about a run: what was reached, how training went, and what the encoders find and miss."""

from __future__ import annotations

from itembed_tf.report.page import write_report

__all__ = ["write_report"]
