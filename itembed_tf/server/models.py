"""The folder of exports -> the models and versions that are served, kept up with what appears and disappears there."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from itembed_tf.server.limits import Limits, Refused, invalid
from itembed_tf.server.versions import Version

LOADING, AVAILABLE, UNLOADING, END = 20, 30, 40, 50  # of ModelVersionStatus.State
Print = tuple[tuple[str, int, int], ...]  # names, sizes and times of a folder's files


@dataclass
class Model:
    """What is known of one model; `states` keeps versions that are gone or failed: state, code, message."""

    versions: dict[int, Version] = field(default_factory=dict)
    states: dict[int, tuple[int, int, str]] = field(default_factory=dict)
    failed: dict[int, Print] = field(default_factory=dict)
    seen: dict[int, Print] = field(default_factory=dict)


class Models:
    """All models under one folder: ``EXPORTS/<model>/<number>/saved_model.pb``."""

    def __init__(
        self, exports: Path, limits: Limits, *, keep: int, labels: Mapping[str, int], observe: Callable[..., Any]
    ) -> None:
        """Nothing is loaded before `scan`.

        Args:
            exports: the folder.
            keep: the newest so many versions of each model are served.
            labels: label -> version; those are served too, however old.
            observe: `observe(version, batch, seconds)` is told of each batch.
        """
        self.exports, self._limits, self._keep, self.labels = exports, limits, keep, dict(labels)
        self._observe = observe
        self.models: dict[str, Model] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def find(self, spec: Any) -> Version:
        """The version that a ModelSpec asks for.

        Raises:
            Refused: no name, no such model, version or label, with TF Serving's code and words.
        """
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        versions = self.models[spec.name].versions if spec.name in self.models else {}
        if spec.WhichOneof("version_choice") is None:
            if not versions:
                raise Refused(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({spec.name[:200]})")
            return versions[max(versions)]
        number = self._number(spec)
        if number not in versions:
            wanted = f"Specific({spec.name[:200]}, {number})"
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}")
        return versions[number]

    def states(self, spec: Any) -> dict[int, tuple[int, int, str]]:
        """Version -> state, error code, message, of all versions or of the one that is asked for."""
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        states = self.models[spec.name].states if spec.name in self.models else {}
        if not states:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name[:200]}")
        if spec.WhichOneof("version_choice") is None:
            return dict(sorted(states.items(), reverse=True))
        number = self._number(spec)
        if number not in states:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"Could not find version {number} of model {spec.name[:200]}")
        return {number: states[number]}

    def _number(self, spec: Any) -> int:
        if spec.WhichOneof("version_choice") == "version":
            return spec.version.value
        if spec.version_label not in self.labels:
            raise invalid(f"Unrecognized servable version label: {spec.version_label[:200]}")
        return self.labels[spec.version_label]

    async def watch(self, seconds: float) -> None:
        """Look at the folder for ever."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.scan(patient=True)
            except OSError as error:  # a folder that went while it was read; the next look will tell
                print(f"{self.exports}: {error}", file=sys.stderr, flush=True)

    async def scan(self, *, patient: bool) -> None:
        """Load what is new, then let go of what is gone or no longer among the newest.

        Args:
            patient: load a folder only when it looks the same at two scans, so that one that is still being copied is
                left alone.
        """
        found = await asyncio.to_thread(_found, self.exports)
        for name in sorted({*found, *self.models}):
            model, numbers = self.models.setdefault(name, Model()), found.get(name, {})
            newest = sorted(numbers)[-self._keep :]
            wanted = {n for n in numbers if n in newest or n in self.labels.values()}
            for number in sorted(wanted - model.versions.keys()):
                await self._load(name, model, number, numbers[number], patient)
            # One that answers is kept until another does, unless all its folders are gone.
            if not wanted or wanted & model.versions.keys():
                for number in sorted(model.versions.keys() - wanted):
                    self._unload(name, model, number)

    async def _load(self, name: str, model: Model, number: int, files: Print, patient: bool) -> None:
        before, model.seen[number] = model.seen.get(number), files
        if model.failed.get(number) == files or (patient and before != files):
            return
        model.states[number] = (LOADING, 0, "")
        folder = self.exports / name / str(number)
        try:
            version = await asyncio.to_thread(Version, name, number, folder, self._limits)
        except Exception as error:
            message = error.message if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
            model.failed[number], model.states[number] = files, (END, grpc.StatusCode.INTERNAL.value[0], message[:1000])
            print(f"{folder}: could not be loaded: {message[:1000]}", file=sys.stderr, flush=True)
            return
        version.start(lambda batch, seconds: self._observe(version, batch, seconds))
        model.versions[number], model.states[number] = version, (AVAILABLE, 0, "")
        print(f"{folder}: serving, signatures {', '.join(sorted(version.signatures))}", flush=True)

    def _unload(self, name: str, model: Model, number: int) -> None:
        """No new request finds it from now on; those that wait are answered first."""
        version = model.versions.pop(number)
        model.states[number] = (UNLOADING, 0, "")

        async def leave() -> None:
            await version.close()
            model.states[number] = (END, 0, "")
            gc.collect()  # a loaded SavedModel holds itself in cycles
            print(f"{self.exports / name / str(number)}: no longer served", flush=True)

        task = asyncio.get_running_loop().create_task(leave())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Answer what waits everywhere, and let go of everything."""
        for name, model in self.models.items():
            for number in list(model.versions):
                self._unload(name, model, number)
        await asyncio.gather(*self._closing)


def _found(exports: Path) -> dict[str, dict[int, Print]]:
    """Model -> number -> what its folder looks like, of all folders that hold a SavedModel."""
    found: dict[str, dict[int, Print]] = {}
    for graph in exports.glob("*/*/saved_model.pb"):
        folder = graph.parent
        number = folder.name.isascii() and folder.name.isdigit() and len(folder.name) < 19  # within an int64
        if number and not folder.parent.name.startswith("."):
            files = sorted((p, p.stat()) for p in folder.rglob("*"))
            looks = tuple((str(p.relative_to(folder)), s.st_size, s.st_mtime_ns) for p, s in files)
            found.setdefault(folder.parent.name, {})[int(folder.name)] = looks
    return found
