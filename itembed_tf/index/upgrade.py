"""Change of the encoders of an index: generation N+1 is built beside N, checked, and swapped in one transaction.

The index is searched meanwhile, by generation N. A killed upgrade is continued by the next one. After the swap,
generation N is kept, and `roll_back` swaps it back. With a bridge (`itembed_tf.index.bridge`) the swap comes early:
items that are not encoded yet have mapped vectors, each replaced when its item is encoded.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from itembed_tf.index.database import transaction
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import StoredEncoders, all_generations, current_generation, start_generation
from itembed_tf.index.lessons import forget_lessons
from itembed_tf.index.records import Generation


@dataclass(frozen=True)
class Counts:
    """How far a generation is, in items: all, those encoded, those with a mapped vector, and those with none."""

    items: int
    encoded: int
    mapped: int

    @property
    def missing(self) -> int:
        return self.items - self.encoded - self.mapped


def start_upgrade(connection: sqlite3.Connection, encoders: StoredEncoders) -> Generation:
    """The generation to fill with vectors of these encoders.

    It is the one that an earlier upgrade began, the current one where that already belongs to these encoders, else a
    new one.

    Raises:
        SearchIndexError: the index is empty, or an upgrade to other encoders is unfinished.
    """
    current = current_generation(connection)
    if current is None:
        raise SearchIndexError("the index has no vectors yet; add images with `itembed index` and the new encoders")
    if encoders.contract in (current.contract, current.image_contract):  # those without what they were taught, too
        return current
    for generation in all_generations(connection):
        if generation.image_contract == encoders.contract and generation.state == "building":
            return generation
        if generation.state == "building":
            raise SearchIndexError(
                f"an upgrade to the encoders {generation.contract[:16]} is unfinished; finish it with the same "
                "command, or give it up with `itembed index INDEX --discard-upgrade`"
            )
    for generation in all_generations(connection):
        if generation.base == encoders.contract:  # lessons belong to a base: two generations would share them
            drop_generation(connection, generation.number)
    return start_generation(connection, encoders)


def discard_upgrade(connection: sqlite3.Connection) -> int:
    """Remove the generation that is being built; returns how many vectors it had. The current one is untouched."""
    unfinished = [generation for generation in all_generations(connection) if generation.state == "building"]
    return sum(drop_generation(connection, generation.number) for generation in unfinished)


def drop_generation(connection: sqlite3.Connection, number: int) -> int:
    """Remove a generation that is not searched, with its vectors, and encoders that no other one has."""
    with transaction(connection) as revision:
        connection.execute(
            "INSERT INTO removed SELECT row, generation, ? FROM vectors WHERE generation = ?", (revision, number)
        )
        count = connection.execute("DELETE FROM vectors WHERE generation = ?", (number,)).rowcount
        connection.execute("DELETE FROM generations WHERE number = ? AND state != 'current'", (number,))
        connection.execute("DELETE FROM taught WHERE contract NOT IN (SELECT contract FROM generations)")
        used = "SELECT contract FROM generations UNION SELECT base FROM taught"
        connection.execute(f"DELETE FROM encoders WHERE contract NOT IN ({used})")
        forget_lessons(connection)
    return count


def count_items(connection: sqlite3.Connection, generation: int) -> Counts:
    """How far a generation is."""
    items = connection.execute("SELECT count(*) FROM items").fetchone()[0]
    found = dict(
        connection.execute("SELECT mapped, count(*) FROM vectors WHERE generation = ? GROUP BY mapped", (generation,))
    )
    return Counts(items, found.get(0, 0), found.get(1, 0))


def check_whole(connection: sqlite3.Connection, generation: Generation) -> None:
    """Check that every item has one vector of the right length in a generation.

    Raises:
        SearchIndexError: some have none, or a vector is damaged; the message names the first.
    """
    places = [
        row[0]
        for row in connection.execute(
            "SELECT place FROM items WHERE id NOT IN (SELECT item FROM vectors WHERE generation = ?) ORDER BY id",
            (generation.number,),
        )
    ]
    if places:
        raise SearchIndexError(
            f"{len(places):,} items have no vector of the encoders {generation.contract[:16]}, first {places[0]}: they "
            "would not be found any more. If their files are away, bring them back, or remove the items with "
            "`itembed index INDEX --prune`; then give the command again"
        )
    query = "SELECT item FROM vectors WHERE generation = ? AND length(vector) != ? LIMIT 1"
    damaged = connection.execute(query, (generation.number, 2 * generation.dimensions)).fetchone()
    if damaged:
        raise SearchIndexError(
            f"the vector of item {damaged[0]} in generation {generation.number} does not have {generation.dimensions} "
            "dimensions; check the index with `itembed index INDEX --verify`"
        )


def switch(connection: sqlite3.Connection, generation: Generation) -> None:
    """Search a generation from now on, in one transaction; the one before is kept, earlier ones are removed.

    Raises:
        SearchIndexError: it is not whole (`check_whole`).
    """
    check_whole(connection, generation)
    before = current_generation(connection)
    with transaction(connection):
        connection.execute("UPDATE generations SET state = 'previous' WHERE state = 'current'")
        connection.execute("UPDATE generations SET state = 'current' WHERE number = ?", (generation.number,))
    for each in all_generations(connection):
        if each.state == "previous" and before and each.number != before.number:
            drop_generation(connection, each.number)


def roll_back(connection: sqlite3.Connection) -> Generation:
    """Search the generation that was searched before the last upgrade again; returns it.

    The generation that it takes the place of is kept, so that another call goes forward again.

    Raises:
        SearchIndexError: there is none, or items were added since and have no vector in it.
    """
    previous = [generation for generation in all_generations(connection) if generation.state == "previous"]
    if not previous:
        raise SearchIndexError("the index has no earlier generation to go back to")
    target = previous[-1]
    counts = count_items(connection, target.number)
    if counts.missing:
        raise SearchIndexError(
            f"{counts.missing:,} items were added or changed after the upgrade and have no vector of the encoders "
            f"{target.contract[:16]}: going back would lose them. Encode them with `itembed index --upgrade` and the "
            "run that the index had before"
        )
    switch(connection, target)
    current = current_generation(connection)
    assert current is not None
    return current
