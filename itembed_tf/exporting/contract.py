"""``encoders.json``: what an exported pair of encoders takes and gives, and its contract hash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from itembed_tf.errors import UserError
from itembed_tf.export_layout import CONTRACT_FILE
from itembed_tf.exporting.pair import EncoderPair
from itembed_tf.text import Vocabulary

SCHEMA = 1
PACKAGES = ("itembed_tf", "tensorflow", "keras", "tensorflow-text", "numpy")


class ExportError(UserError, RuntimeError):
    """A folder that is not an export, or not one that this version reads; the message says what to do."""


@dataclass(frozen=True)
class Parity:
    """Difference of a reloaded encoder from the live one, over the sample inputs."""

    max_abs_difference: float  # of any component of an embedding
    min_cosine: float


@dataclass(frozen=True)
class ExportedEncoder:
    """One encoder in ``encoders.json``: its signatures, sizes and parity."""

    signatures: Mapping[str, Any]  # signature -> inputs, outputs -> name -> dtype, shape
    parameters: int
    bytes: int
    parity: Parity


@dataclass(frozen=True)
class Contract:
    """The content of ``encoders.json``; field names are its keys.

    ``image`` has size and fit, or, where the image encoder takes features of images, their number ``features``;
    ``encoding`` has flip, shifts and, if any, crops, ``vocabulary`` has sha256 and size. ``cut`` describes the PCA of
    shortened embeddings (`itembed_tf.exporting.pca.PcaResult`); it is None, and absent from the file, where there is
    none.
    """

    schema: int
    contract: str
    embedding_size: int
    vocabulary: Mapping[str, Any]
    tokenizer: str
    lowercase: bool
    length: int
    image: Mapping[str, Any]
    encoding: Mapping[str, Any]
    needs: tuple[str, ...]
    packages: Mapping[str, str]
    version: int
    allowed_batch_sizes: tuple[int, ...]
    tolerance: float
    encoders: Mapping[str, ExportedEncoder]
    cut: Mapping[str, Any] | None = None

    def to_json(self) -> str:
        content = asdict(self)
        if self.cut is None:
            del content["cut"]
        return format_json(content)


def read_contract(folder: str | Path) -> Contract:
    """Read ``encoders.json`` of an export, this version's or an older one's.

    Raises:
        ExportError: there is none, or it has another schema.
    """
    path = Path(folder) / CONTRACT_FILE
    if not path.exists():
        raise ExportError(f"{folder} is not an export (no {CONTRACT_FILE}); `itembed export RUN {folder}` writes one")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ExportError(
                f"{path} has schema {content['schema']}, this version reads schema {SCHEMA}; export the run again with "
                "`itembed export`, or use the itembed_tf version that wrote it "
                f"({content.get('packages', {}).get('itembed_tf', 'not recorded')})"
            )
        encoders = {
            name: ExportedEncoder(**{**encoder, "parity": Parity(**encoder["parity"])})
            for name, encoder in content["encoders"].items()
        }
        known = {field.name: content[field.name] for field in fields(Contract) if field.name in content}
        lists = {name: tuple(content[name]) for name in ("needs", "allowed_batch_sizes")}
        return Contract(**{**known, **lists, "encoders": encoders})
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(
            f"{path} is incomplete or damaged ({error!r}); export the run again: `itembed export`"
        ) from None


def tokenizer_settings(vocabulary: Vocabulary) -> dict[str, Any]:
    """Settings of the tokenizer, and L, the ids of a text."""
    return {"tokenizer": vocabulary.tokenizer, "lowercase": vocabulary.lowercase, "length": vocabulary.length}


def signatures(pair: EncoderPair) -> dict[str, dict[str, Any]]:
    """Encoder -> signature -> names, dtypes and shapes of its inputs and outputs."""
    image: dict[str, Any] = {"image_bytes": {"dtype": "string", "shape": ["batch"]}}
    if pair.features:
        image = {"features": {"dtype": "float32", "shape": ["batch", pair.features]}}
    text = {"text": {"dtype": "string", "shape": ["batch"]}}
    ids = {"ids": {"dtype": "int32", "shape": ["batch", pair.vocabulary.length]}}
    embedding = {"embedding": {"dtype": "float32", "shape": ["batch", pair.embedding_size]}}
    text_outputs = embedding | {"known_words": {"dtype": "int32", "shape": ["batch"]}}
    return {
        "image_encoder": {"serving_default": {"inputs": image, "outputs": embedding}},
        "text_encoder": {
            "serving_default": {"inputs": text, "outputs": text_outputs},
            "ids": {"inputs": ids, "outputs": text_outputs},
        },
    }


def needed_libraries(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Libraries whose ops the text encoder uses beside TensorFlow's own; stock TF Serving is built with them."""
    return ("tensorflow_text",) if vocabulary.tokenizer == "unicode" else ()


def package_versions(*more: str) -> dict[str, str]:
    """Versions of the installed packages that decide an export, and of `more`."""
    versions = {}
    for name in (*PACKAGES, *more):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def format_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
