"""Base64 in JSON strings: what TF Serving takes, and what it refuses."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from itembed_tf.server import base64_strings
from itembed_tf.server.base64_strings import decode_base64

DATA = np.random.default_rng(0).bytes(3000)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 2999, 3000])
@pytest.mark.parametrize("size", [1, 2, 7, 2**20])
def test_padding_and_white_space_are_optional(length, size, monkeypatch):
    monkeypatch.setattr(base64_strings, "_SLICE", size)
    data = DATA[:length]
    encoded = base64.b64encode(data)
    variants = [encoded, encoded.rstrip(b"="), encoded.replace(b"=", b"."), base64.encodebytes(data), b" " + encoded]
    variants += [base64.encodebytes(data).replace(b"\n", b"\\n"), encoded.replace(b"/", b"\\/")]
    variants += [encoded.replace(b"+", b"\\u002B").replace(b"=", b"\\u003d")]  # as .NET and Gson write it
    for variant in variants:
        assert decode_base64(variant) == decode_base64(memoryview(variant)) == data


@pytest.mark.parametrize(
    "wrong", [b"A", b"AB=", b"ABC==", b"====", b"A===", b"ABCD=", b"AB!D", b"AB=C", b"YQ==YQ==", b"_-__", b"A\\x41A"]
)
def test_what_is_not_base64(wrong):
    with pytest.raises(ValueError, match=r"base64|padding|valid|data characters"):
        decode_base64(wrong)
