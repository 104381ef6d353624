"""A tiny dataset in the layout of Flickr8k, images of coloured boxes, for tests and `--quick` benchmarks."""

from __future__ import annotations

import itertools
from pathlib import Path

COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220), "black": (0, 0, 0)}
SIZES = {"small": 10, "large": 24}
POSITIONS = {"left": (4, 20), "right": (36, 20), "top": (20, 4), "bottom": (20, 36)}
# Settings with which training takes seconds.
SMALL = (
    "embedding_size=64",
    "image.size=64",
    "text_tower.width=0.125",
    "text_tower.blocks=[1]",
    "stages.0.batch_size=8",
    "stages.0.jit=false",
)


def write_tiny_flickr8k(folder: Path) -> str:
    """Write 32 images of 64 x 64 pixels with two captions each, every fourth in dev; returns `folder` as a string."""
    from PIL import Image, ImageDraw

    for name in ("Images", "Flickr8k_text"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lists: dict[str, list[str]] = {"train": [], "dev": []}
    lines = []
    for number, (colour, size, position) in enumerate(itertools.product(COLOURS, SIZES, POSITIONS)):
        (left, top), side, name = POSITIONS[position], SIZES[size], f"{number:02d}.jpg"
        image = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(image).rectangle((left, top, left + side, top + side), fill=COLOURS[colour])
        image.save(folder / "Images" / name)
        lists["dev" if number % 4 == 3 else "train"].append(name)
        captions = (f"a {size} {colour} box at the {position}", f"at the {position} is a {colour} and {size} box")
        lines += [f"{name}#{i}\t{caption}\n" for i, caption in enumerate(captions)]
    (folder / "Flickr8k_text" / "Flickr8k.token.txt").write_text("".join(lines), encoding="utf-8")
    for split, names in lists.items():
        path = folder / "Flickr8k_text" / f"Flickr_8k.{split}Images.txt"
        path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return str(folder)
