"""HTML entities in captions, from web pages: ``black &amp; white`` becomes ``black & white``.

Captions are cleaned where they are read, and nowhere else: the exported graph and the tokenizers of the edge kit take
queries as they are, since people do not type entities, and their rules stay those of existing models.
"""

from __future__ import annotations

import html
import re
from dataclasses import replace
from html.entities import html5

from itembed_tf.data.readers.group import Group

ENTITY = re.compile("&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
TIMES = 3  # texts that passed through several programs are escaped several times: &amp;amp;


def plain_captions(group: Group) -> Group:
    """The group with the entities in its captions replaced; the same object where there are none."""
    captions = tuple(map(unescape, group.captions))
    return group if captions == group.captions else replace(group, captions=captions)


def unescape(text: str) -> str:
    """Replace HTML entities by their characters. Only those with a semicolon: "salt&pepper" has none."""
    for _ in range(TIMES):
        if "&" not in text:
            break
        text = ENTITY.sub(_character, text)
    return text


def _character(match: re.Match[str]) -> str:
    known = match[1].startswith("#") or f"{match[1]};" in html5
    return html.unescape(match[0]) if known else match[0]
