"""A contact sheet: the thumbnails of some items in one image, each with its id."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw

from itembed_tf.errors import UsageError
from itembed_tf.index.records import Item
from itembed_tf.index.searcher import Searcher

MAX_ITEMS = 60
COLUMNS = 6
SIDE, LABEL, GAP = 192, 20, 8  # pixels of a thumbnail at most, of the line with its id, and between two of them
CHARACTERS, LINES = 28, 9  # of a sentence, in the place of a thumbnail
FORMATS = ("WEBP", "JPEG")  # that an index has
BACKGROUND, INK = (255, 255, 255), (29, 28, 26)


def contact_sheet(searcher: Searcher, ids: Sequence[int]) -> bytes:
    """A PNG file with the items in rows of six, in the order of `ids`; ids that are gone stay empty.

    Raises:
        UsageError: no ids, or more than 60.
    """
    if not 1 <= len(ids) <= MAX_ITEMS:
        raise UsageError(f"a contact sheet has 1 to {MAX_ITEMS} items, not {len(ids)}")
    columns = min(COLUMNS, len(ids))
    cell = SIDE + GAP, SIDE + LABEL + GAP
    size = GAP + columns * cell[0], GAP + -(-len(ids) // columns) * cell[1]
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    items = searcher.items(ids)
    for i, id in enumerate(ids):
        left, top = GAP + i % columns * cell[0], GAP + i // columns * cell[1]
        draw.text((left, top + SIDE + 4), f"{id}" if id in items else f"{id} is gone", fill=INK)
        if id in items:
            _draw_item(sheet, draw, items[id], searcher.thumbnail(id), left, top)
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _draw_item(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, item: Item, thumbnail: bytes | None, left: int, top: int
) -> None:
    if thumbnail is not None:
        with Image.open(io.BytesIO(thumbnail), formats=FORMATS) as image:
            small = image.convert("RGB")
            small.thumbnail((SIDE, SIDE))
            sheet.paste(small, (left + (SIDE - small.width) // 2, top + (SIDE - small.height) // 2))
        return
    lines = textwrap.wrap(item.captions[0] if item.captions else item.name, CHARACTERS)[:LINES]
    # The built-in font has Latin letters only; the id leads to the whole sentence.
    draw.multiline_text((left, top), "\n".join(lines), fill=INK)
