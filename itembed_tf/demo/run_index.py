"""The index of a run's own images, which `itembed demo RUN` shows: made once, then brought up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from itembed_tf.data.readers import attribution
from itembed_tf.demo.searched_index import ATTRIBUTION
from itembed_tf.index.build import build_index
from itembed_tf.index.database import transaction, writing
from itembed_tf.index.sources import Source
from itembed_tf.interruption import resumable
from itembed_tf.program import command_line, run_config

INDEX = "demo.index"  # in the run directory


def index_run(run: Path, split: str) -> Path:
    """Index the images of a run's dataset with the run's encoders; returns the folder of the index.

    Args:
        run: directory of a finished run.
        split: "train", "dev", "test", or "all" that the run names in dataset.splits.

    Raises:
        UserError: the run has not finished, or its dataset is not there.
    """
    config = run_config(run)
    folder = run / (INDEX if split == "all" else f"demo.{split}.index")
    source = Source("run", str(run.absolute()), {} if split == "all" else {"splits": split})
    with resumable(command_line("demo", run, *([] if split == "all" else ["--split", split]))):
        report = build_index(folder, [source], encoders=run)
    if report.added or report.changed or report.removed:
        print(f"indexed {report.items:,} images in {folder}", file=sys.stderr)
    for problem in [*report.problems, *(f"{place} is {reason}" for place, reason in report.unreadable.items())][:5]:
        print(f"warning: {problem}", file=sys.stderr)
    _attribute(folder, attribution(config.dataset.name))
    return folder


def _attribute(folder: Path, notice: str) -> None:
    """Keep the notice that the images' licence requires, for the page to show."""
    with writing(folder) as connection:
        row = connection.execute("SELECT value FROM settings WHERE name = ?", (ATTRIBUTION,)).fetchone()
        if notice != (row[0] if row else ""):
            with transaction(connection):
                connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (ATTRIBUTION, notice))
