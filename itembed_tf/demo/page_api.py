"""What the page asks for: searches, items, images, the weights of words."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from itembed_tf.demo.answers import page_answer, page_item, page_lessons, page_words
from itembed_tf.demo.body import Body
from itembed_tf.demo.originals import NotShown, original, shown
from itembed_tf.demo.parameters import Parameters, WrongParameter
from itembed_tf.demo.query_images import QueryImages
from itembed_tf.demo.searched_index import SearchedIndex, Summary
from itembed_tf.demo.word_changes import word_changes
from itembed_tf.errors import UserError
from itembed_tf.index import Item, Query
from itembed_tf.index.answers import facets_json
from itembed_tf.index.lessons import MOST_IMAGES

SIMILAR = 12  # items in the detail view
MAX_WEIGHED = 6  # texts whose words are weighed in one request
TEXT_LETTERS = 1_000  # of each
MAX_NAME = 200  # characters of the name of a lesson
ELSEWHERE = "lessons are given on the machine of the server alone: start `itembed demo` without --host"


class NotFound(UserError):
    """An index, item or image that there is not."""


class PageApi:
    """The answers for the page, over one or several indexes; every request names one by its number, ``index=0``.

    Safe to use from several threads.
    """

    def __init__(self, indexes: Sequence[SearchedIndex], *, may_teach: bool = True) -> None:
        """Answers over `indexes`; `may_teach` says whether the page may change them by lessons."""
        self._indexes = indexes
        self._may_teach = may_teach
        self._query_images = QueryImages()

    def summaries(self) -> list[Summary]:
        return [index.summary() for index in self._indexes]

    def search(self, parameters: Parameters) -> dict[str, Any]:
        """Hits of a query.

        Raises:
            NotFound: the item or image to search by is not there (any more).
            UserError: a parameter, filter or image that cannot be used.
        """
        index = self._index(parameters)
        like, image = parameters.key("like"), parameters.key("image")
        query = parameters.query(
            like=self._items(index, like)[0].id if like else None, image=self._kept(image) if image else None
        )
        started = time.perf_counter()
        answer = index.searcher.search(query)
        return page_answer(answer, query.limit, 1000 * (time.perf_counter() - started))

    def facets(self, parameters: Parameters) -> dict[str, Any]:
        """Counts of the folders, years and kinds of all items, and of the splits of a run's dataset."""
        index = self._index(parameters)
        return {**facets_json(index.searcher.facets()), "splits": index.splits()}

    def item(self, parameters: Parameters, key: str) -> dict[str, Any]:
        """One item with similar ones."""
        index = self._index(parameters)
        items = self._items(index, key)
        similar = index.searcher.search(Query(like=items[0].id, by="vector", limit=SIMILAR))
        return page_item(items, similar)

    def weights(self, parameters: Parameters, key: str) -> list[dict[str, Any]]:
        """The weight of each word of the texts ``text=...`` for one item."""
        index = self._index(parameters)
        item = self._items(index, key)[0]
        texts = parameters.texts("text")
        if len(texts) > MAX_WEIGHED:
            raise WrongParameter(f"{len(texts)} texts; at most {MAX_WEIGHED} are weighed in one request")
        vector = index.vector(item)
        return [page_words(word_changes(text[:TEXT_LETTERS], vector, index.embed)) for text in texts]

    def thumbnail(self, parameters: Parameters, key: str) -> tuple[bytes, str]:
        index = self._index(parameters)
        image = index.thumbnail(key)
        if image is None:
            raise NotFound(f"{index.folder.name} has no thumbnail of {key}")
        return shown(image)

    def image(self, parameters: Parameters, key: str) -> tuple[bytes, str]:
        """The original of an item, from the first of its places that has it."""
        reason: NotShown | None = None
        for item in self._items(self._index(parameters), key):
            try:
                return original(item)
            except NotShown as error:
                reason = reason or error
        raise reason or NotFound(key)

    def add_query_image(self, image: bytes) -> dict[str, str]:
        """Keep an image to search by; its key names it in searches.

        Raises:
            WrongParameter: it is no image.
        """
        try:
            shown(image)
        except NotShown as error:
            raise WrongParameter(str(error)) from None
        return {"key": self._query_images.add(image)}

    def query_image(self, key: str) -> tuple[bytes, str]:
        return shown(self._kept(key))

    def lessons(self, parameters: Parameters) -> dict[str, Any]:
        """The lessons of an index, the one in progress, and how the last one ended."""
        index = self._index(parameters)
        lessons, cannot = index.taught()
        return page_lessons(lessons, cannot if self._may_teach else ELSEWHERE, *index.lessons.progress())

    def teach(self, parameters: Parameters, body: Body) -> dict[str, Any]:
        """Begin a lesson: ``{"name": NAME, "keys": [KEY, ...]}``.

        Raises:
            Busy: another lesson of the index is in progress.
            NotFound: an image that the index has not.
            WrongParameter: see `Body`, and an index that cannot learn.
        """
        index = self._taught_index(parameters)
        if cannot := index.taught()[1]:
            raise WrongParameter(cannot)
        name = body.text("name", MAX_NAME)
        index.lessons.teach(name, [self._items(index, key)[0].id for key in body.keys("keys", MOST_IMAGES)])
        return self.lessons(parameters)

    def undo(self, parameters: Parameters, body: Body) -> dict[str, Any]:
        """Begin to undo a lesson: ``{"number": NUMBER}``; errors as `teach`."""
        index, number = self._taught_index(parameters), body.number("number")
        found = [lesson for lesson in index.taught()[0] if lesson.number == number]
        if not found:
            raise NotFound(f"{index.folder.name} has no lesson {number}; it may have been undone already")
        index.lessons.undo(number, found[0].name)
        return self.lessons(parameters)

    def _taught_index(self, parameters: Parameters) -> SearchedIndex:
        if not self._may_teach:
            raise WrongParameter(ELSEWHERE)
        return self._index(parameters)

    def _kept(self, key: str) -> bytes:
        image = self._query_images.get(key)
        if image is None:
            raise NotFound("the image to search by was given to an earlier start of this server; give it again")
        return image

    def _index(self, parameters: Parameters) -> SearchedIndex:
        number = parameters.number("index", 0, 10**6)
        if number >= len(self._indexes):
            raise NotFound(f"there is no index {number}; this page shows {len(self._indexes)}, from 0 on")
        return self._indexes[number]

    def _items(self, index: SearchedIndex, key: str) -> list[Item]:
        items = index.find(key)
        if not items:
            raise NotFound(f"{index.folder.name} has no item {key}; it may have been removed")
        return items
