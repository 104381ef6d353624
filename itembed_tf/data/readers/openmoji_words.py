"""Names, keyword phrases and base emoji of OpenMoji ids.

An id is the name of an OpenMoji file: code points in hexadecimal, joined by "-" ("1F44B-1F3FF").
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

# What two people do together, and the emoji that Unicode first had for it. A kiss, which also has a heart, comes first.
TOGETHER = {"1F48B": "1F48F", "2764": "1F491", "1F430": "1F46F", "1FAEF": "1F93C", "1F91D": "1F46B"}
# Variants that their code points do not show: gender is in the emoji itself, or the emoji is a part of others.
SAME_BASE = (
    (*TONES, *HAIR),
    (*GENDER, "26A7"),
    (PERSON, "1F471", "1F9D4"),  # blond hair and beard, in addition to HAIR
    ("1F466", "1F467", "1F9D2"),  # boy, girl, child
    ("1F474", "1F475", "1F9D3"),  # old man, old woman, older person
    ("1F46B", "1F46C", "1F46D"),  # holding hands
    ("1F934", "1F478", "1FAC5"),  # prince, princess, person with crown
    ("1F385", "1F936", f"{PERSON}-{JOINER}-1F384"),  # Santa, Mrs. and Mx Claus
    ("1F930", "1FAC3", "1FAC4"),  # pregnant woman, man, person
    ("1F57A", "1F483"),  # man and woman dancing
    ("1F6B9", "1F6BA"),  # men's and women's room
    # Near-duplicates in several splits, found by `itembed doctor`: alike, or mirror images, which the encoders do not
    # distinguish.
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
    """The emoji of an id, as text."""
    return "".join(chr(int(point, 16)) for point in id.split("-"))


def base_of(id: str) -> str:
    """The id of the neutral emoji that this one is a variant of, without U+FE0F; its own id if there is none.

    Skin tones, gender, hair and direction are removed, man and woman become person, and people who do something
    together (families, couples, wrestlers, bunny ears, handshakes) become the emoji of that. Any other ZWJ sequence
    becomes its first emoji, which it resembles (black cat: cat; pirate flag: black flag).
    """
    parts = [[p for p in part.split("-") if p not in (VARIATION, *TONES)] for part in f"-{id}-".split(f"-{JOINER}-")]
    first, *others = ["-".join(p for p in part if p) for part in parts]
    if not others:
        return first or id
    others = [part for part in others if part not in (*GENDER, *FACING, *HAIR)]
    if first == "1FAF1" and others == ["1FAF2"]:
        return "1F91D"  # a handshake of two skin tones is a sequence of two hands
    if first not in MEMBERS:
        return first
    for act, base in TOGETHER.items():
        if act in others and len(others) > 1:
            return base
    if others and all(part in MEMBERS for part in others):
        return "1F46A"
    return f"-{JOINER}-".join([PERSON if first in ADULTS else first, *others])


def base_keys(ids: Iterable[str], identical: Iterable[Iterable[str]]) -> dict[str, str]:
    """The key of each id, equal for all ids that must be in the same split.

    Args:
        ids: all ids.
        identical: sets of ids with identical images; their bases are united.

    Returns:
        For each id, the smallest base id of the united set that contains its own.
    """
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    ids = list(ids)
    # Man and woman alone are variants of a person too, although they are no sequences.
    base = {id: PERSON if base_of(id) in ADULTS else base_of(id) for id in ids}
    for same in [*SAME_BASE, *([base[id] for id in set_] for set_ in identical)]:
        for key in same[1:]:
            low, high = sorted((root(same[0]), root(key)))
            parent[high] = low
    return {id: root(base[id]) for id in ids}


class EmojiWords:
    """Names and keyword phrases of emoji, from the packages `emoji` and `em-keyboard`.

    Args:
        emoji_data: `emoji.EMOJI_DATA`: character -> {"en": ":name:", "alias": [":name:", ...]}.
        keywords: emojis.json of `em-keyboard`: character -> [name, keyword, ...].
    """

    def __init__(self, emoji_data: Mapping[str, Mapping[str, Any]], keywords: Mapping[str, list[str]]) -> None:
        self._data: dict[str, Mapping[str, Any]] = {}
        for character, entry in emoji_data.items():
            # Some emoji are in there with and without U+FE0F; images and keywords differ in which form they use.
            self._data.setdefault(_plain(character), entry)
        self._keywords = {_plain(character): words[1:] for character, words in keywords.items()}

    def name(self, id: str) -> str:
        """The CLDR name with spaces, with "flag: " which EMOJI_DATA lacks; "" if the emoji has none."""
        entry = self._data.get(_plain(characters(id)))
        if entry is None:
            return ""
        name = _readable(entry["en"])
        return f"flag: {name}" if _is_flag(id) else name

    def phrases(self, id: str) -> list[str]:
        """Aliases, and phrases of two or three keywords, with the words that distinguish the variant from its base.

        Keywords are the emoji's own or, for the many variants that have none, those of its nearest relative. Without
        the words for skin tone and gender, hundreds of emoji would share a phrase.
        """
        variant = _extra_words(self.name(id), self.name(base_of(id)))
        sources = [_plain(characters(relative)) for relative in _relatives(id)]
        own, base = (self._data.get(source, {}).get("alias") or [] for source in (sources[0], sources[-1]))
        aliases = _spoken([_readable(alias) for alias in own or base])
        keywords = next((self._keywords[source] for source in sources if source in self._keywords), [])
        words = [word for word in map(_readable, _spoken(keywords)) if word not in variant.split()]
        phrases = [" ".join(words[start :: _parts(words)]) for start in range(_parts(words))]
        others = phrases if own else [*aliases, *phrases]  # its own aliases have these words
        specific = [f"{phrase} {variant}".strip() for phrase in others]
        return list(dict.fromkeys([*aliases, *specific] if own else specific))


def _plain(character: str) -> str:
    return character.replace(chr(int(VARIATION, 16)), "")


def _readable(code: str) -> str:
    return " ".join(code.strip(":").replace("_", " ").split())  # some keywords have no-break spaces


def _spoken(words: list[str]) -> list[str]:
    """Words without smileys such as ":d" and "<3"."""
    return list(dict.fromkeys(word for word in words if re.match(r"\w", word) and ":" not in word))


def _parts(words: list[str]) -> int:
    """Number of phrases of at most three words that use every word once."""
    return -(-len(words) // 3)


def _is_flag(id: str) -> bool:
    points = [int(point, 16) for point in id.split("-")]
    country = len(points) == 2 and all(0x1F1E6 <= point <= 0x1F1FF for point in points)
    return country or (points[0] == 0x1F3F4 and points[-1] == 0xE007F)


def _extra_words(name: str, base: str) -> str:
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
    """The id, then without skin tones, then without direction, then its base, the nearest relative first."""
    untoned = "-".join(point for point in id.split("-") if point not in TONES)
    unturned = re.sub(rf"-{JOINER}-({'|'.join(FACING)})(-{VARIATION})?$", "", untoned)
    return [relative for relative in (id, untoned, unturned, base_of(id)) if relative]
