"""The disturbances of `benchmarks.disturbed`: what happens to a run, the command that follows, and what it must do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.disturbing import (
    add_image,
    break_images,
    changed,
    cut,
    damage_checkpoints,
    damage_features,
    delete_while_training,
    edit,
    forget_checksums,
    full_cache,
    full_disk_at_checkpoint,
    hold_other,
    hold_run,
    killed_training,
    leave_lock_and_partial_files,
    limited_cache,
    move_data,
    nothing,
    remove,
    rename_first_image,
    renamed_run,
    reorder_rows,
    swap_words,
    then,
    two_trainings_of_one_dataset,
    without_module,
)
from benchmarks.tiny_runs import Ended, Place


@dataclass(frozen=True)
class Disturbance:
    """A disturbance.

    Attributes:
        item: of the section "runs that are stopped, moved or disturbed" of the issue.
        name: what happens.
        do: disturbs the copy and gives the command.
        refused: whether the command must be refused.
        says: texts that the error, or the output, must have; ``{place.run}`` and the like are filled in.
        same_result: whether `Place.run` must end as the undisturbed run.
    """

    item: str
    name: str
    do: Callable[[Place], Ended]
    refused: bool = True
    says: tuple[str, ...] = ()
    same_result: bool = False


SAME: dict[str, Any] = {"refused": False, "same_result": True}
DATA = ("{place.run}", "the data has changed", "new run directory")
TRAIN = ("train", "{place.config}")
EVALUATE = ("evaluate", "{place.finished}", "--split", "dev")
ANALYZE = ("analyze", "{place.finished}")
MOVED = ("dataset.root", "--set dataset.root=FOLDER")
CAPTIONS = "{place.captions}"
BROKEN = break_images("*4.png", b"no image")
METRICS = "{place.finished}/metrics.json"
WEIGHTS = "{place.finished}/weights/final.weights.h5"

DISTURBANCES = (
    # 1: the data of a continued run
    Disturbance("1", "an image is renamed", changed(rename_first_image), says=(*DATA, "renamed: 00.png to zz.png")),
    Disturbance("1", "an image is added", changed(add_image), says=(*DATA, "added: 0a.png")),
    Disturbance(
        "1",
        "an image is removed",
        changed(edit(CAPTIONS, lambda text: "\n".join(text.splitlines()[:-1]) + "\n")),
        says=(*DATA, "removed: 23.png"),
    ),
    Disturbance(
        "1",
        "a caption is changed",
        changed(edit(CAPTIONS, lambda text: text.replace(" 7,", " seven,"))),
        says=(*DATA, "other captions: 07.png"),
    ),
    Disturbance(
        "1",
        "an image moves to another split",
        changed(edit(CAPTIONS, lambda text: text.replace(" 7,train", " 7,dev"))),
        says=(*DATA, "in another split: 07.png"),
    ),
    Disturbance(
        "1",
        "an image file is replaced",
        changed(lambda place: shutil.copy(place.captions, place.data / "07.png")),
        says=(*DATA, "07.png"),
    ),
    Disturbance("1", "an image is deleted", changed(break_images("07.png", None)), says=(*DATA, "missing: 07.png")),
    Disturbance("1", "the captions are in another order", changed(edit(CAPTIONS, reorder_rows)), **SAME),
    Disturbance(
        "1",
        "two words of the vocabulary are swapped",
        changed(edit("{place.run}/vocabulary.txt", swap_words)),
        says=("{place.run}/vocabulary.txt",),
    ),
    Disturbance(
        "1",
        "the vocabulary is cut",
        changed(cut("{place.run}/vocabulary.txt")),
        says=("{place.run}/vocabulary.txt",),
    ),
    Disturbance(
        "1",
        "a run of an earlier version",
        changed(forget_checksums),
        says=("an earlier version began this run",),
        **SAME,
    ),
    # 2: other processes
    Disturbance(
        "2", "a second training in the same run directory", changed(hold_run), says=("{place.run}", "process ")
    ),
    Disturbance(
        "2",
        "a second prepare into the same folder",
        then(hold_other("shards"), "prepare", "{place.config}", "{place.root}/shards"),
        says=("{place.root}/shards", "process "),
    ),
    Disturbance(
        "2",
        "a second export into the same folder",
        then(hold_other("out"), "export", "{place.finished}", "{place.root}/out"),
        says=("{place.root}/out", "process "),
    ),
    Disturbance("2", "kill -9, and the lock is left", changed(leave_lock_and_partial_files), **SAME),
    Disturbance("2", "kill -9 in the middle of a training", killed_training, **SAME),
    Disturbance("2", "two trainings compute the same features", two_trainings_of_one_dataset, **SAME),
    # 3: paths
    Disturbance(
        "3",
        "a wildcard in the run directory",
        then(nothing, *TRAIN, "{place.root}/lr=[1e-3]"),
        says=("lr=[1e-3]", "wildcard"),
    ),
    Disturbance(
        "3",
        "a question mark in the export",
        then(nothing, "export", "{place.finished}", "{place.root}/a?"),
        says=("a?",),
    ),
    Disturbance("3", "a newline in the run directory", then(nothing, *TRAIN, "{place.root}/a\nb"), says=("a\\nb",)),
    Disturbance("3", "a name of 300 letters", then(nothing, *TRAIN, "{place.root}/" + "a" * 300), says=("too long",)),
    Disturbance(
        "3",
        "a blank at the end of the run directory",
        lambda place: renamed_run(place, "run "),
        refused=False,
    ),
    Disturbance(
        "3",
        "a wildcard in the folder of the dataset",
        changed(lambda place: place.data.rename(place.root / "da[t]a*"), "--set", "dataset.root={place.root}/da[t]a*"),
        **SAME,
    ),
    # 4: a full disk
    Disturbance("4", "no space for cached features", full_cache, says=("{place.cache}/features", "ITEMBED_CACHE")),
    Disturbance("4", "a limit of file sizes", limited_cache, says=("{place.cache}/features", "ITEMBED_CACHE")),
    Disturbance("4", "no space for the checkpoint", full_disk_at_checkpoint, says=("checkpoint-0", "free some space")),
    # 5: damaged files, and errors of libraries
    Disturbance("5", "an image is deleted while training", delete_while_training, says=("03.png", "Restore it")),
    Disturbance(
        "5",
        "the newest checkpoint is cut",
        changed(damage_checkpoints(0.6, 1)),
        says=("is damaged", "continues from the one before"),
        **SAME,
    ),
    Disturbance("5", "all checkpoints are empty", changed(damage_checkpoints(0)), says=("checkpoint-0", "is damaged")),
    Disturbance("5", "skipped.json is cut", changed(cut("{place.run}/skipped.json", 0.5)), says=("skipped.json",)),
    Disturbance("5", "history.jsonl is cut", changed(cut("{place.run}/history.jsonl")), says=("history.jsonl",)),
    Disturbance("5", "config.toml is cut", then(cut("{place.finished}/config.toml"), *EVALUATE), says=("config.toml",)),
    Disturbance(
        "5", "metrics.json is cut", then(cut("{place.finished}/metrics.json"), *ANALYZE), says=("metrics.json",)
    ),
    Disturbance("5", "the weights are cut", then(cut(WEIGHTS), *EVALUATE), says=(WEIGHTS,)),
    Disturbance(
        "5",
        "the weights are missing",
        then(remove(WEIGHTS), "export", "{place.finished}", "{place.root}/out"),
        says=(WEIGHTS,),
    ),
    Disturbance(
        "5",
        "words of a finished run are swapped",
        then(edit("{place.finished}/vocabulary.txt", swap_words), *EVALUATE),
        says=("vocabulary.txt",),
    ),
    Disturbance(
        "5",
        "cached features are cut",
        changed(damage_features(lambda data: data[:-100])),
        says=("is damaged", "computed again"),
        **SAME,
    ),
    Disturbance(
        "5",
        "cached features are empty",
        changed(damage_features(lambda data: b"")),
        says=("is damaged", "computed again"),
        **SAME,
    ),
    Disturbance("5", "unreadable images, evaluate", then(BROKEN, *EVALUATE), says=("04.png", "max_broken_percent")),
    Disturbance("5", "unreadable images, analyze", then(BROKEN, *ANALYZE), says=("04.png", "max_broken_percent")),
    Disturbance(
        "5",
        "no epochs",
        then(nothing, *TRAIN, "{place.root}/new", "--set", "stages.0.epochs=0"),
        refused=False,
    ),
    Disturbance(
        "5",
        "temperature 0",
        then(nothing, *TRAIN, "{place.root}/new", "--set", "stages.0.losses.infonce={{weight=1.0, temperature=0.0}}"),
        says=("temperature",),
    ),
    Disturbance(
        "5",
        "a missing package",
        without_module("sklearn.cluster", *TRAIN, "{place.root}/new", "--set", "classes.clusters=4"),
        says=("sklearn.cluster", "pip install"),
    ),
    Disturbance(
        "5",
        "a cut ranks file, compare",
        then(
            lambda place: [cut(str(file))(place) for file in (place.finished / "ranks").iterdir()],
            *("compare", "{place.finished}", "{place.finished}", "--split", "test"),
        ),
        says=("ranks", "itembed evaluate"),
    ),
    # 7: data that moved
    Disturbance("7", "the data has moved, train", changed(move_data), says=("dataset.root",)),
    Disturbance(
        "7",
        "the data has moved and is named, train",
        changed(move_data, "--set", "dataset.root={place.root}/elsewhere"),
        **SAME,
    ),
    Disturbance("7", "the data has moved, evaluate", then(move_data, *EVALUATE), says=MOVED),
    Disturbance("7", "the data has moved, analyze", then(move_data, *ANALYZE), says=MOVED),
    Disturbance(
        "7",
        "the data has moved and is named, evaluate",
        then(move_data, *EVALUATE, "--set", "dataset.root={place.root}/elsewhere"),
        refused=False,
        says=("R@1",),
    ),
    Disturbance(
        "7",
        "the data has moved and is named, analyze",
        then(move_data, *ANALYZE, "--set", "dataset.root={place.root}/elsewhere"),
        refused=False,
        says=("analysis.json",),
    ),
    Disturbance(
        "7",
        "the data has moved, export with PCA",
        then(move_data, "export", "{place.finished}", "{place.root}/out", "--pca", "4"),
        says=MOVED,
    ),
)
