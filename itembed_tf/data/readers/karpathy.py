"""Karpathy's JSON of a data set (`dataset_flickr8k.json`, `dataset_flickr30k.json`, `dataset_coco.json`) -> groups.

Format, as the readers of the two-branch networks and of VSE++ read it::

    {"dataset": "flickr30k", "images": [{"filename": "1000092795.jpg", "split": "train", "imgid": 0, "sentids": [0],
     "sentences": [{"raw": "Two young guys ...", "tokens": ["two", ...], "imgid": 0, "sentid": 0}]}]}

COCO's pictures also have "cocoid" and "filepath" (train2014 or val2014), and a split more, "restval"; the "sentid" of
their captions is COCO's own id.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from itembed_tf.data.readers.group import Group, some
from itembed_tf.data.readers.source import fault_of_path, is_sentence, read_json

PAGE = "https://cs.stanford.edu/people/karpathy/deepimagesent/"
# restval: what is left of COCO's val2014; everybody trains on it.
SPLIT_NAMES = {"train": "train", "restval": "train", "val": "dev", "test": "test"}


def read_karpathy(
    path: Path, dataset: str, folders: dict[str, Path], splits: Sequence[str], advice: str
) -> list[Group]:
    """One group a picture of the splits asked for, in the order of the file.

    The whole file is checked, also what was not asked for: half of a file that contradicts itself is not trusted.

    Args:
        path: the JSON file.
        dataset: what it must call itself, so that one data set's file does not pass for another's.
        folders: of the pictures, by "filepath"; Flickr's have none, which is "".
        splits: some of "train", "dev", "test".
        advice: what to do about a fault.

    Raises:
        ValueError: not such a file, or pictures that cannot be used (all are listed, up to 20).
    """
    content = read_json(path, advice, without=("tokens", "sentids"))
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not images:
        raise ValueError(
            f'{path} is not one of Karpathy\'s files: it has no list "images" with pictures in it. {advice}'
        )
    if content.get("dataset", dataset) != dataset:
        raise ValueError(f"{path} is of the data set {str(content['dataset'])[:60]!r}, not of {dataset!r}. {advice}")
    problems: list[str] = []
    seen: dict[str, int] = {}
    groups = []
    empty = 0
    for number, image in enumerate(images):
        fault = _fault(image, folders) or _fault_of_sentences(image["sentences"], "cocoid" in image)
        if not fault and (earlier := seen.setdefault(_id(image), number)) != number:
            fault = f"{image['filename']} is images[{earlier}] already"
        if fault:
            problems.append(f"images[{number}]: {fault}")
            continue
        sentences = [sentence for sentence in image["sentences"] if sentence["raw"].strip()]
        empty += len(image["sentences"]) - len(sentences)
        split = SPLIT_NAMES[image["split"]]
        if split in splits:
            file = folders[image.get("filepath", "")] / image["filename"]
            captions = tuple(sentence["raw"].strip() for sentence in sentences)
            ids = tuple(sentence["sentid"] for sentence in sentences) if "cocoid" in image else ()
            groups.append(Group(_id(image), (str(file),), captions, split, caption_ids=ids))
    if problems:
        raise ValueError(f"{path}: {len(problems)} pictures cannot be used:\n{some(problems)}\n{advice}")
    if empty:
        warnings.warn(f"{path}: {empty} captions are empty, and left out", stacklevel=3)
    return groups


def _id(image: dict[str, Any]) -> str:
    """COCO's own id, by which its other annotations are found; else the file's name without its ending."""
    return str(image["cocoid"]) if "cocoid" in image else Path(image["filename"]).stem


def _fault(image: Any, folders: dict[str, Path]) -> str:
    """What is wrong with one entry; "" where nothing is."""
    if not isinstance(image, dict):
        return "not an object"
    missing = [key for key in ("filename", "split", "sentences") if key not in image]
    if missing:
        return f"no {' and no '.join(missing)}"
    if fault := fault_of_path(image["filename"]):
        return fault
    if "/" in image["filename"]:
        return f"image {image['filename']!r}: a file name without folders is meant"
    if not isinstance(image["split"], str) or image["split"] not in SPLIT_NAMES:
        return f"split {str(image['split'])[:60]!r}; it must be one of {', '.join(SPLIT_NAMES)}"
    where = image.get("filepath", "")
    if not isinstance(where, str) or where not in folders:
        return f"filepath {str(where)[:60]!r}; it must be {' or '.join(filter(None, folders)) or 'left out'}"
    if where and (type(image.get("cocoid")) is not int or image["cocoid"] < 0):
        return f"cocoid {str(image.get('cocoid'))[:60]!r}; it must be a whole number"
    return ""


def _fault_of_sentences(sentences: Any, with_ids: bool) -> str:
    if not isinstance(sentences, list) or not all(isinstance(s, dict) and "raw" in s for s in sentences):
        return 'sentences must be a list of objects, each with the caption as "raw"'
    if with_ids and not all(type(sentence.get("sentid")) is int for sentence in sentences):
        return "a caption without a whole number as sentid"
    captions = [sentence["raw"] for sentence in sentences]
    wrong = [c for c in captions if not is_sentence(c) and not (isinstance(c, str) and not c.strip())]
    if wrong:
        return f"the caption {str(wrong[0])[:60]!a} is not text that can be read"
    return "" if any(map(is_sentence, captions)) else "no caption"
