"""Difficult texts with their expected words (golden/sentences.json), and a generator of more."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "golden" / "sentences.json"
FRAGMENTS = (
    "a the two dogs man's don't black-and-white café cafe\u0301 Straße İZMİR ΟΔΥΣΣΕΥΣ 3.5 U.S.A. 👩🏽\u200d🚀 1️⃣ ❤️ "
    "ﬁsh ５ｋｍ رجلٌ שָׁלוֹם दौड़ क्\u200dष 犬がボールを 一个男人 หมาวิ่ง 개가 Ёлка Người \u0301 \u0000 \u00ad \u200b "
    "\u3099 \ufeff ½ ㍿ Ⅳ"
)
PIECES = FRAGMENTS.split(" ")
BYTES = (b"\xff\xfe", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\x80")


def golden(tokenizer: str) -> list[tuple[str, str | bytes, list[str]]]:
    """Name, text and expected words (lower-cased) of each."""
    return [
        (entry["name"], _sentence(entry), _expected(entry, tokenizer)) for entry in json.loads(FILE.read_text("utf-8"))
    ]


def _sentence(entry: dict[str, Any]) -> str | bytes:
    return base64.b64decode(entry["base64"]) if "base64" in entry else entry["text"] * entry.get("times", 1)


def _expected(entry: dict[str, Any], tokenizer: str) -> list[str]:
    words = entry[tokenizer] * entry.get("times", 1)
    return ["".join(words)] if entry.get("joined") else words


def generated(count: int, seed: int) -> list[bytes]:
    """Random texts of fragments, arbitrary characters and invalid bytes, with and without spaces; deterministic."""
    draw = random.Random(seed)

    def piece() -> bytes:
        kind = draw.random()
        if kind < 0.8:
            return draw.choice(PIECES).encode()
        if kind < 0.95:
            plane = draw.choice((0x250, 0x3000, 0x10000, 0x20000))
            return chr(draw.randrange(plane)).encode("utf-8", "replace")
        return draw.choice(BYTES)

    return [
        b"".join(piece() + draw.choice((b"", b" ", b" ", b" ")) for _ in range(draw.randrange(25)))
        for _ in range(count)
    ]
