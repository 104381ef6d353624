"""An HTML page as a list of elements, for tests; raises for tags that are not closed in order."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """The page as a flat list of elements: tag, attributes ("at"), text with descendants, and ancestors ("inside")."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[dict[str, Any]] = []
        self.open: list[dict[str, Any]] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open, f"never closed: {[element['tag'] for element in self.open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = {"tag": tag, "at": dict(attrs), "text": "", "inside": list(self.open)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1]["tag"] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element["text"] += data

    def find(self, tag: str, inside: dict[str, Any] | None = None, **attributes: str) -> list[dict[str, Any]]:
        """Elements of a tag, within an element, whose attributes contain the given words (class_="a")."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            element
            for element in self.elements
            if element["tag"] == tag
            and (inside is None or any(holder is inside for holder in element["inside"]))
            and all(value in (element["at"].get(name) or "").split() for name, value in wanted.items())
        ]

    def section(self, name: str) -> dict[str, Any]:
        """The section with this id."""
        (section,) = self.find("section", id=name)
        return section
