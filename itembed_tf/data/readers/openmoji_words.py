"""What an emoji is called and what it is a variant of: names, keyword phrases and the base of an OpenMoji id.

An id is what OpenMoji's files are named by: code points in hexadecimal, joined by "-" ("1F44B-1F3FF").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

TONES = ("1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF")
HAIR = ("1F9B0", "1F9B1", "1F9B2", "1F9B3")
GENDER = ("2640", "2642")
FACING = ("27A1", "2B05")
PERSON = "1F9D1"
ADULTS = ("1F468", "1F469", PERSON)
MEMBERS = (*ADULTS, "1F466", "1F467", "1F9D2")
VARIATION, JOINER = "FE0F", "200D"

# What two joined people do -> the emoji that Unicode had for it first. A kiss holds a heart too, so it stands first.
TOGETHER = {"1F48B": "1F48F", "2764": "1F491", "1F430": "1F46F", "1FAEF": "1F93C", "1F91D": "1F46B"}
# Variants whose code points do not tell: gender is in the emoji itself, or the emoji is a part of others.
SAME_BASE = (
    (*TONES, *HAIR),
    (*GENDER, "26A7"),
    (PERSON, "1F471", "1F9D4"),  # blond hair and beard, beside the hair that is joined on
    ("1F466", "1F467", "1F9D2"),  # boy, girl, child
    ("1F474", "1F475", "1F9D3"),  # old man, old woman, older person
    ("1F46B", "1F46C", "1F46D"),  # holding hands
    ("1F934", "1F478", "1FAC5"),  # prince, princess, person with crown
    ("1F385", "1F936", f"{PERSON}-{JOINER}-1F384"),  # Santa, Mrs. and Mx Claus
    ("1F930", "1FAC3", "1FAC4"),  # pregnant woman, man, person
    ("1F57A", "1F483"),  # man and woman dancing
    ("1F6B9", "1F6BA"),  # men's and women's room
    # Drawn alike, or as mirror images, which the encoders do not tell apart: what `python -m itembed_tf.doctor` found
    # on two sides of the split.
    ("1F91A", "270B"),  # raised back of hand, raised hand
    ("1FAF1", "1FAF2"),  # rightwards, leftwards hand
    ("1FAF7", "1FAF8"),  # leftwards, rightwards pushing hand
    ("1F31B", "1F31C"),  # quarter moon faces
    ("1F55F", "1F563"),  # four-thirty, eight-thirty
    ("1F311", "26AB"),  # new moon, black circle
    ("1F315", "1F7E1"),  # full moon, yellow circle
    ("1F3FF", "1F7EB"),  # dark skin tone, brown square
    ("1F1E7-1F1FB", "1F1F3-1F1F4"),  # flags of Bouvet Island and Norway
    ("1F1E8-1F1EE", "1F1EE-1F1EA"),  # flags of Côte d'Ivoire and Ireland
)


def characters(id: str) -> str:
    """The emoji that an id stands for."""
    return "".join(chr(int(point, 16)) for point in id.split("-"))


def base_of(id: str) -> str:
    """The id of the neutral emoji that this one is a variant of, without U+FE0F; its own if it is a variant of none.

    Skin tones, gender, hair and direction are dropped, man and woman become person, and people who do something
    together (families, couples, wrestlers, bunny ears, handshakes) go by that. Any other joined sequence goes with its
    first emoji (black cat with cat, pirate flag with black flag), which it is drawn like.
    """
    parts = [[p for p in part.split("-") if p not in (VARIATION, *TONES)] for part in f"-{id}-".split(f"-{JOINER}-")]
    first, *others = ["-".join(p for p in part if p) for part in parts]
    if not others:
        return first or id
    others = [part for part in others if part not in (*GENDER, *FACING, *HAIR)]
    if first == "1FAF1" and others == ["1FAF2"]:
        return "1F91D"  # a handshake of two tones is joined from two hands
    if first not in MEMBERS:
        return first
    for act, base in TOGETHER.items():
        if act in others and len(others) > 1:
            return base
    if others and all(part in MEMBERS for part in others):
        return "1F46A"
    return f"-{JOINER}-".join([PERSON if first in ADULTS else first, *others])


def base_keys(ids: Iterable[str], twins: Iterable[Iterable[str]]) -> dict[str, str]:
    """For each id, one key shared by everything that must lie in the same split.

    Args:
        ids: all ids.
        twins: sets of ids drawn alike; they join their bases.

    Returns:
        id -> the least base id of all that are joined with its own.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    ids = list(ids)
    # Man and woman alone are variants of a person too, though nothing is joined to them.
    base = {id: PERSON if base_of(id) in ADULTS else base_of(id) for id in ids}
    for same in [*SAME_BASE, *([base[id] for id in set_] for set_ in twins)]:
        for key in same[1:]:
            low, high = sorted((root(same[0]), root(key)))
            parent[high] = low
    return {id: root(base[id]) for id in ids}


class EmojiWords:
    """Names and keyword phrases of emoji, from the `emoji` and `em_keyboard` packages.

    Args:
        emoji_data: `emoji.EMOJI_DATA`: character -> {"en": ":name:", "alias": [":name:", ...]}.
        keywords: em_keyboard's emojis.json: character -> [name, keyword, ...].
    """

    def __init__(self, emoji_data: Mapping[str, Mapping[str, Any]], keywords: Mapping[str, list[str]]) -> None:
        self._data: dict[str, Mapping[str, Any]] = {}
        for character, entry in emoji_data.items():
            # One emoji stands there with and without U+FE0F: the files of drawings and keywords differ in where it is.
            self._data.setdefault(_plain(character), entry)
        self._keywords = {_plain(character): words[1:] for character, words in keywords.items()}

    def name(self, id: str) -> str:
        """The CLDR name with spaces, "flag: " put back where EMOJI_DATA drops it; "" if the emoji has none."""
        entry = self._data.get(_plain(characters(id)))
        if entry is None:
            return ""
        name = _readable(entry["en"])
        return f"flag: {name}" if _is_flag(id) else name

    def phrases(self, id: str) -> list[str]:
        """Aliases, and phrases of two or three keywords; each carries what tells the variant from its base.

        Keywords are the emoji's own or, for the many variants that have none, those of its nearest relative. Without
        the words of tone and gender one phrase would be shared by hundreds of drawings.
        """
        mark = _left_over(self.name(id), self.name(base_of(id)))
        sources = [_plain(characters(relative)) for relative in _relatives(id)]
        own, base = (self._data.get(source, {}).get("alias") or [] for source in (sources[0], sources[-1]))
        aliases = _spoken([_readable(alias) for alias in own or base])
        keywords = next((self._keywords[source] for source in sources if source in self._keywords), [])
        words = [word for word in map(_readable, _spoken(keywords)) if word not in mark.split()]
        phrases = [" ".join(words[start :: _parts(words)]) for start in range(_parts(words))]
        others = phrases if own else [*aliases, *phrases]  # its own aliases tell the variant already
        marked = [f"{phrase} {mark}".strip() for phrase in others]
        return list(dict.fromkeys([*aliases, *marked] if own else marked))


def _plain(character: str) -> str:
    return character.replace(chr(int(VARIATION, 16)), "")


def _readable(code: str) -> str:
    return " ".join(code.strip(":").replace("_", " ").split())  # some keywords hold no-break spaces


def _spoken(words: list[str]) -> list[str]:
    """The words that a person would type: no smileys such as ":d" and "<3"."""
    return list(dict.fromkeys(word for word in words if re.match(r"\w", word) and ":" not in word))


def _parts(words: list[str]) -> int:
    """How many phrases of two or three words hold every word once."""
    return -(-len(words) // 3)


def _is_flag(id: str) -> bool:
    points = [int(point, 16) for point in id.split("-")]
    country = len(points) == 2 and all(0x1F1E6 <= point <= 0x1F1FF for point in points)
    return country or (points[0] == 0x1F3F4 and points[-1] == 0xE007F)


def _left_over(name: str, base: str) -> str:
    """The words of `name` that `base` does not have, in order: "woman", "dark skin tone"."""
    known = base.split()
    rest = []
    for word in name.split():
        if word in known:
            known.remove(word)
        else:
            rest.append(word)
    return " ".join(rest)


def _relatives(id: str) -> list[str]:
    """The id itself, then without tones, without direction, and without gender too: the base."""
    untoned = "-".join(point for point in id.split("-") if point not in TONES)
    unturned = re.sub(rf"-{JOINER}-({'|'.join(FACING)})(-{VARIATION})?$", "", untoned)
    return [relative for relative in (id, untoned, unturned, base_of(id)) if relative]
