"""Rendering of self-contained HTML pages: one file with all styles and images inside, without network requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent


def render(folder: Path, **context: Any) -> str:
    """Render `folder`/page.html, with the style.css of this package followed by that of `folder`.

    Args:
        folder: of the template, which can include the templates of this package and begins with head.html.
        context: variables of the template; text is escaped, `Markup` is not.
    """
    pages = Environment(loader=FileSystemLoader([folder, HERE]), autoescape=True, undefined=StrictUndefined)
    pages.trim_blocks = pages.lstrip_blocks = True
    styles = [(place / "style.css").read_text(encoding="utf-8").strip() for place in dict.fromkeys([HERE, folder])]
    return pages.get_template("page.html").render(style=Markup("\n".join(styles)), **context)  # no user text in styles
