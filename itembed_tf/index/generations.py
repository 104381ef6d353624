"""Generations of an index, and the encoders to which their vectors belong."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from itembed_tf.index.database import transaction
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.records import Generation

_SELECT = (
    "SELECT number, contract, dimensions, state, coalesce(base, '') "
    "FROM generations JOIN encoders USING (contract) LEFT JOIN taught USING (contract)"
)


@dataclass(frozen=True)
class StoredEncoders:
    """What an index keeps of a pair of encoders, so that it can be searched by text without anything else.

    Attributes:
        contract: contract hash of the pair.
        dimensions: D of an embedding.
        text_encoder: content of a LiteRT file: ids int32 [1, L] -> embedding float32 [1, D].
        tokenizer: JSON: words, tokenizer, lowercase and length of the vocabulary.
        calibration: content of an .npz with the banks of the hubness correction and the bands; None without.
    """

    contract: str
    dimensions: int
    text_encoder: bytes
    tokenizer: str
    calibration: bytes | None = None


def current_generation(connection: sqlite3.Connection) -> Generation | None:
    """The generation that is searched; None in an index to which nothing was added yet."""
    row = connection.execute(f"{_SELECT} WHERE state = 'current'").fetchone()
    return Generation(*row) if row else None


def all_generations(connection: sqlite3.Connection) -> list[Generation]:
    return [Generation(*row) for row in connection.execute(f"{_SELECT} ORDER BY number")]


def start_generation(connection: sqlite3.Connection, encoders: StoredEncoders) -> Generation:
    """A new generation for vectors of these encoders: current if it is the first one, else building."""
    state = "building" if current_generation(connection) else "current"
    with transaction(connection):
        connection.execute(
            "INSERT OR IGNORE INTO encoders VALUES (?, ?, ?, ?, ?)",
            (
                encoders.contract,
                encoders.dimensions,
                encoders.text_encoder,
                encoders.tokenizer,
                encoders.calibration,
            ),
        )
        number = connection.execute("SELECT coalesce(max(number), 0) + 1 FROM generations").fetchone()[0]
        connection.execute(
            "INSERT INTO generations VALUES (?, ?, ?, strftime('%Y-%m-%dT%H:%M:%SZ'))",
            (number, encoders.contract, state),
        )
    return Generation(number, encoders.contract, encoders.dimensions, state)


def read_encoders(connection: sqlite3.Connection, contract: str) -> StoredEncoders:
    """The encoders of a generation, by contract hash.

    Raises:
        SearchIndexError: the index has none of this hash.
    """
    row = connection.execute("SELECT * FROM encoders WHERE contract = ?", (contract,)).fetchone()
    if not row:
        raise SearchIndexError(f"the index has no encoders of contract {contract[:16]}")
    return StoredEncoders(*row)


def check_contract(generation: Generation, contract: str) -> None:
    """Refuse vectors of other encoders than those of the generation.

    Those that its encoders had before they were taught names are accepted: they have the same image encoder.

    Raises:
        SearchIndexError: the contract hashes differ.
    """
    if contract not in (generation.contract, generation.image_contract):
        raise SearchIndexError(
            f"the index has vectors of the contract {generation.contract[:16]}, and these encoders have "
            f"{contract[:16]}: their vectors cannot be compared. Use the encoders with which the index was built, or "
            "change it to these with `itembed index --upgrade`"
        )
