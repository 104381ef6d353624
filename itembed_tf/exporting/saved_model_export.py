"""Export of a finished run as SavedModels, with the full or a reduced embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from itembed_tf.export_layout import TEACHING_FILE
from itembed_tf.exporting.calibration import calibration_of_export
from itembed_tf.exporting.card import write_card
from itembed_tf.exporting.pair import load_pair
from itembed_tf.exporting.pca import PcaResult, apply_pca
from itembed_tf.exporting.saved_model import SavedModels, write_saved_models
from itembed_tf.files import write_atomically
from itembed_tf.locks import locked_folder
from itembed_tf.progress import Steps
from itembed_tf.retrieval import CALIBRATION_FILE, write_calibration
from itembed_tf.retrieval.array_file import header_of


@dataclass(frozen=True)
class SavedModelExport:
    """The SavedModels of a run, where their calibration is from, and, where shortened, what the PCA keeps and costs."""

    models: SavedModels
    calibration: str
    pca: PcaResult | None = None


def export_saved_models(
    run: str | Path, out: str | Path, *, pca: int | None = None, overrides: Sequence[str] = ()
) -> SavedModelExport:
    """Export both encoders of a finished run (`write_saved_models`), reporting progress on standard error.

    ``calibration.npz`` is written too, where the run has it for the same encoders, or its dataset is available;
    ``teaching.npz``, where the run has it for the same encoders; and ``README.md``, the model card (`write_card`).

    Args:
        run: run directory; with `pca` its dataset must be available.
        out: folder of all versions; the next free number is written.
        pca: dimensions of shortened embeddings; None keeps all.
        overrides: as `load_pair` takes them, and of the section dataset.

    Raises:
        Locked: another process writes to `out`.
        and those of `load_pair`, `apply_pca` and `write_saved_models`.
    """
    first = "load the run" if pca is None else "embed train and dev for the PCA"
    steps = Steps([first, "write, reload and compare the SavedModels", "calibrate the encoders"])
    of_data = [override for override in overrides if override.startswith("dataset.")]
    of_encoders = [override for override in overrides if override not in of_data]
    with locked_folder(out, "give another output folder"):
        steps.start(first)
        pair, result = (load_pair(run, of_encoders)[1], None) if pca is None else apply_pca(run, pca, overrides)
        steps.start("write, reload and compare the SavedModels")
        models = write_saved_models(out, pair, cut=result.to_json() if result else None, litert=True)
        steps.start("calibrate the encoders")
        calibration, line = calibration_of_export(run, pair, of_data)
        if calibration:
            write_calibration(out, calibration)
        else:  # none rather than one of an earlier version
            (models.folder / CALIBRATION_FILE).unlink(missing_ok=True)
        copy_teaching_data(Path(run) / "encoders", models)
        write_card(out, run, overrides, pca=pca is not None)
    return SavedModelExport(models, line, result)


def copy_teaching_data(encoders: Path, models: SavedModels) -> None:
    """Copy ``teaching.npz`` of a run's own encoders beside an export of the same ones; beside others, there is none."""
    source, file = encoders / TEACHING_FILE, models.folder / TEACHING_FILE
    content = source.read_bytes() if source.is_file() else b""
    if content and header_of(content).get("contract") == models.contract.contract:
        write_atomically(file, content)
    else:
        file.unlink(missing_ok=True)
