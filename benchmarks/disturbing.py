"""What `benchmarks.disturbed` does to a run, and the command that follows."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.tiny_runs import Ended, Place
from itembed_tf.files import partial_name


def changed(change: Callable[[Place], object], *more: str) -> Callable[[Place], Ended]:
    """Change something, then continue the stopped run."""

    def do(place: Place) -> Ended:
        change(place)
        return place.train(*(word.format(place=place) for word in more))

    return do


def then(change: Callable[[Place], object], *words: str) -> Callable[[Place], Ended]:
    """Change something, then give a command."""

    def do(place: Place) -> Ended:
        change(place)
        return place.call(*(word.format(place=place) for word in words))

    return do


def nothing(place: Place) -> None:
    """The command itself is the disturbance."""


def edit(file: str, change: Callable[[str], str]) -> Callable[[Place], None]:
    """Change a text file."""

    def do(place: Place) -> None:
        path = Path(file.format(place=place))
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    return do


def cut(file: str, part: float = 0.6) -> Callable[[Place], None]:
    """Cut a file, as a full disk or an incomplete copy does."""

    def do(place: Place) -> None:
        path = Path(file.format(place=place))
        path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])

    return do


def newest_checkpoints(place: Place) -> list[Path]:
    return sorted((place.run / "checkpoints").glob("*.npz"), reverse=True)


def damage_checkpoints(part: float, count: int | None = None) -> Callable[[Place], None]:
    """Cut the newest `count` checkpoints of the stopped run; None: all of them."""

    def do(place: Place) -> None:
        for file in newest_checkpoints(place)[:count]:
            cut(str(file), part)(place)

    return do


def remove(file: str) -> Callable[[Place], None]:
    return lambda place: Path(file.format(place=place)).unlink()


def rename_first_image(place: Place) -> None:
    (place.data / "00.png").rename(place.data / "zz.png")
    edit("{place.captions}", lambda text: text.replace("00.png", "zz.png"))(place)


def add_image(place: Place) -> None:
    shutil.copy(place.data / "23.png", place.data / "0a.png")
    edit("{place.captions}", lambda text: text + "0a.png,a new dog,train\n")(place)


def reorder_rows(text: str) -> str:
    header, *rows = text.splitlines()
    return "\n".join([header, *reversed(rows)]) + "\n"


def swap_words(text: str) -> str:
    first, second, *others = text.splitlines()
    return "\n".join([second, first, *others]) + "\n"


def move_data(place: Place) -> None:
    place.data.rename(place.root / "elsewhere")


def forget_checksums(place: Place) -> None:
    """Make the stopped run one of an earlier version."""
    file, *others = newest_checkpoints(place)
    for other in others:
        other.unlink()
    with np.load(file) as saved:
        arrays: dict[str, Any] = {name: saved[name] for name in saved.files}
    state = json.loads(str(arrays.pop("state")))
    del state["data"]
    np.savez(file, state=np.array(json.dumps(state)), **arrays)
    (place.run / "data.json").unlink()


def hold_run(place: Place) -> None:
    place.hold(place.run)


def hold_other(name: str) -> Callable[[Place], object]:
    return lambda place: place.hold(place.root / name)


def leave_lock_and_partial_files(place: Place) -> None:
    process = place.hold(place.run)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for file in (place.run / "metrics.json", place.run / "checkpoints" / "checkpoint-000009.npz"):
        partial_name(file).write_bytes(b"half")


def killed_training(place: Place) -> Ended:
    """Kill -9 a training in a process of its own, in the middle of its work, and continue it."""
    process = place.process("-m", "itembed_tf", "train", place.config, place.run)
    assert process.stdout is not None
    for line in process.stdout:
        if "continues stage" in line:
            break
    time.sleep(1.0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    code, output = place.train()
    left = [path for path in place.run.rglob(".*") if path.is_file()]
    return (code, output) if not left else (1, f"{output}\nleft: {left}")


def two_trainings_of_one_dataset(place: Place) -> Ended:
    """Two runs at the same time compute the same features."""
    shutil.rmtree(place.cache)
    other = place.process("-m", "itembed_tf", "train", place.config, place.root / "other", stdout=subprocess.DEVNULL)
    code, output = place.train()
    code = code or other.wait()
    return code, output


def damage_features(change: Callable[[bytes], bytes]) -> Callable[[Place], None]:
    def do(place: Place) -> None:
        for path in (place.cache / "features").glob("*.npy"):
            path.write_bytes(change(path.read_bytes()))

    return do


def full_cache(place: Place) -> Ended:
    shutil.rmtree(place.cache)
    with mock.patch.object(os, "posix_fallocate", side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))):
        return place.train()


def limited_cache(place: Place) -> Ended:
    """A limit of file sizes (ulimit -f), in a process of its own."""
    shutil.rmtree(place.cache)
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
    program = "from itembed_tf.cli import main; sys.exit(main(sys.argv[1:]))"
    process = place.process("-c", limit + program, "train", place.config, place.run)
    output = process.communicate()[0]
    return process.returncode, output


def full_disk_at_checkpoint(place: Place) -> Ended:
    with mock.patch.object(np, "savez", side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))):
        return place.train()


def break_images(names: str, content: bytes | None) -> Callable[[Place], None]:
    """Damage image files, or delete them."""

    def do(place: Place) -> None:
        for path in place.data.glob(names):
            path.unlink() if content is None else path.write_bytes(content)

    return do


def delete_while_training(place: Place) -> Ended:
    """An image is deleted after the images were checked, and before they are read."""
    from itembed_tf.pipeline import encoder

    build = encoder.build_model

    def delete_first(*arguments: Any, **settings: Any) -> Any:
        (place.data / "03.png").unlink()
        return build(*arguments, **settings)

    with mock.patch.object(encoder, "build_model", delete_first):
        return place.call("train", place.config, place.root / "new", "--set", "stages.0.cached_views=0")


def without_module(name: str, *words: str) -> Callable[[Place], Ended]:
    """A package is not installed."""

    def do(place: Place) -> Ended:
        with mock.patch.dict(sys.modules, {name: None}):
            return place.call(*(word.format(place=place) for word in words))

    return do


def renamed_run(place: Place, name: str) -> Ended:
    """Continue the stopped run under another name."""
    place.run.rename(place.root / name)
    return place.train(run=place.root / name)
