"""Encoders of an index: where they come from, what the index keeps of them, and the image encoder.

The table `encoders` has the text encoder; the image encoder, which only adding images and searching by an image need,
is a SavedModel in ``INDEX/image_encoder/<first 16 characters of the contract hash>/``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itembed_tf.errors import UserError
from itembed_tf.export_layout import CONTRACT_FILE, IMAGE_ENCODER
from itembed_tf.files import folder_atomically
from itembed_tf.index.errors import SearchIndexError
from itembed_tf.index.generations import StoredEncoders
from itembed_tf.index.text_encoder import tokenizer_json
from itembed_tf.quiet import load_tensorflow
from itembed_tf.retrieval.calibration import CALIBRATION_FILE

SHORT_HASH = 16  # characters of a contract hash in the name of a folder
SAVED_MODEL = "saved_model"  # in the folder of a stored image encoder, beside encoders.json


def find_exports(path: str | Path) -> Path:
    """The folder of exported encoders that a run or an export has; a finished run without one is exported first.

    Raises:
        UserError: neither a run directory nor a folder of exports.
        RunError: the run has not finished.
    """
    path = Path(path)
    if (path / CONTRACT_FILE).is_file():
        return path
    if (path / "config.toml").is_file():
        exports = path / "encoders"
        if not (exports / CONTRACT_FILE).is_file():
            load_tensorflow()
            from itembed_tf.exporting import export_saved_models

            export_saved_models(path, exports)
        return exports
    missing = "has neither config.toml nor encoders.json" if path.is_dir() else "is not a folder"
    raise UserError(
        f"{path} {missing}: expected the directory of a finished run (`itembed train` makes one), or a folder that "
        "`itembed export` wrote"
    )


def export_contract(exports: Path) -> str:
    """The contract hash of an export, without the seconds that TensorFlow takes to load.

    Raises:
        ExportError: not an export that this version reads.
    """
    try:
        content = json.loads((exports / CONTRACT_FILE).read_text(encoding="utf-8"))
        return str(content["contract"])
    except (OSError, ValueError, KeyError, TypeError):
        load_tensorflow()
        from itembed_tf.exporting import read_contract

        return read_contract(exports).contract  # which says what is wrong


def pack_encoders(exports: Path) -> StoredEncoders:
    """What an index keeps of an export: text encoder as LiteRT, tokenizer, and calibration where there is one.

    Raises:
        ExportError: not an export that this version reads.
        ParityError: the LiteRT text encoder differs from the exported one.
    """
    load_tensorflow()
    from itembed_tf.exporting import litert_text_encoder, read_contract

    contract = read_contract(exports)
    _refuse_features(exports, contract.image)
    text_encoder, vocabulary = litert_text_encoder(exports)
    calibration = exports / CALIBRATION_FILE
    return StoredEncoders(
        contract=contract.contract,
        dimensions=contract.embedding_size,
        text_encoder=text_encoder,
        tokenizer=tokenizer_json(vocabulary),
        calibration=calibration.read_bytes() if calibration.is_file() else None,
    )


def _refuse_features(exports: Path, image: Mapping[str, Any]) -> None:
    """Refuse an image encoder that takes features: an index encodes image files."""
    if "features" in image:
        raise UserError(
            f"{exports}: its image encoder takes {image['features']} features of an image, not image files, so it "
            "cannot be indexed: embed the features with its SavedModel, and search the embeddings with a library such "
            "as FAISS (docs/backbones.md)"
        )


def store_image_encoder(exports: Path, index: str | Path) -> Path:
    """Copy the image encoder of an export into an index, whole or not at all; returns its folder there."""
    folder = image_encoder_folder(index, export_contract(exports))
    if not folder.exists():
        load_tensorflow()
        from itembed_tf.exporting import read_contract

        contract = read_contract(exports)
        _refuse_features(exports, contract.image)
        version = str(contract.version)
        with folder_atomically(folder) as temporary:
            shutil.copytree(exports / IMAGE_ENCODER / version, temporary / SAVED_MODEL)
            shutil.copy2(exports / CONTRACT_FILE, temporary / CONTRACT_FILE)
    return folder


def image_encoder_folder(index: str | Path, contract: str) -> Path:
    """Where an index keeps the image encoder of a contract hash."""
    return Path(index) / IMAGE_ENCODER / contract[:SHORT_HASH]


def stored_image_encoder(index: str | Path, contract: str) -> Path:
    """The SavedModel of the image encoder in an index, string [batch] -> embedding float32 [batch, D].

    Raises:
        SearchIndexError: it is not there, or belongs to other encoders.
    """
    folder = image_encoder_folder(index, contract)
    if not (folder / CONTRACT_FILE).is_file() or export_contract(folder) != contract:
        raise SearchIndexError(
            f"{folder} has no image encoder of the contract {contract[:SHORT_HASH]}; give the run or the exports with "
            f"which the index was built: `itembed index RUN --out {index}`"
        )
    return folder / SAVED_MODEL
