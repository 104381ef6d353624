"""Croissant metadata of shards: what they hold, as JSON-LD that data set catalogues and loaders read.

Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec.html) has no way to read a TFRecord file. So the
groups are listed in a JSON file too, with the place of each image in its shard. It is no table of JSON lines, in which
Croissant's loader would read the id "007" as the number 7.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from itembed_tf.data.readers import FilePart, Group
from itembed_tf.files import file_checksum, replacing, write_atomically

CROISSANT_FILE, GROUPS_FILE = "croissant.json", "groups.json"
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
} | {
    name: f"cr:{name}"
    for name in (
        *("citeAs", "column", "equivalentProperty", "excludes", "extract", "field", "fileObject", "fileProperty"),
        *("fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path"),
        *("recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField"),
        "transform",
    )
}
# Name, type, whether it is a list, description.
_FIELDS = (
    ("id", "sc:Text", False, "Name of the group: of one image with its captions, or of an identity with all of its."),
    ("split", "sc:Text", False, "Split of the data set that the group belongs to: train, dev or test."),
    ("label", "sc:Text", False, "Identity or category of the group."),
    ("captions", "sc:Text", True, "What the images of the group show."),
    ("shard", "sc:Text", False, "TFRecord file that holds the images of the group, as JPEG."),
    ("offsets", "sc:Integer", True, "Place of the first byte of each image in the shard."),
    ("lengths", "sc:Integer", True, "Number of bytes of each image."),
)


def write_croissant(folder: Path, groups: Sequence[Group], *, name: str, license: str, description: str) -> Path:
    """Write ``groups.json`` and, last, ``croissant.json`` beside the shards that hold `groups`.

    Args:
        folder: of the shards.
        groups: of the shards, read from them: every image is a `FilePart`.
        name: of the data set.
        license: of the data set, in words or as a URL; "" if it is not known.
        description: one or two sentences.

    Returns:
        The path of ``croissant.json``.
    """
    with replacing(folder / GROUPS_FILE) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        for i, group in enumerate(groups):
            file.write((",\n" if i else "[\n") + json.dumps(_entry(group), ensure_ascii=False))
        file.write("\n]\n")
    shards = sorted({_shard(group) for group in groups})
    content: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": description,
        "version": "1.0.0",
        "datePublished": datetime.now(timezone.utc).date().isoformat(),
        **({"license": license} if license else {}),
        "distribution": [
            _file(folder, GROUPS_FILE, "application/json", "All groups, one a line."),
            *(
                _file(folder, shard, "application/octet-stream", "A TFRecord file of tf.train.Example.")
                for shard in shards
            ),
        ],
        "recordSet": [_record_set(any(group.label for group in groups))],
    }
    return write_atomically(folder / CROISSANT_FILE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _entry(group: Group) -> dict[str, Any]:
    parts = list(_parts(group))
    return {
        "id": group.id,
        "split": group.split,
        "label": group.label,
        "captions": group.captions,
        "shard": _shard(group),
        "offsets": [part.offset for part in parts],
        "lengths": [part.length for part in parts],
    }


def _parts(group: Group) -> Iterable[FilePart]:
    for image in group.images:
        assert isinstance(image, FilePart), "groups must be read from the shards"
        yield image


def _shard(group: Group) -> str:
    """The name of the shard of a group: a group is never divided."""
    return Path(next(iter(_parts(group))).path).name


def _file(folder: Path, name: str, encoding: str, description: str) -> dict[str, Any]:
    path = folder / name
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": description,
        "contentUrl": name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": encoding,
        "sha256": file_checksum(path),
    }


def _record_set(labels: bool) -> dict[str, Any]:
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"groups/{name}",
            "name": name,
            "description": description,
            "dataType": kind,
            **({"repeated": True} if repeated else {}),
            "source": {"fileObject": {"@id": GROUPS_FILE}, "extract": {"jsonPath": f"$[*].{name}"}},
        }
        for name, kind, repeated, description in _FIELDS
        if labels or name != "label"
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "groups",
        "name": "groups",
        "description": "An image with its captions, or an identity with all its images and captions.",
        "key": {"@id": "groups/id"},
        "field": fields,
    }
