"""The evaluation protocols by name, and the one that published results on each dataset use (standard library)."""

from __future__ import annotations

BOTH = ("image_query", "text_query")

# name -> how the gallery is chosen and which answers are correct
PROTOCOLS = {
    "whole": "the whole split as gallery, any item of the same group is correct",
    "flickr-1k": "1,000 images, 5,000 captions",
    "coco-1k": "mean of the five published folds of 1,000 images and 5,000 captions",
    "coco-1k-listed": "mean of five folds in file order, not the published ones",
    "coco-5k": "5,000 images, the first five captions of each",
    "cuhk": "person search, every image of the caption's identity is correct",
    "cxc": "5,000 images, 25,000 captions, correct answers of Crisscrossed Captions",
    "eccv": "5,000 images, 25,000 captions, correct answers of ECCV Caption",
}
# Protocols that score one query direction only: person search has no published image → text results.
_SCORED = {"cuhk": ("text_query",)}
# dataset -> (protocol of published results, number of images it needs; 0 for any number)
USUAL_PROTOCOLS = {
    "flickr8k": ("flickr-1k", 1000),
    "flickr30k": ("flickr-1k", 1000),
    "coco": ("coco-5k", 5000),
    "cuhk-pedes": ("cuhk", 0),
    "icfg-pedes": ("cuhk", 0),
    "rstpreid": ("cuhk", 0),
}


def usual_protocol(data_set: str) -> tuple[str, int]:
    """Protocol of the published results on a dataset and the number of images it needs; ("whole", 0) for others."""
    return USUAL_PROTOCOLS.get(data_set, ("whole", 0))


def scored_directions(protocol: str) -> tuple[str, ...]:
    """The query directions that a protocol scores; the name may include the gallery size, as `RetrievalTable.name`."""
    return _SCORED.get(protocol.partition("/")[0], BOTH)
