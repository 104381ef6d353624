"""Killed writers: does an index hold all that was acknowledged, after kill -9 in the middle of any change?

    python -m benchmarks.index_faults [--trials 100] [--images 240] [--seed 0] [--quick]

In each trial a process builds an index, adds to it, changes and removes files, deletes items, compacts it or upgrades
it to other encoders, and is killed (SIGKILL) at a time drawn uniformly over the duration of that change. Meanwhile two
readers search without pause, and compare what they see within one state: one vector for each item, that of its content
by the encoders that are current, the same items in the full-text index, and the engine's answer for the vector of a
random item. After the kill the index is opened and checked: SQLite's integrity check, everything that the killed
process had acknowledged, nothing twice. Then the change is made again, undisturbed, and the index must have exactly the
files.

The encoder is a fake one (vectors from the content), so that nearly all of the time is spent in what is tested. A lost
power supply is not tested: a killed process leaves its writes to the operating system.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
from PIL import Image

import itembed_tf.index.maintenance as upkeep
import itembed_tf.index.pending as pending
import itembed_tf.index.update as update
from benchmarks.fake_encoder import CONTRACTS, FakeEncoder, empty_index, fake_encoders, vector_of
from benchmarks.runner import verdict
from itembed_tf.index.build import build_index
from itembed_tf.index.database import reading, snapshot
from itembed_tf.index.engines import open_engine
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import current_generation
from itembed_tf.index.items import delete_items, put_items
from itembed_tf.index.maintenance import compact, delete_matching
from itembed_tf.index.sources import find_source
from itembed_tf.index.upgrading import upgrade_index

CHANGES = ("index", "add", "change", "delete", "compact", "upgrade")
FORK = multiprocessing.get_context("fork")  # of a process without threads: a worker starts in milliseconds
READERS = 2


class Place:
    """The files, the index, and what the killed processes have acknowledged."""

    def __init__(self, folder: Path, images: int, seed: int) -> None:
        self.folder, self.images = folder, images
        self.photos = folder / "photos"
        self.random = random.Random(seed)
        self.number = self.built = 0
        self.deleted: set[str] = set()
        for _ in range(images):
            self.write_image()

    def write_image(self) -> None:
        self.number += 1
        path = self.photos / f"{self.number % 7}" / f"{self.number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = self.number if self.random.random() < 0.9 else self.number % 50  # some are copies
        Image.new("RGB", (8 + content // 251, 8), (content % 251, 11 * content % 256, 90)).save(path)

    def files(self) -> list[str]:
        return sorted(str(path) for path in self.photos.rglob("*.png"))

    @property
    def index(self) -> Path:
        return self.folder / f"{self.built:03d}.index"

    @property
    def acknowledged(self) -> Path:
        return self.folder / "acknowledged"


def prepare(place: Place, change: str) -> Callable[[], object]:
    """Change the files, and return what a worker does to bring the index up to date."""
    if change == "index":
        place.built += 1  # another folder: readers may have the files of this one open
        place.deleted.clear()
    elif change == "add":
        for _ in range(place.images // 4):
            place.write_image()
    elif change == "change":
        files = place.files()
        for file in place.random.sample(files, len(files) // 6):
            os.unlink(file)
        for file in place.random.sample(place.files(), len(files) // 8):
            os.rename(file, file.replace(".png", "-moved.png"))
    elif change == "delete":
        present = [file for file in place.files() if file not in place.deleted]
        chosen = place.random.sample(present, min(len(present) // 8 + 1, 60))
        place.deleted.update(chosen)
        return lambda: _ignore_missing(lambda: delete_matching(place.index, chosen))
    elif change == "upgrade":
        target = CONTRACTS[1 - CONTRACTS.index(contract_of(place.index))]
        settings = {"stored": fake_encoders(target), "embed_images": FakeEncoder(target)}
        return lambda: upgrade_index(place.index, "", report=lambda line: None, **settings)  # type: ignore[arg-type]
    else:
        return lambda: compact(place.index)

    def build() -> None:
        empty_index(place.index)
        encoder = FakeEncoder(contract_of(place.index))
        build_index(place.index, [find_source(str(place.photos))], embed_images=encoder, prune=True)

    return build


def contract_of(index: Path) -> str:
    with closing(reading(index)) as connection:
        generation = current_generation(connection)
    return generation.contract if generation else CONTRACTS[0]


def _ignore_missing(action: Callable[[], object]) -> None:
    """Run a change whose first attempt may have been finished before it was killed: nothing is left to delete then."""
    try:
        action()
    except SearchIndexError as error:
        if "no item of" not in str(error):
            raise


def work(place: Place, action: Callable[[], object]) -> None:
    """Run a change and log every acknowledged item: the log is written after the commit has returned."""

    def put(connection: object, items: Sequence[object], **settings: object) -> list[int]:
        ids = put_items(connection, items, **settings)  # type: ignore[arg-type]
        note("+", [item.place for item in items])  # type: ignore[attr-defined]
        return ids

    def delete(connection: object, ids: Sequence[int]) -> int:
        marks = ",".join(map(str, ids))
        rows = connection.execute(f"SELECT place FROM items WHERE id IN ({marks})").fetchall()  # type: ignore
        count = delete_items(connection, ids)  # type: ignore[arg-type]
        note("-", [place for (place,) in rows])
        return count

    def note(sign: str, places: Sequence[str]) -> None:
        with open(place.acknowledged, "a", encoding="utf-8") as file:
            file.write("".join(f"{sign}{each}\n" for each in places))

    pending.put_items, update.delete_items, upkeep.delete_items = put, delete, delete  # type: ignore
    pending.COMMIT_SECONDS = 0.0  # a commit for each batch, so that there are many moments to be killed at
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - of a process that ends with it
    action()


def start(target: Callable[..., None], *arguments: object) -> multiprocessing.process.BaseProcess:
    process = FORK.Process(target=target, args=arguments)
    process.start()
    return process


def read_forever(folder: Path, log: Path, stop: Path) -> None:
    """Check states of the index until the file `stop` exists; write the number of checks, or the first fault."""
    checks = 0
    try:
        while not stop.exists():
            with suppress(SearchIndexError):  # between the trials, there is none
                index = max(folder.glob("*.index"))
                with closing(reading(index)) as connection:
                    problem = mixed_state(index, connection, np.random.default_rng(checks))
                if problem:
                    log.write_text(f"fault: {problem}")
                    return
                checks += 1
    except Exception as error:
        log.write_text(f"fault: {error!r}")
        return
    log.write_text(str(checks))


def mixed_state(index: Path, connection: object, draw: np.random.Generator) -> str:
    """What does not fit together in one state of an index; "" if all does."""
    with snapshot(connection):  # type: ignore[arg-type]
        execute = connection.execute  # type: ignore[attr-defined]
        generation = current_generation(connection)  # type: ignore[arg-type]
        if generation is None:
            return ""
        query = (
            "SELECT items.id, content, vector FROM items LEFT JOIN vectors ON item = items.id AND generation = ? "
            "ORDER BY items.id"
        )
        rows = execute(query, (generation.number,)).fetchall()
        texts = execute("SELECT rowid FROM texts ORDER BY rowid").fetchall()
        if [id for id, _, _ in rows] != [id for (id,) in texts]:
            return "the full-text index has other items than the index"
        for id, content, vector in rows:
            if vector is None or not np.array_equal(
                np.frombuffer(vector, "<f2"), vector_of(content, generation.contract).astype("<f2")
            ):
                return f"item {id} has no vector, or not that of its content"
        engine = open_engine(index, "exact")
        try:
            view = engine.refresh(connection)  # type: ignore[arg-type]
            if view.count != len(rows):
                return f"the engine has {view.count} items, the index {len(rows)}"
            if rows:
                id, content, _ = rows[draw.integers(len(rows))]
                query_vector = np.concatenate([vector_of(content, generation.contract), [0, 0]]).astype(np.float32)
                found, _ = view.search(query_vector[None], 1)
                same = [other for other, its, _ in rows if its == content]
                if found[0, 0] != same[0]:
                    return f"the engine finds item {found[0, 0]} for the vector of {id}, not {same[0]}"
        finally:
            engine.close()
    return ""


def faults(place: Place, before: set[str]) -> list[str]:
    """What is wrong with the index after a kill: its own checks, and what was acknowledged; `before` it had these."""
    lines = place.acknowledged.read_text(encoding="utf-8").splitlines() if place.acknowledged.exists() else []
    try:
        with closing(reading(place.index)) as connection:
            problems = [line for (line,) in connection.execute("PRAGMA integrity_check") if line != "ok"]
            problem = mixed_state(place.index, connection, np.random.default_rng(0))
    except SearchIndexError as error:  # it was killed while it made the tables
        return [f"{error}, although items were acknowledged"] if lines or before else []
    stored = places(place.index)
    state = {line[1:]: line[0] for line in lines}  # the last word counts
    lost = [each for each, sign in state.items() if (sign == "+") != (each in stored)]
    problems += [problem] if problem else []
    return problems + [f"{each}: acknowledged ({state[each]}), and the index says otherwise" for each in lost[:3]]


def places(index: Path) -> set[str]:
    with suppress(SearchIndexError), closing(reading(index)) as connection:
        return {place for (place,) in connection.execute("SELECT place FROM items")}
    return set()


def trial(place: Place, change: str, durations: dict[str, float]) -> list[str]:
    """One change, killed and made again; returns what was wrong."""
    action = prepare(place, change)
    before = places(place.index)
    place.acknowledged.unlink(missing_ok=True)
    process = start(work, place, action)
    moment = place.random.uniform(0, durations.get(change, 1.0))
    process.join(moment)
    killed = process.is_alive()
    if killed:
        os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    found = [] if killed or process.exitcode == 0 else [f"the worker ended with code {process.exitcode}"]
    found += faults(place, before)
    begun = time.monotonic()
    again = start(work, place, action)
    again.join()
    durations[change] = 0.7 * durations.get(change, time.monotonic() - begun) + 0.3 * (time.monotonic() - begun)
    found += [] if again.exitcode == 0 else [f"the second attempt ended with code {again.exitcode}"]
    found += faults(place, places(place.index))
    wanted = set(place.files()) - place.deleted
    stored = places(place.index)
    if stored != wanted:
        found.append(f"{len(wanted - stored)} files are missing from the index, {len(stored - wanted)} too many")
    return [f"{change}, killed after {moment:.2f} s: {problem}" for problem in found]


def measure(trials: int, images: int, seed: int, folder: Path) -> tuple[int, int, list[str]]:
    """Kills, checks of the readers, and faults."""
    place = Place(folder, images, seed)
    empty_index(place.index)
    stop = folder / "stop"
    logs = [folder / f"reader{number}" for number in range(READERS)]
    readers = [start(read_forever, folder, log, stop) for log in logs]
    problems: list[str] = []
    durations: dict[str, float] = {}
    work_once = prepare(place, "index")
    start(work, place, work_once).join()
    try:
        for number in range(trials):
            change = CHANGES[number % len(CHANGES)]
            problems += trial(place, change, durations)
            print(f"trial {number + 1}: {change}; {len(problems)} faults", flush=True)
    finally:
        stop.touch()
        for reader in readers:
            reader.join()
    results = [log.read_text() for log in logs]
    problems += [f"a reader saw a {text}" for text in results if text.startswith("fault")]
    return trials, sum(int(text) for text in results if text.isdigit()), problems


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.index_faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--images", type=int, default=240, help="files at the start")
    parser.add_argument("--seed", type=int, default=0, help="random seed of files and kill times")
    parser.add_argument("--quick", action="store_true", help="6 trials of 80 files")
    args = parser.parse_args(argv)
    trials, images = (6, 80) if args.quick else (args.trials, args.images)
    with tempfile.TemporaryDirectory() as folder:
        kills, checks, problems = measure(trials, images, args.seed, Path(folder))
    for problem in problems:
        print(problem)
    print(f"{kills} trials, {checks} states checked by {READERS} readers meanwhile")
    return verdict("index_faults", f"{len(problems)} faults in {kills} trials", "0", not problems and checks > 0)


if __name__ == "__main__":
    sys.exit(main())
