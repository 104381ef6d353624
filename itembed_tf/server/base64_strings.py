"""Base64 as TF Serving decodes it: with or without padding, and with white space anywhere."""

from __future__ import annotations

import binascii

_SLICE = 2**20  # characters that are decoded in one call, which other threads have to wait for
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_WHITE_SPACE = b" \t\n\v\f\r"


def decode_base64(encoded: bytes | memoryview) -> bytes:
    """Decode standard base64; "=" or "." is the padding, and may be absent.

    Raises:
        ValueError: another character, a wrong number of them, or wrong padding.
    """
    parts, rest = [], b""
    for start in range(0, len(encoded), _SLICE):
        piece = rest + bytes(encoded[start : start + _SLICE]).translate(None, _WHITE_SPACE)
        whole = len(piece) // 4 * 4 if start + _SLICE < len(encoded) else 0
        parts.append(_decode(piece[:whole]))
        rest = piece[whole:]
    if len(rest) % 4 == 0 and rest[-1:] in (b"=", b"."):
        rest = rest[:-2] if rest[-2:-1] in (b"=", b".") else rest[:-1]
    return b"".join([*parts, _decode(rest)])


def _decode(piece: bytes) -> bytes:
    if piece.translate(None, _ALPHABET):
        raise ValueError("a character that is not in base64's alphabet")
    return binascii.a2b_base64(piece + b"=" * (-len(piece) % 4))  # binascii.Error is a ValueError
