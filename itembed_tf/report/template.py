"""A template and what it shows -> the text of a page: one file with everything inside, that asks for nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent


def render(folder: Path, **shown: Any) -> str:
    """`folder`/page.html, whose style is style.css of this folder and, below it, of its own.

    Args:
        folder: of the template. It can include the templates of this folder, and begins with head.html.
        shown: what the template names; text in it is escaped, `Markup` is not.
    """
    pages = Environment(loader=FileSystemLoader([folder, HERE]), autoescape=True, undefined=StrictUndefined)
    pages.trim_blocks = pages.lstrip_blocks = True
    styles = [(place / "style.css").read_text(encoding="utf-8").strip() for place in dict.fromkeys([HERE, folder])]
    return pages.get_template("page.html").render(style=Markup("\n".join(styles)), **shown)  # ours, no user text in it
