"""A search page over a small index: coloured shapes on disk, encoders that are sums of words, a server in a thread."""

from __future__ import annotations

import asyncio
import hashlib
import io
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from itembed_tf.demo.access import Access
from itembed_tf.demo.application import make_handler
from itembed_tf.demo.page_api import PageApi
from itembed_tf.demo.searched_index import SearchedIndex
from itembed_tf.index.records import NewItem
from itembed_tf.index.text_encoder import EmbeddedTexts
from itembed_tf.retrieval.bands import LOWEST, Band
from itembed_tf.retrieval.calibration import Calibration, calibration_bytes
from itembed_tf.retrieval.hubness import Bank
from itembed_tf.server.http_server import HttpServer
from itembed_tf.server.limits import Limits
from itembed_tf.text import Vocabulary
from tests.support.small_index import CONTRACT, new_item, write_index

COLOURS = {"red": (200, 40, 30), "green": (40, 150, 60), "blue": (40, 80, 200), "yellow": (230, 190, 40)}
SHAPES = ("circle", "square", "bar", "ring")
WORDS = (*COLOURS, *SHAPES)
CAPTION = "a {colour} {shape}"
MAX_BODY = 2**20  # bytes of a request to the page's server


class SumOfWords:
    """Stands in for the stored text encoder: the vector of a text is the sum of the unit vectors of its words."""

    vocabulary = Vocabulary(tuple(sorted(WORDS)), tokenizer="words", lowercase=True, length=8)

    def embed(self, texts: Sequence[str]) -> EmbeddedTexts:
        words = [self.vocabulary.tokenize(text) for text in texts]
        known = np.array([sum(word in WORDS for word in own) for own in words], np.int32)
        vectors = np.stack([vector_of(*(word for word in own if word in WORDS)) for own in words])
        return EmbeddedTexts(vectors, known, tuple(tuple((word, word in WORDS) for word in own) for own in words))


def vector_of(*words: str) -> NDArray[np.float32]:
    """The sum of the unit vectors of words, unit length; 0 without words."""
    vector = np.sum([np.eye(len(WORDS))[WORDS.index(word)] for word in words] or [np.zeros(len(WORDS))], axis=0)
    return (vector / max(np.linalg.norm(vector), 1e-9)).astype(np.float32)


def image_vector(image: bytes) -> NDArray[np.float32]:
    """Stands in for the image encoder: the vector of the colour in the middle of the image."""
    with Image.open(io.BytesIO(image)) as opened:
        middle = np.array(opened.convert("RGB").getpixel((opened.width // 2, opened.height // 2)))
    return vector_of(min(COLOURS, key=lambda name: float(np.abs(middle - COLOURS[name]).sum())))


def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put both stand-ins in the place of the encoders that an index carries."""
    monkeypatch.setattr("itembed_tf.index.encoding.load_text_encoder", lambda stored: SumOfWords())
    monkeypatch.setattr(
        "itembed_tf.index.encoding.QueryEncoder._image", lambda self, generation, image: image_vector(image)
    )


def draw(colour: str, shape: str, size: tuple[int, int], number: int) -> bytes:
    """A shape on grey as a PNG; the number makes each one different."""
    image = Image.new("RGB", size, (236, 234, 230 - number % 40))
    pen = ImageDraw.Draw(image)
    width, height = size
    if shape == "bar":
        pen.rectangle((0, height // 3, width, 2 * height // 3), fill=COLOURS[colour])
    elif shape == "square":
        pen.rectangle((width // 5, height // 5, 4 * width // 5, 4 * height // 5), fill=COLOURS[colour])
    else:
        pen.ellipse((width // 8, height // 8, 7 * width // 8, 7 * height // 8), fill=COLOURS[colour])
        if shape == "ring":
            pen.ellipse((7 * width // 16, 0, 9 * width // 16, height // 4), fill=(250, 250, 250))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_shapes(folder: Path, count: int = 160, name: str = "shapes.index") -> Path:
    """Write images of shapes to ``folder/images/COLOUR``, and an index of them with captions and dates."""
    items: list[NewItem] = []
    for number in range(count):
        colour, shape = list(COLOURS)[number % 4], SHAPES[number // 4 % 4]
        size = ((120, 90), (90, 120), (100, 100), (160, 90))[number % 3]
        image = draw(colour, shape, size, number)
        place = folder / "images" / colour / f"{shape}_{number:04}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(image)
        noise = np.random.default_rng(number).normal(0, 0.04, len(WORDS))
        item = new_item(
            place.name,
            vector_of(colour, shape) + noise,
            place=str(place),
            folder=str(place.parent),
            content=hashlib.sha256(image).hexdigest(),
            captions=(CAPTION.format(colour=colour, shape=shape),),
            date=f"{2020 + number % 3}-05-{1 + number % 28:02}T12:00:00",
            width=size[0],
            height=size[1],
            size=len(image),
            fields={"corners": {"square": 4, "bar": 4}.get(shape, 0)},
            thumbnail=image,
        )
        items.append(item)
    index = folder / name
    write_index(index, items, dimensions=len(WORDS))
    with closing(sqlite3.connect(index / "index.sqlite")) as connection, connection:
        connection.execute("UPDATE encoders SET calibration = ?", (calibration_bytes(calibration()),))
    return index


def calibration() -> Calibration:
    """Bands for a text query, without a hubness correction: strong from 0.9, likely from 0.4."""
    bands = (Band("strong", 0.9, 90, 100), Band("likely", 0.4, 40, 100), Band("weak", LOWEST, 2, 100))
    bank = Bank(np.eye(len(WORDS), dtype=np.float16), np.arange(len(WORDS), dtype=np.int32))
    return Calibration(CONTRACT, captions=bank, images=bank, corrections={}, bands={"text_to_image": bands})


class ServedPage:
    """The page's server in a thread; `stop` ends it, `start` starts it again on the same port.

    Attributes:
        url: of the page, without the slash at its end.
    """

    def __init__(self, indexes: Sequence[SearchedIndex]) -> None:
        self._api = PageApi(indexes)
        self._port = 0
        self.url = ""
        self.start()

    def start(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(10)

    async def _run(self, ready: threading.Event) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        server = HttpServer(make_handler(self._api, Access()), Limits(max_message=MAX_BODY))
        self._port = await server.start("127.0.0.1", self._port)
        self.url = f"http://127.0.0.1:{self._port}"
        ready.set()
        await self._stopped.wait()
        await server.close(0.5)


@contextmanager
def served_page(*folders: Path) -> Iterator[ServedPage]:
    indexes = [SearchedIndex(folder) for folder in folders]
    page = ServedPage(indexes)
    try:
        yield page
    finally:
        page.stop()
        for index in indexes:
            with closing(index):
                pass
