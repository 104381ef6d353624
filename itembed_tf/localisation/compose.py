"""One composed picture: drawings laid on a ground at known boxes, its sentences with chains, its annotation."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, ImageDraw

from itembed_tf.localisation.boxes import areas

WIDTHS, HEIGHTS, SIDES = (220, 280), (170, 220), (36, 92)  # pixels: least and most
SMALL, LARGE = 48, 72  # sides up to and from which a phrase says so
COVERED = 0.15  # most of a box that another may cover
TWINS = 0.1  # share of drawings laid down twice, as one chain with two boxes


@dataclass(frozen=True)
class Drawing:
    id: str
    name: str
    type: str  # of Entities
    picture: Image.Image  # RGBA, square


@dataclass(frozen=True)
class Scene:
    picture: Image.Image  # RGB
    sentences: str  # a file of Sentences
    annotation: str  # a file of Annotations
    next_chain: int


@dataclass
class Thing:
    """A drawing in a scene: its chain and the boxes where it lies (left, top, right, bottom, inclusive, from 0)."""

    drawing: Drawing
    second_type: str
    chain: int
    side: int
    boxes: list[tuple[int, int, int, int]]

    def phrase(self, article: str) -> str:
        """Its mark in a sentence, with "a" or "the", and its size where that is worth a word."""
        size = "small" if self.side <= SMALL else "large" if self.side >= LARGE else ""
        words = f"{size} {self.drawing.name}".strip() if article == "the" else self.drawing.name
        article = "an" if article == "a" and words[0].lower() in "aeiou" else article
        twin = " and its twin" if len(self.boxes) > 1 else ""
        return f"[/EN#{self.chain}/{self.drawing.type}/{self.second_type} {article} {words}{twin}]"


def compose(chosen: Sequence[tuple[Drawing, str]], draw: random.Random, *, id: str, first_chain: int) -> Scene:
    """Lay the drawings on a ground without hiding one behind another.

    Args:
        chosen: two or more drawings, each with the second type of its phrases.
        draw: what decides everything else.
        id: name of the picture.
        first_chain: its first chain; the scene and the wind that no box shows take one each too.
    """
    picture = _ground(draw)
    taken: list[tuple[int, int, int, int]] = []
    things: list[Thing] = []
    for drawing, second_type in chosen:
        side = draw.randint(*SIDES)
        thing = Thing(drawing, second_type, first_chain + 2 + len(things), side, [])
        small = drawing.picture.resize((side, side), Image.Resampling.LANCZOS)
        for _ in range(2 if draw.random() < TWINS else 1):
            box = _lay(picture, small, taken, draw)
            if box:
                taken.append(box)
                thing.boxes.append(box)
        if thing.boxes:
            things.append(thing)
    sentences = _sentences(things, first_chain, draw)
    return Scene(picture, sentences, _annotation(id, picture, things, first_chain), first_chain + 2 + len(things))


def _ground(draw: random.Random) -> Image.Image:
    """A pale ramp with grain and a few faint shapes, so that edges are not those of the drawings alone."""
    width, height = draw.randint(*WIDTHS), draw.randint(*HEIGHTS)
    ramp = np.linspace(draw.randint(170, 245), draw.randint(170, 245), height)[:, None, None]
    tint = np.array([draw.randint(-25, 25) for _ in range(3)])
    grain = np.random.default_rng(draw.randrange(2**31)).normal(0, 4, (height, width, 3))
    picture = Image.fromarray(np.clip(ramp + tint + grain, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for _ in range(draw.randint(0, 4)):
        x, y = draw.randrange(width), draw.randrange(height)
        colour = tuple(draw.randint(150, 240) for _ in range(3))
        shape = draw.choice((pen.ellipse, pen.rectangle))
        shape((x, y, x + draw.randint(15, 90), y + draw.randint(15, 90)), fill=colour)
    return picture


def _lay(
    picture: Image.Image, small: Image.Image, taken: Sequence[tuple[int, int, int, int]], draw: random.Random
) -> tuple[int, int, int, int] | None:
    """Paste a drawing where there is room; the box of what is seen of it, or None after 60 vain tries."""
    left, top, right, bottom = small.getchannel("A").point(lambda value: 255 * (value > 127)).getbbox() or (0, 0, 1, 1)
    for _ in range(60):
        x, y = draw.randint(-left, picture.width - right), draw.randint(-top, picture.height - bottom)
        box = (x + left, y + top, x + right - 1, y + bottom - 1)
        if all(_covered(box, other) <= COVERED for other in taken):
            picture.paste(small, (x, y), small)
            return box
    return None


def _covered(box: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Share of the smaller box that the two have in common."""
    wide = min(box[2], other[2]) - max(box[0], other[0]) + 1
    high = min(box[3], other[3]) - max(box[1], other[1]) + 1
    return max(wide, 0) * max(high, 0) / float(areas(np.array([box, other])).min())


def _sentences(things: Sequence[Thing], first_chain: int, draw: random.Random) -> str:
    """Three sentences: everything named; two by their size; one with phrases that have no box or are not visual."""
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


def _annotation(id: str, picture: Image.Image, things: Sequence[Thing], first_chain: int) -> str:
    size = f"<width>{picture.width}</width><height>{picture.height}</height><depth>3</depth>"
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
