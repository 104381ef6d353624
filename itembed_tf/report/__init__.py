"""The HTML report of a run: retrieval results, training curves, analysis and example queries."""

from __future__ import annotations

from itembed_tf.report.facts import run_facts
from itembed_tf.report.page import write_report

__all__ = ["run_facts", "write_report"]
