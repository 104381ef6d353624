"""The data of lessons (`itembed_tf.teaching.TeachingData`) that an index carries, by contract hash of its encoders."""

from __future__ import annotations

from pathlib import Path

from itembed_tf.export_layout import TEACHING_FILE
from itembed_tf.files import write_atomically
from itembed_tf.index.encoders import SHORT_HASH, export_contract
from itembed_tf.index.records import Generation
from itembed_tf.program import command_line
from itembed_tf.teaching import TeachingData, TeachingError, parse_data, teaching_bytes

FOLDER = "teaching"  # in an index


def data_file(index: str | Path, contract: str) -> Path:
    """Where an index has the data of encoders; `contract` is that before any lesson."""
    return Path(index) / FOLDER / f"{contract[:SHORT_HASH]}.npz"


def store_data(exports: Path, index: str | Path) -> bool:
    """Copy ``teaching.npz`` of exports into an index, atomically; returns whether the exports have it.

    Raises:
        TeachingError: it is damaged, or belongs to other encoders.
    """
    source, contract = exports / TEACHING_FILE, export_contract(exports)
    if not source.is_file():
        return False
    content, file = source.read_bytes(), data_file(index, contract)
    if not (file.is_file() and file.read_bytes() == content):
        parse_data(content, contract, str(source))
        _write(file, content)
    return True


def load_data(index: str | Path, generation: Generation, run: str | Path | None = None) -> TeachingData:
    """The data of lessons of a generation, from the index; or from the run, and then kept in the index.

    Raises:
        TeachingError: there is none, or it is damaged, or the run cannot give it.
    """
    contract = generation.image_contract
    file = data_file(index, contract)
    if file.is_file():
        return parse_data(file.read_bytes(), contract, str(file))
    if run is None:
        raise TeachingError(missing_data(index, generation))
    from itembed_tf.teaching.preparation import data_of_run

    data = data_of_run(run, contract)
    _write(file, teaching_bytes(data))
    return data


def missing_data(index: str | Path, generation: Generation) -> str:
    """Why an index cannot learn names, with what to run, in one line; "" if it can."""
    if data_file(index, generation.image_contract).is_file():
        return ""
    again = command_line("index", "RUN", "--out", str(index))
    once = command_line("teach", str(index), "NAME", "--item", "ID", "--run", "RUN")
    return (
        f"{Path(index).name} has no data to learn names with (contract {generation.image_contract[:SHORT_HASH]}): run "
        f"`{again}` with the run that it was built with, or, where that run has no {TEACHING_FILE}, `{once}`, which "
        "needs its dataset"
    )


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, content)
