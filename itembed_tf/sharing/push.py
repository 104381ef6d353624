"""Upload of an export to a repository of Hugging Face."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from itembed_tf.export_layout import ENCODERS
from itembed_tf.sharing.connection import hub_api, hub_errors
from itembed_tf.sharing.export_files import (
    ALLOWED,
    CARD_FILE,
    CHECKSUMS_FILE,
    ShareError,
    check_contracts,
    check_repository,
    check_sizes,
    checksums,
)


@dataclass(frozen=True)
class Pushed:
    """What was uploaded: the address of the commit, the contract hash, the number of files and their bytes."""

    address: str
    contract: str
    files: int
    bytes: int


def push_export(folder: str | Path, repository: str, *, private: bool = False, message: str = "") -> Pushed:
    """Upload an export, after the checks that `pull_export` makes too. The repository is created where there is none.

    Encoders of an earlier push that the export does not have are removed; other files of the repository stay.

    Args:
        folder: that ``itembed export`` wrote.
        repository: OWNER/NAME.
        private: whether a new repository is private.
        message: of the commit.

    Raises:
        UsageError: `repository` is not the name of one.
        ShareError: not an export, no token, no network, or a refusal of the server.
    """
    check_repository(repository)
    folder = Path(folder)
    sizes = local_sizes(folder)
    contract = check_contracts(folder, sizes)
    api = hub_api("itembed push", with_token=True)
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    content = {"schema": 1, "contract": contract, "sha256": checksums(folder, sizes)}
    text = json.dumps(content, indent=1).encode()
    additions = [CommitOperationAdd(name, str(folder / name)) for name in sorted(sizes)]
    additions.append(CommitOperationAdd(CHECKSUMS_FILE, text))
    with hub_errors(repository, api.endpoint):
        if not api.repo_exists(repository):
            api.create_repo(repository, private=private or None)
        there = [file.rfilename for file in api.repo_info(repository).siblings or ()]
        gone = [name for name in there if ALLOWED.fullmatch(name) and name not in sizes and name.startswith(ENCODERS)]
        commit = api.create_commit(
            repository,
            [*additions, *(CommitOperationDelete(name) for name in gone)],
            commit_message=message or f"Export with contract {contract[:16]}",
        )
    return Pushed(str(commit.commit_url), contract, len(sizes), sum(sizes.values()))


def local_sizes(folder: Path) -> dict[str, int]:
    """The files of an export and their bytes; hidden ones, and the locks of exports, are left out.

    Raises:
        ShareError: no export, or one with files that no export has or without a model card.
    """
    if not folder.is_dir():
        raise ShareError(f"no folder at {folder}; `itembed export RUN {folder}` writes an export")
    sizes = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in name.split("/"))
        if path.is_file() and not hidden and name != CHECKSUMS_FILE:
            sizes[name] = path.stat().st_size
    check_sizes(sizes, str(folder))
    if CARD_FILE not in sizes:
        raise ShareError(f"{folder} has no {CARD_FILE}, the model card; `itembed export RUN {folder}` writes one")
    return sizes
