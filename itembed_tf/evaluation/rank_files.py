"""Per-query ranks of a run on disk: ranks/<split>_<protocol>.npz in the run directory.

Those of hubness-corrected scores are in ranks/hubness_corrected/.

A comparison of two runs pairs their queries, which means alone do not allow. Reading the ranks takes neither
TensorFlow nor another evaluation of the model.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from itembed_tf.evaluation.measurement import QueryRanks
from itembed_tf.files import write_atomically
from itembed_tf.retrieval import QUERY_DIRECTIONS, RetrievalTable

HEADER = ("dataset", "split", "name", "gallery", "protocol")


@dataclass(frozen=True)
class RunRanks:
    """Per-query ranks with the fields of their table that say what was evaluated, as in `RetrievalTable`."""

    dataset: str
    split: str
    name: str
    gallery: str
    protocol: str
    queries: dict[str, QueryRanks]


def write_ranks(
    run: Path, table: RetrievalTable, queries: Mapping[str, QueryRanks], *, corrected: bool = False
) -> Path:
    """Write the per-query ranks of a table into the run directory; return the file."""
    arrays: dict[str, Any] = {"block": np.array(json.dumps({key: getattr(table, key) for key in HEADER}))}
    for direction in QUERY_DIRECTIONS:
        ranks = queries[direction]
        arrays |= {f"{direction} ranks": ranks.ranks, f"{direction} groups": ranks.groups}
        arrays |= {f"{direction} of {name}": values for name, values in ranks.rates.items()}
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    name = f"{table.split}_{table.name.partition('/')[0]}.npz"
    return write_atomically(_folder(run, corrected) / name, file.getvalue())


def read_ranks(run: str | Path, split: str, protocol: str | None, *, corrected: bool = False) -> RunRanks:
    """Read what `write_ranks` wrote; `protocol` may be None where the split was evaluated by one protocol only.

    Raises:
        FileNotFoundError: the run was not evaluated on the split, or not by this protocol.
        ValueError: evaluated by several protocols and none given, or a file that cannot be read.
    """
    files = sorted(_folder(Path(run), corrected).glob(f"{split}_{protocol or '*'}.npz"))
    if len(files) > 1:
        names = ", ".join(file.stem.partition("_")[2] for file in files)
        raise ValueError(f"{run} was evaluated on {split} by several protocols; choose one with --protocol: {names}")
    command = f"itembed evaluate {quote(str(run))} --split {split}"
    if not files:
        option, by = (f" --protocol {protocol}", f" by protocol {protocol}") if protocol else ("", "")
        what = "ranks of hubness-corrected scores, which need encoders with a calibration," if corrected else "ranks"
        raise FileNotFoundError(f"{run} has no {what} of {split}{by}; evaluate it first: {command}{option}")
    try:
        with np.load(files[0], allow_pickle=False) as file:
            header = json.loads(str(file["block"]))
            queries = {}
            for direction in QUERY_DIRECTIONS:
                prefix = f"{direction} of "
                rates = {name.removeprefix(prefix): file[name] for name in file.files if name.startswith(prefix)}
                queries[direction] = QueryRanks(file[f"{direction} ranks"], file[f"{direction} groups"], rates)
            return RunRanks(**{key: header[key] for key in HEADER}, queries=queries)
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{files[0]} cannot be read ({error}); write it again: {command}") from error


def _folder(run: Path, corrected: bool) -> Path:
    return run / "ranks" / "hubness_corrected" if corrected else run / "ranks"
