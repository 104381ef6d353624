"""Download of an export from a repository of Hugging Face, checked before it gets its name."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itembed_tf.files import folder_atomically
from itembed_tf.sharing.connection import hub_api, hub_errors
from itembed_tf.sharing.export_files import (
    CHECKSUMS_FILE,
    IGNORED,
    MAX_JSON,
    ShareError,
    check_contracts,
    check_repository,
    check_sizes,
    checksums,
    read_json,
)


@dataclass(frozen=True)
class Pulled:
    """What was downloaded: the folder, the commit, the contract hash, the number of files and their bytes."""

    folder: Path
    commit: str
    contract: str
    files: int
    bytes: int


def pull_export(repository: str, out: str | Path, *, revision: str = "main", contract: str = "") -> Pulled:
    """Download an export that `push_export` uploaded.

    The names and sizes of all files are checked before the first one is downloaded; afterwards their SHA-256, and that
    all are of one contract hash. Nothing is loaded or run.

    Args:
        repository: OWNER/NAME.
        out: new folder; an existing one is not overwritten.
        revision: branch, tag or commit.
        contract: the contract hash, or its first characters, that the export must have; "" for any.

    Raises:
        UsageError: `repository` is not the name of one.
        FileExistsError: `out` exists.
        ShareError: not an export, or not the expected one; no network, or a refusal of the server.
    """
    check_repository(repository)
    api = hub_api("itembed pull", with_token=False)
    with folder_atomically(out) as folder:
        with hub_errors(repository, api.endpoint):
            info = api.repo_info(repository, revision=revision, files_metadata=True)
            listed = {file.rfilename: file.size for file in info.siblings or ()}
        unsized = [name for name, size in listed.items() if size is None]
        if unsized or not info.sha:
            raise ShareError(f"{repository}: {api.endpoint} does not say the size of {unsized[:3]}, or no commit")
        sizes = {name: int(size) for name, size in listed.items() if name not in IGNORED}
        check_sizes(sizes, repository)
        if not 0 < listed.get(CHECKSUMS_FILE, 0) <= MAX_JSON:
            raise ShareError(f"{repository} has no {CHECKSUMS_FILE}; pull what `itembed push` has uploaded")
        with hub_errors(repository, api.endpoint):
            for name in (CHECKSUMS_FILE, *sorted(sizes)):
                api.hf_hub_download(repository, name, revision=info.sha, local_dir=folder)
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # of huggingface_hub
        found = _check_files(folder, sizes, contract)
        (folder / CHECKSUMS_FILE).unlink()
    return Pulled(Path(out), str(info.sha), found, len(sizes), sum(sizes.values()))


def _check_files(folder: Path, sizes: Mapping[str, int], expected: str) -> str:
    """Check the downloaded files against their sizes, checksums and contract hash; return this."""
    stated: dict[str, Any] = read_json(folder, CHECKSUMS_FILE)
    given = checksums(folder, sizes)
    wrong = [name for name, size in sizes.items() if (folder / name).stat().st_size != size]
    wrong += [name for name, digest in given.items() if stated.get("sha256", {}).get(name) != digest]
    wrong += sorted(stated.get("sha256", {}).keys() - given.keys())
    if wrong:
        names = ", ".join(sorted(set(wrong))[:5])
        raise ShareError(f"{names}: not as it was pushed, by size or SHA-256; push the export again")
    found = check_contracts(folder, sizes)
    if found != stated.get("contract"):
        other = str(stated.get("contract"))[:16]
        raise ShareError(f"{CHECKSUMS_FILE} states the contract {other}, and the files {found[:16]}; push again")
    if not found.startswith(expected):
        raise ShareError(f"the export has the contract {found[:16]}, and {expected[:16]} was expected; see --revision")
    return found
