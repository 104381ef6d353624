"""Our clients: gRPC and REST, blocking and asyncio, and the command line."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

import itembed_tf.client.__main__ as program
from itembed_tf.client import AsyncClient, Client, ServingError
from itembed_tf.client.calls import TensorInfo

TEXTS = ["a dog runs", "the man on a red bike", ""] * 30


@pytest.fixture(scope="module", params=["grpc", "rest"])
def address(request, target) -> str:
    return getattr(target, request.param)


@pytest.fixture(scope="module")
def expected(target, images):
    with Client(target.grpc) as client:
        return client.embed_texts(TEXTS[:3]), client.embed_images(images)


def test_blocking_client(address, images, expected):
    with Client(address) as client:
        texts = client.embed_texts(TEXTS)
        assert texts.embedding.dtype == np.float32 and texts.known_words.dtype == np.int32
        np.testing.assert_allclose(texts.embedding[:3], expected[0].embedding, atol=1e-5)
        np.testing.assert_allclose(texts.embedding[87:], expected[0].embedding, atol=1e-5)
        np.testing.assert_allclose(client.embed_images(images), expected[1], atol=1e-5)
        info = client.metadata("text_encoder")
        assert info["serving_default"].inputs == {"text": TensorInfo("object", (-1,))}
        assert info["serving_default"].outputs["known_words"] == TensorInfo("int32", (-1,))
        states = client.status("text_encoder")
        assert "AVAILABLE" in states.values()
        ids = np.ones((2, info["ids"].inputs["ids"].shape[1]), np.int32)
        number = max(number for number, state in states.items() if state == "AVAILABLE")
        assert client.embed_ids(ids, version=number).known_words.tolist() == [ids.shape[1]] * 2
        raw = client.predict("text_encoder", {"text": ["a dog runs", b"\xff dog"]})
        assert raw["known_words"].tolist()[0] == texts.known_words[0]


def test_async_client(address, images, expected):
    async def ask():
        async with AsyncClient(address) as client:
            texts, embedding = await asyncio.gather(client.embed_texts(TEXTS), client.embed_images(images))
            np.testing.assert_allclose(texts.embedding[87:], expected[0].embedding, atol=1e-5)
            np.testing.assert_allclose(embedding, expected[1], atol=1e-5)
            assert "AVAILABLE" in (await client.status("text_encoder")).values()
            assert "ids" in await client.metadata("text_encoder")
            with pytest.raises(ServingError, match="items 32 to 40"):
                await client.embed_images([*images[:1] * 40, b"not an image"])

    asyncio.run(ask())


def test_error_codes_are_the_same(address, images):
    with Client(address) as client:
        for call, code in (
            (lambda: client.predict("half", {"x": [1.0]}), "NOT_FOUND"),
            (lambda: client.embed_texts(["a"], version=987654321), "NOT_FOUND"),
            (lambda: client.embed_texts(["a"], label="no-such-label"), "INVALID_ARGUMENT"),
            (lambda: client.embed_texts([]), "INVALID_ARGUMENT"),
            (lambda: client.embed_images([images[0], b"not an image"]), "INVALID_ARGUMENT"),
            (lambda: client.status("half"), "NOT_FOUND"),
        ):
            with pytest.raises(ServingError) as caught:
                call()
            assert caught.value.code == code


def test_command_line(address, images, tmp_path, capsys):
    files = []
    for i, data in enumerate(images[:3]):
        (tmp_path / f"{i}.jpg").write_bytes(data)
        files.append(str(tmp_path / f"{i}.jpg"))
    out = tmp_path / "embeddings.npz"
    assert program.main([address, "text", "a dog runs", "zzqx", "--out", str(out)]) == 0
    output = capsys.readouterr().out
    assert "NO known word" in output and str(out) in output
    with np.load(out) as arrays:
        assert arrays["name"].tolist() == ["a dog runs", "zzqx"] and arrays["known_words"][1] == 0
        assert arrays["embedding"].shape[0] == 2
    assert program.main([address, "image", *files]) == 0
    assert files[2] in capsys.readouterr().out
    assert program.main([address, "rank", "a dog runs", *files]) == 0
    cosines = [float(line.split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert len(cosines) == 3 and cosines == sorted(cosines, reverse=True)
    assert program.main([address, "status"]) == 0
    assert "image_bytes object [-1] -> embedding float32" in capsys.readouterr().out
    assert program.main([address, "rank", "zzqx", *files]) == 1
    assert "no word of 'zzqx' is in" in capsys.readouterr().err
    assert program.main([address, "image", str(tmp_path / "gone.jpg")]) == 1
    assert "gone.jpg" in capsys.readouterr().err
