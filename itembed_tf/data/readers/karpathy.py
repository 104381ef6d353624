"""Reader of Karpathy's split files: `dataset_flickr8k.json`, `dataset_flickr30k.json`, `dataset_coco.json`.

Format, as the readers of the two-branch networks and of VSE++ read it::

    {"dataset": "flickr30k", "images": [{"filename": "1000092795.jpg", "split": "train", "imgid": 0, "sentids": [0],
     "sentences": [{"raw": "Two young guys ...", "tokens": ["two", ...], "imgid": 0, "sentid": 0}]}]}

COCO's images also have "cocoid" and "filepath" (train2014 or val2014), and a fourth split, "restval"; the "sentid" of
their captions is COCO's own id.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from itembed_tf.data.readers.group import Group
from itembed_tf.data.readers.problems import format_problems
from itembed_tf.data.readers.source import is_caption, path_problem, read_json

PAGE = "https://cs.stanford.edu/people/karpathy/deepimagesent/"
# restval: the remainder of COCO's val2014, by convention a part of the training set.
SPLIT_NAMES = {"train": "train", "restval": "train", "val": "dev", "test": "test"}


def read_karpathy(path: Path, dataset: str, folders: dict[str, Path], advice: str) -> list[Group]:
    """Read one group per image, of all splits, in the order of the file.

    Args:
        path: the JSON file.
        dataset: the required value of "dataset", so that the file of another dataset is refused.
        folders: image folders by "filepath"; the Flickr files have none, which is "".
        advice: ends every error message.

    Raises:
        ValueError: not such a file, or invalid images (all are listed, up to 20).
    """
    content = read_json(path, advice, without=("tokens", "sentids"))
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not images:
        raise ValueError(f'{path} is not one of Karpathy\'s files: "images" must be a list that is not empty. {advice}')
    if content.get("dataset", dataset) != dataset:
        raise ValueError(
            f"{path} belongs to the dataset {str(content['dataset'])[:60]!r}; it must be {dataset!r}. For other "
            f'images in Karpathy\'s format, set dataset.name = "folder" (docs/your_images.md). {advice}'
        )
    problems: list[str] = []
    seen: dict[str, int] = {}
    groups = []
    for number, image in enumerate(images):
        problem = _image_problem(image, folders) or _captions_problem(image["sentences"], "cocoid" in image)
        if not problem and (earlier := seen.setdefault(_id(image), number)) != number:
            problem = f"{image['filename']} duplicates images[{earlier}]"
        if problem:
            problems.append(f"images[{number}]: {problem}")
            continue
        file = folders[image.get("filepath", "")] / image["filename"]
        captions = tuple(sentence["raw"].strip() for sentence in image["sentences"])
        ids = tuple(sentence["sentid"] for sentence in image["sentences"]) if "cocoid" in image else ()
        groups.append(Group(_id(image), (str(file),), captions, SPLIT_NAMES[image["split"]], caption_ids=ids))
    if problems:
        raise ValueError(f"{path}: {format_problems(problems, 'images')}\n{advice}")
    return groups


def _id(image: dict[str, Any]) -> str:
    """COCO's image id, which its other annotations refer to; elsewhere the file name without suffix."""
    return str(image["cocoid"]) if "cocoid" in image else Path(image["filename"]).stem


def _image_problem(image: Any, folders: dict[str, Path]) -> str:
    """Describe what is wrong with an entry; "" if it is valid."""
    if not isinstance(image, dict):
        return "not an object"
    missing = [key for key in ("filename", "split", "sentences") if key not in image]
    if missing:
        return f"no {' and no '.join(missing)}"
    if problem := path_problem(image["filename"]):
        return problem
    if "/" in image["filename"]:
        return f"image {image['filename']!r}; it must be a file name without folders"
    if not isinstance(image["split"], str) or image["split"] not in SPLIT_NAMES:
        return f"split {str(image['split'])[:60]!r}; it must be one of {', '.join(SPLIT_NAMES)}"
    folder = image.get("filepath", "")
    if not isinstance(folder, str) or folder not in folders:
        return f"filepath {str(folder)[:60]!r}; it must be {' or '.join(filter(None, folders)) or 'left out'}"
    if folder and (type(image.get("cocoid")) is not int or image["cocoid"] < 0):
        return f"cocoid {str(image.get('cocoid'))[:60]!r}; it must be an integer >= 0"
    return ""


def _captions_problem(sentences: Any, with_ids: bool) -> str:
    if not isinstance(sentences, list) or not all(isinstance(s, dict) and "raw" in s for s in sentences):
        return 'sentences must be a list of objects, each with the caption as "raw"'
    if with_ids and not all(type(sentence.get("sentid")) is int for sentence in sentences):
        return "a caption without an integer sentid"
    captions = [sentence["raw"] for sentence in sentences]
    invalid = [c for c in captions if not is_caption(c) and not (isinstance(c, str) and not c.strip())]
    if invalid:
        return f"the caption {str(invalid[0])[:60]!a} is not valid text"
    return "" if any(map(is_caption, captions)) else "no caption"
