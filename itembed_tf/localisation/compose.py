"""Compose a synthetic scene: drawings on a background at known boxes, captions, annotation file."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, ImageDraw

from itembed_tf.localisation.boxes import areas

WIDTHS, HEIGHTS, SIDES = (220, 280), (170, 220), (36, 92)  # pixels: minimum and maximum
SMALL, LARGE = 48, 72  # pixels; drawings up to SMALL are called small, from LARGE on large
MAX_COVERED = 0.15  # maximum share of a box that another may cover
PLACED_TWICE = 0.1  # share of drawings placed twice, as one chain with two boxes


@dataclass(frozen=True)
class Drawing:
    id: str
    name: str
    type: str  # phrase type of Flickr30k Entities
    image: Image.Image  # RGBA, square


@dataclass(frozen=True)
class Scene:
    image: Image.Image  # RGB
    sentences: str  # content of a Sentences file
    annotation: str  # content of an Annotations file
    next_chain: int


@dataclass
class Thing:
    """A drawing in a scene: its chain and its boxes (left, top, right, bottom; zero-based, inclusive)."""

    drawing: Drawing
    second_type: str
    chain: int
    side: int
    boxes: list[tuple[int, int, int, int]]

    def phrase(self, article: str) -> str:
        """Its markup in a sentence, with "a" or "the"; with "the", small and large drawings are named so."""
        size = "small" if self.side <= SMALL else "large" if self.side >= LARGE else ""
        words = f"{size} {self.drawing.name}".strip() if article == "the" else self.drawing.name
        article = "an" if article == "a" and words[0].lower() in "aeiou" else article
        twin = " and its twin" if len(self.boxes) > 1 else ""
        return f"[/EN#{self.chain}/{self.drawing.type}/{self.second_type} {article} {words}{twin}]"


def compose(chosen: Sequence[tuple[Drawing, str]], draw: random.Random, *, id: str, first_chain: int) -> Scene:
    """Place drawings on a background so that none hides another.

    Args:
        chosen: two or more drawings, each with the second type of its phrases.
        draw: random generator for everything else.
        id: name of the image.
        first_chain: number of its first chain; two more go to phrases without a box (the scene and the wind).
    """
    image = _background(draw)
    taken: list[tuple[int, int, int, int]] = []
    things: list[Thing] = []
    for drawing, second_type in chosen:
        side = draw.randint(*SIDES)
        thing = Thing(drawing, second_type, first_chain + 2 + len(things), side, [])
        small = drawing.image.resize((side, side), Image.Resampling.LANCZOS)
        for _ in range(2 if draw.random() < PLACED_TWICE else 1):
            box = _place(image, small, taken, draw)
            if box:
                taken.append(box)
                thing.boxes.append(box)
        if thing.boxes:
            things.append(thing)
    sentences = _sentences(things, first_chain, draw)
    return Scene(image, sentences, _annotation(id, image, things, first_chain), first_chain + 2 + len(things))


def _background(draw: random.Random) -> Image.Image:
    """A pale gradient with noise and a few faint shapes, so that not every edge belongs to a drawing."""
    width, height = draw.randint(*WIDTHS), draw.randint(*HEIGHTS)
    ramp = np.linspace(draw.randint(170, 245), draw.randint(170, 245), height)[:, None, None]
    tint = np.array([draw.randint(-25, 25) for _ in range(3)])
    grain = np.random.default_rng(draw.randrange(2**31)).normal(0, 4, (height, width, 3))
    image = Image.fromarray(np.clip(ramp + tint + grain, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(draw.randint(0, 4)):
        x, y = draw.randrange(width), draw.randrange(height)
        colour = tuple(draw.randint(150, 240) for _ in range(3))
        shape = draw.choice((pen.ellipse, pen.rectangle))
        shape((x, y, x + draw.randint(15, 90), y + draw.randint(15, 90)), fill=colour)
    return image


def _place(
    image: Image.Image, small: Image.Image, taken: Sequence[tuple[int, int, int, int]], draw: random.Random
) -> tuple[int, int, int, int] | None:
    """Paste a drawing at a free position; returns its visible box, or None after 60 attempts."""
    left, top, right, bottom = small.getchannel("A").point(lambda value: 255 * (value > 127)).getbbox() or (0, 0, 1, 1)
    for _ in range(60):
        x, y = draw.randint(-left, image.width - right), draw.randint(-top, image.height - bottom)
        box = (x + left, y + top, x + right - 1, y + bottom - 1)
        if all(_covered(box, other) <= MAX_COVERED for other in taken):
            image.paste(small, (x, y), small)
            return box
    return None


def _covered(box: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Intersection relative to the smaller box."""
    wide = min(box[2], other[2]) - max(box[0], other[0]) + 1
    high = min(box[3], other[3]) - max(box[1], other[1]) + 1
    return max(wide, 0) * max(high, 0) / float(areas(np.array([box, other])).min())


def _sentences(things: Sequence[Thing], first_chain: int, draw: random.Random) -> str:
    """Three sentences: all drawings; two of them by size; one with phrases that have no box or are not visual."""
    order = draw.sample(list(things), len(things))
    names = [thing.phrase("a") for thing in order]
    two = draw.sample(list(things), min(2, len(things)))
    last = draw.choice(list(things)).phrase("the")
    lines = [
        f"{' , '.join(names)} lie on [/EN#{first_chain}/scene a pale page] .",
        f"{' and '.join(thing.phrase('the') for thing in two)} are far from [/EN#0/notvisual each other] .",
        f"{last} is not moved by [/EN#{first_chain + 1}/other the wind] .",
    ]
    return "".join(f"{line}\n" for line in lines)


def _annotation(id: str, image: Image.Image, things: Sequence[Thing], first_chain: int) -> str:
    size = f"<width>{image.width}</width><height>{image.height}</height><depth>3</depth>"
    lines = [f"<annotation><filename>{escape(id)}.jpg</filename>", f"<size>{size}</size>"]
    for thing in things:
        for box in thing.boxes:
            corners = zip(("xmin", "ymin", "xmax", "ymax"), box)
            sides = "".join(f"<{side}>{at + 1}</{side}>" for side, at in corners)
            lines.append(f"<object><name>{thing.chain}</name><bndbox>{sides}</bndbox></object>")
    for chain, scene in ((first_chain, 1), (first_chain + 1, 0)):
        flags = f"<scene>{scene}</scene><nobndbox>{1 - scene}</nobndbox>"
        lines.append(f"<object><name>{chain}</name>{flags}</object>")
    return "\n".join([*lines, "</annotation>", ""])
