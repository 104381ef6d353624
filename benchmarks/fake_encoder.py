"""An image encoder for tests and benchmarks of an index: vectors from the bytes of a file, a list of what it saw."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from itembed_tf.index.database import writing
from itembed_tf.index.generations import StoredEncoders, current_generation, start_generation

DIMENSIONS = 8
CONTRACTS = ("fa" * 32, "fb" * 32)  # of two fake encoders, whose vectors differ


def fake_vector(content: bytes, contract: str = CONTRACTS[0]) -> NDArray[np.float32]:
    """A unit vector float32 [8] that depends on the content and the contract alone."""
    return vector_of(hashlib.sha256(content).hexdigest(), contract)


def vector_of(checksum: str, contract: str = CONTRACTS[0]) -> NDArray[np.float32]:
    """The same, by the SHA-256 (hex) of the content."""
    vector = np.random.default_rng([int(checksum[:8], 16), CONTRACTS.index(contract)]).normal(size=DIMENSIONS)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def fake_encoders(contract: str = CONTRACTS[0]) -> StoredEncoders:
    """What an index keeps of them: they encode no text."""
    return StoredEncoders(contract, DIMENSIONS, b"", "{}")


class FakeEncoder:
    """`seen` has the contents, in order; those that contain b"broken" cannot be decoded."""

    def __init__(self, contract: str = CONTRACTS[0]) -> None:
        self.contract = contract
        self.seen: list[bytes] = []

    def __call__(self, contents: Sequence[bytes]) -> list[NDArray[np.float32] | str]:
        self.seen += contents
        return ["a damaged PNG image" if b"broken" in each else fake_vector(each, self.contract) for each in contents]


def empty_index(folder: Path) -> Path:
    """An index without items, for vectors of `FakeEncoder`; nothing changes where there is one."""
    with writing(folder, create=True) as connection:
        if current_generation(connection) is None:
            start_generation(connection, fake_encoders())
    return folder
