"""The models and versions that are served, updated when the folder of exports changes."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import grpc

from itembed_tf.export_layout import ENCODERS
from itembed_tf.server.batching import RequestPart
from itembed_tf.server.engine_choice import EngineChoice
from itembed_tf.server.errors import RequestError, invalid_argument
from itembed_tf.server.limits import Limits
from itembed_tf.server.model_version import ModelVersion
from itembed_tf.server.version_folders import Fingerprint, VersionFolder, find_versions

LOADING, AVAILABLE, UNLOADING, END = 20, 30, 40, 50  # ModelVersionStatus.State
BatchObserver = Callable[[ModelVersion, Sequence[RequestPart], float], None]


class VersionStatus(NamedTuple):
    """State of one version, and the error of one that failed to load."""

    state: int
    error_code: int = 0
    error_message: str = ""


@dataclass
class Model:
    """One model.

    Attributes:
        versions: loaded versions by number.
        statuses: status by number, also of versions that are unloaded or failed.
        failed: fingerprint of each version that failed to load; it is retried when its files change.
        last_scan: fingerprint of each version at the last scan.
        newest: the version that answers where a request names none; None before one is loaded.
        announced: loaded versions that wait for the other encoder, and have been reported.
    """

    versions: dict[int, ModelVersion] = field(default_factory=dict)
    statuses: dict[int, VersionStatus] = field(default_factory=dict)
    failed: dict[int, Fingerprint] = field(default_factory=dict)
    last_scan: dict[int, Fingerprint] = field(default_factory=dict)
    newest: int | None = None
    announced: set[int] = field(default_factory=set)


class ModelManager:
    """Loads and unloads all models under one folder: ``EXPORTS/<model>/<number>/saved_model.pb``."""

    def __init__(
        self,
        exports: Path,
        limits: Limits,
        *,
        newest: int,
        labels: Mapping[str, int],
        observe: BatchObserver,
        choice: EngineChoice = EngineChoice(),  # noqa: B008
    ) -> None:
        """Create a manager; nothing is loaded before `scan`.

        Args:
            exports: folder of all models.
            limits: of every model.
            newest: number of versions of each model to serve, the newest ones.
            labels: version by label; these versions are served too, however old.
            observe: called as `observe(version, batch, seconds)` after each batch.
            choice: engine of text encoders.
        """
        self.exports, self._limits, self._newest, self.labels = exports, limits, newest, dict(labels)
        self._choice = choice
        self._observe = observe
        self.models: dict[str, Model] = {}
        self._unloading: set[asyncio.Task[None]] = set()

    def find(self, spec: Any) -> ModelVersion:
        """The version that a ModelSpec names.

        Raises:
            RequestError: no name, or an unknown model, version or label; codes and messages are those of TF Serving.
        """
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        model = self.models.get(spec.name, Model())
        versions = model.versions
        if spec.WhichOneof("version_choice") is None:
            if model.newest is None:
                message = f"Servable not found for request: Latest({spec.name[:200]})"
                raise RequestError(grpc.StatusCode.NOT_FOUND, message)
            return versions[model.newest]
        number = self._number(spec)
        if number not in versions:
            message = f"Servable not found for request: Specific({spec.name[:200]}, {number})"
            raise RequestError(grpc.StatusCode.NOT_FOUND, message)
        return versions[number]

    @contextmanager
    def lease(self, spec: Any) -> Iterator[ModelVersion | RequestError]:
        """Find a version, and keep it loaded during the block; an error is returned, for the caller to raise."""
        try:
            version = self.find(spec)
        except RequestError as error:
            missing = error
        else:
            version.leases += 1
            try:
                yield version
            finally:
                version.leases -= 1
            return
        yield missing

    def statuses(self, spec: Any) -> dict[int, VersionStatus]:
        """Status by version number, newest first: of all versions, or of the one that a ModelSpec names."""
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        statuses = self.models[spec.name].statuses if spec.name in self.models else {}
        if not statuses:
            message = f"Could not find any versions of model {spec.name[:200]}"
            raise RequestError(grpc.StatusCode.NOT_FOUND, message)
        if spec.WhichOneof("version_choice") is None:
            return dict(sorted(statuses.items(), reverse=True))
        number = self._number(spec)
        if number not in statuses:
            message = f"Could not find version {number} of model {spec.name[:200]}"
            raise RequestError(grpc.StatusCode.NOT_FOUND, message)
        return {number: statuses[number]}

    def _number(self, spec: Any) -> int:
        if spec.WhichOneof("version_choice") == "version":
            return spec.version.value
        if spec.version_label not in self.labels or spec.name not in self.models:
            raise invalid_argument(f"Unrecognized servable version label: {spec.version_label[:200]}")
        return self.labels[spec.version_label]

    async def watch(self, seconds: float) -> None:
        """Scan the folder every `seconds` until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.scan(only_stable=True)
            except Exception as error:  # whatever it is, later versions must still be found
                _say(f"{self.exports}: {type(error).__name__}: {error}", sys.stderr)

    async def scan(self, *, only_stable: bool) -> None:
        """Load new versions, then unload versions that are removed or no longer among the newest.

        Args:
            only_stable: load a folder only if it has not changed since the last scan, so that one that is still being
                copied is not loaded.
        """
        found = await asyncio.to_thread(find_versions, self.exports)
        wanted: dict[str, set[int]] = {}
        for name in sorted({*found, *self.models}):
            model, folders = self.models.setdefault(name, Model()), found.get(name, {})
            newest = sorted(folders)[-self._newest :]
            wanted[name] = {number for number in folders if number in newest or number in self.labels.values()}
            for number in sorted(wanted[name] - model.versions.keys()):
                await self._load(name, model, number, folders[number], only_stable)
        self._choose_newest(found)
        for name, model in self.models.items():
            for number in sorted(model.versions.keys() - wanted[name] - {model.newest}):
                self._unload(name, model, number)

    def _choose_newest(self, found: Mapping[str, Mapping[int, VersionFolder]]) -> None:
        """Choose the version of each model that answers where a request names none.

        Image and text encoder change together: both stay at the newest export of which both are loaded. A version
        whose folder is gone is chosen only while no other is loaded, and not at all if no folder is left.
        """
        loaded: dict[str, dict[int, ModelVersion]] = {}
        for name, model in self.models.items():
            there = {
                number: model.versions[number] for number in sorted(model.versions) if number in found.get(name, {})
            }
            loaded[name] = there or (model.versions if found.get(name) else {})
        chosen = {name: max(versions, default=None) for name, versions in loaded.items()}
        by_contract = [{v.contract: number for number, v in loaded.get(name, {}).items()} for name in ENCODERS]
        contracts = {contract for contract in by_contract[0] if contract in by_contract[1] and contract}
        if contracts:
            best = max(contracts, key=lambda contract: min(numbers[contract] for numbers in by_contract))
            chosen |= {name: numbers[best] for name, numbers in zip(ENCODERS, by_contract)}
        for name, model in self.models.items():
            newer, model.newest = max(loaded[name], default=None), chosen[name]
            if newer is not None and newer != model.newest and newer not in model.announced:
                model.announced.add(newer)
                _say(
                    f"{self.exports / name / str(newer)}: answers only requests that name it, until the other encoder "
                    f"of its export is loaded; the newest version is {model.newest}"
                )

    async def _load(self, name: str, model: Model, number: int, folder: VersionFolder, only_stable: bool) -> None:
        files = folder.files
        before, model.last_scan[number] = model.last_scan.get(number), files
        if model.failed.get(number) == files or (only_stable and before != files):
            return
        model.statuses[number] = VersionStatus(LOADING)
        try:
            if folder.problem:
                raise OSError(folder.problem)
            version = await asyncio.to_thread(ModelVersion, name, number, folder.path, self._limits, self._choice)
        except Exception as error:
            message = error.message if isinstance(error, RequestError) else f"{type(error).__name__}: {error}"
            model.failed[number] = files
            model.statuses[number] = VersionStatus(END, grpc.StatusCode.INTERNAL.value[0], message[:1000])
            _say(f"{folder.path}: could not be loaded: {message[:1000]}", sys.stderr)
            return
        version.start(lambda batch, seconds: self._observe(version, batch, seconds))
        model.versions[number], model.statuses[number] = version, VersionStatus(AVAILABLE)
        reason = f" ({version.engine_reason})" if version.engine_reason else ""
        _say(f"{folder.path}: serving by {version.engine}{reason}, signatures {', '.join(sorted(version.signatures))}")

    def _unload(self, name: str, model: Model, number: int) -> None:
        """Remove a version from `find`, and unload it once its queue is empty."""
        version = model.versions.pop(number)
        model.statuses[number] = VersionStatus(UNLOADING)

        async def unload() -> None:
            await version.close()
            model.statuses[number] = VersionStatus(END)
            gc.collect()  # a loaded SavedModel contains reference cycles
            _say(f"{self.exports / name / str(number)}: no longer served")

        task = asyncio.get_running_loop().create_task(unload())
        self._unloading.add(task)
        task.add_done_callback(self._unloading.discard)

    async def close(self) -> None:
        """Finish all queued requests, then unload everything."""
        for name, model in self.models.items():
            model.newest = None
            for number in list(model.versions):
                self._unload(name, model, number)
        await asyncio.gather(*self._unloading)


def _say(message: str, file: TextIO | None = None) -> None:
    """Print a line, also with the name of a file that is not UTF-8."""
    print(message.encode("utf-8", "backslashreplace").decode("utf-8"), file=file or sys.stdout, flush=True)
