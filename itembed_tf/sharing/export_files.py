"""The files of an export that is shared: their names, their checksums, and that all are of one contract hash."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from itembed_tf.errors import UsageError, UserError
from itembed_tf.export_layout import CONTRACT_FILE, EXTRA_ASSETS, TEXT_ENCODER
from itembed_tf.files import file_checksum
from itembed_tf.text import load_vocabulary

CHECKSUMS_FILE = "checksums.json"  # contract hash, and the SHA-256 of every other file
CARD_FILE = "README.md"
IGNORED = (".gitattributes", CHECKSUMS_FILE)  # written by Hugging Face and by `push_export`
MAX_FILES = 1000
MAX_JSON = 64 << 20  # bytes of a file that is read whole
MAX_BYTES = 20 << 30  # of all files
# Nothing that runs when it is loaded: no pickle, no Python, no Keras file with code.
ALLOWED = re.compile(
    r"README\.md|encoders\.json|calibration\.npz|teaching\.npz|tokenizer\.txt|vocabulary\.txt|examples\.json|example\.png"
    r"|(image|text)_encoder(\.[a-z0-9]+)?\.(tflite|onnx|json|onnx\.json)"
    r"|(image|text)_encoder/[0-9]+/(saved_model\.pb|fingerprint\.pb|assets/vocabulary\.txt"
    r"|variables/variables\.(index|data-[0-9]{5}-of-[0-9]{5})"
    r"|assets\.extra/(encoders\.json|tf_serving_warmup_requests|text_encoder\.[a-z0-9]+\.tflite))"
)
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


class ShareError(UserError, RuntimeError):
    """An export that cannot be pushed or pulled; the message says why, and what to do."""


def check_repository(name: str) -> str:
    """The name of a repository, checked.

    Raises:
        UsageError: it is not of the form OWNER/NAME.
    """
    if not REPOSITORY.fullmatch(name) or ".." in name or "--" in name or name.endswith((".git", ".", "-")):
        raise UsageError(
            f"{name!r} is not the name of a repository; write OWNER/NAME, for example me/emoji-search, with letters, "
            "digits, '.', '-' and '_'"
        )
    return name


def check_name(name: str) -> None:
    """Raise ShareError for a file that no export has."""
    if not ALLOWED.fullmatch(name):
        kind = "a pickle, which can run code" if re.search(r"\.(pkl|pickle|pt|pth|bin|joblib)$", name) else "unexpected"
        raise ShareError(f"{name!r} is {kind}: an export has SavedModels, LiteRT or ONNX files and their settings only")


def check_sizes(sizes: Mapping[str, int], source: str) -> None:
    """Check names, number and sizes (bytes) of the files of an export before they are transferred.

    Raises:
        ShareError: a name that no export has, too many files or bytes, or no encoder.
    """
    for name in sizes:
        check_name(name)
    if len(sizes) > MAX_FILES:
        raise ShareError(f"{source} has {len(sizes):,} files; an export has at most {MAX_FILES:,}")
    if (total := sum(sizes.values())) > MAX_BYTES:
        raise ShareError(f"{source} has {total / 1e9:.1f} GB; at most {MAX_BYTES / 1e9:.1f} GB are transferred")
    if not any(name.endswith(("saved_model.pb", ".tflite", ".onnx")) for name in sizes):
        raise ShareError(f"{source} is not an export: it has no encoder; `itembed export RUN EXPORT` writes one")


def check_contracts(folder: Path, names: Iterable[str]) -> str:
    """The contract hash of an export, after checking that all its files state the same one and have its vocabulary.

    Raises:
        ShareError: they differ, none states one, or a file is damaged.
    """
    settings = {name: read_json(folder, name) for name in names if name.endswith("encoders.json") or _of_encoder(name)}
    newest = settings[CONTRACT_FILE].get("version") if CONTRACT_FILE in settings else None
    copies = f"/{newest}/{EXTRA_ASSETS}/"
    held = {name: each for name, each in settings.items() if "/" not in name or copies in name}  # no older versions
    hashes = {name: each.get("contract") for name, each in held.items()}
    if len(set(hashes.values())) != 1 or not all(isinstance(value, str) for value in hashes.values()):
        found = ", ".join(f"{name} {str(value)[:16]}" for name, value in sorted(hashes.items())) or "none"
        raise ShareError(f"{folder}: its files must have one contract hash, and have: {found}; export again")
    for name in (f"{TEXT_ENCODER}/{newest}/assets/vocabulary.txt", "vocabulary.txt"):
        of_text = next((each for key, each in held.items() if "vocabulary" in each), None)
        if of_text and (folder / name).is_file():
            _check_vocabulary(folder / name, of_text)
    return str(next(iter(hashes.values())))


def checksums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 (hex) of files of a folder."""
    return {name: file_checksum(folder / name) for name in sorted(names)}


def _of_encoder(name: str) -> bool:
    return "/" not in name and name.startswith(("image_encoder", "text_encoder")) and name.endswith(".json")


def read_json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if path.stat().st_size > MAX_JSON:
        raise ShareError(f"{path} has {path.stat().st_size:,} bytes; at most {MAX_JSON:,} are read")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ShareError(f"{path} is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise ShareError(f"{path} is damaged: it holds a {type(content).__name__}")
    return content


def _check_vocabulary(path: Path, settings: Mapping[str, Any]) -> None:
    try:
        tokenizer = {key: settings[key] for key in ("tokenizer", "lowercase", "length")}
        right = load_vocabulary(path, **tokenizer).checksum() == settings["vocabulary"]["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ShareError(f"{path} is damaged ({error})") from None
    if not right:
        raise ShareError(f"{path} is not the vocabulary of this export: its SHA-256 is another one")
