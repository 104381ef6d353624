"""Base64 in JSON strings, as TF Serving decodes it: with or without padding, and with white space anywhere."""

from __future__ import annotations

import binascii
import re

_SLICE = 2**20  # characters that are decoded in one call, which other threads have to wait for
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_WHITE_SPACE = b" \t\n\v\f\r"
_ESCAPE = re.compile(rb"\\(?:u00([0-9a-fA-F]{2})|([/nrt]))")
_LONGEST_ESCAPE = 6


def decode_base64(encoded: bytes | memoryview) -> bytes:
    """Decode standard base64; "=" or "." is the padding, and may be absent.

    Args:
        encoded: ASCII, which may contain JSON's escapes: some writers escape "/", "+" and "=".

    Raises:
        ValueError: another character, a wrong number of them, or wrong padding.
    """
    parts, rest, escaped = [], b"", b""
    for start in range(0, len(encoded), _SLICE):
        last = start + _SLICE >= len(encoded)
        piece, escaped = _unescape(escaped + bytes(encoded[start : start + _SLICE]), last)
        piece = rest + piece.translate(None, _WHITE_SPACE)
        whole = 0 if last else max(len(piece) // 4 * 4 - 4, 0)  # the last four may contain the padding
        parts.append(_decode(piece[:whole]))
        rest = piece[whole:]
    if len(rest) % 4 == 0 and rest[-1:] in (b"=", b"."):
        rest = rest[:-2] if rest[-2:-1] in (b"=", b".") else rest[:-1]
    return b"".join([*parts, _decode(rest)])


def _unescape(piece: bytes, last: bool) -> tuple[bytes, bytes]:
    """The characters of a piece, and the beginning of an escape at its end."""
    if b"\\" not in piece:
        return piece, b""
    cut = piece.rfind(b"\\", max(len(piece) - _LONGEST_ESCAPE + 1, 0))
    left = piece[cut:] if cut >= 0 and not last else b""
    return _ESCAPE.sub(_character, piece[: len(piece) - len(left)].replace(b"\\n", b"")), left


def _character(escape: re.Match[bytes]) -> bytes:
    if escape[1]:
        return bytes.fromhex(escape[1].decode("ascii"))
    return b"/" if escape[2] == b"/" else b""


def _decode(piece: bytes) -> bytes:
    if piece.translate(None, _ALPHABET):
        raise ValueError("a character that is not in base64's alphabet")
    return binascii.a2b_base64(piece + b"=" * (-len(piece) % 4))  # binascii.Error is a ValueError
