"""What became of every query of a run, on disk: ranks/<split>_<protocol>.npz in the run directory; write and read.

Kept because a comparison of two runs pairs their queries, and no table of means can be paired. Encoding a split again
takes minutes and TensorFlow; reading its ranks takes neither.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from itembed_tf.evaluation.protocols import QUERY_DIRECTIONS, QueryRanks
from itembed_tf.files import write_atomically

TOLD = ("dataset", "split", "name", "gallery", "protocol")  # of the metrics block; the first four must agree


def write_ranks(run: Path, block: Mapping[str, Any], asked: Mapping[str, QueryRanks]) -> Path:
    """Keep the queries that a metrics block was made of."""
    arrays: dict[str, Any] = {"block": np.array(json.dumps({key: block[key] for key in TOLD}))}
    for way in QUERY_DIRECTIONS:
        arrays |= {f"{way} ranks": asked[way].ranks, f"{way} groups": asked[way].groups}
        arrays |= {f"{way} of {name}": values for name, values in asked[way].others.items()}
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return write_atomically(_file(run, block["split"], block["name"].partition("/")[0]), file.getvalue())


def read_ranks(run: str | Path, split: str, protocol: str | None) -> tuple[dict[str, str], dict[str, QueryRanks]]:
    """What `write_ranks` kept; `protocol` None where there is only one of the split.

    Raises:
        FileNotFoundError: the split was not measured, or not by this protocol; it says how to.
        ValueError: several protocols to choose from, or a file that cannot be read.
    """
    found = sorted((Path(run) / "ranks").glob(f"{split}_{protocol or '*'}.npz"))
    if len(found) > 1:
        names = ", ".join(file.stem.partition("_")[2] for file in found)
        raise ValueError(f"{run} was measured on {split} by several protocols; choose one with --protocol: {names}")
    if not found:
        more = f" --protocol {protocol}" if protocol else ""
        raise FileNotFoundError(
            f"{run} holds no ranks of {split}{f' by {protocol}' if protocol else ''}; measure it first:\n"
            f"  python -m itembed_tf.evaluate {run} --split {split}{more}"
        )
    try:
        with np.load(found[0], allow_pickle=False) as file:
            told = json.loads(str(file["block"]))
            asked = {}
            for way in QUERY_DIRECTIONS:
                others = {n.removeprefix(f"{way} of "): file[n] for n in file.files if n.startswith(f"{way} of ")}
                asked[way] = QueryRanks(file[f"{way} ranks"], file[f"{way} groups"], others)
            return {key: told[key] for key in TOLD}, asked
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{found[0]} cannot be read ({error}); remove it and measure the run again") from error


def _file(run: Path, split: str, protocol: str) -> Path:
    return run / "ranks" / f"{split}_{protocol}.npz"
