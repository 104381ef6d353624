"""`itembed mcp` over standard input and output, called by the client of the SDK."""

from __future__ import annotations

import base64
import io
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from itembed_tf import cli, extras
from tests.support.small_index import new_item, write_index

mcp = pytest.importorskip("mcp", reason="the extra mcp is not installed")

ROOT = Path(__file__).parents[1]


def thumbnail(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (96, 64), colour).save(file, "JPEG")
    return file.getvalue()


RED = ("a red ball", "x" * 500)
ITEMS = [
    new_item("red.jpg", [1, 0], date="2020-05-01T12:00:00", captions=RED, thumbnail=thumbnail("red")),
    new_item("a/blue.jpg", [1, 1], date="2022-05-01T12:00:00", captions=("a blue ball",), thumbnail=thumbnail("blue")),
    new_item("a/text", [0, 1], kind="text", captions=("a sentence of its own",), thumbnail=None),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mcp") / "photos.index"
    write_index(folder, ITEMS, dimensions=2)
    return folder


def with_client(folder: Path, use: Callable[[Any], Awaitable[None]]) -> None:
    """Start the server as an agent does, and call it by the SDK's client."""
    import anyio

    async def run() -> None:
        command = ["-m", "itembed_tf", "mcp", str(folder)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        parameters = mcp.StdioServerParameters(command=sys.executable, args=command, env=environment)
        async with mcp.Client(mcp.stdio_client(parameters)) as client:
            await use(client)

    anyio.run(run)


def test_an_agent_searches_filters_pages_and_looks(folder: Path) -> None:
    async def use(client: Any) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"search", "similar", "filters", "contact_sheet"}
        assert all(tool.annotations.read_only_hint and tool.description for tool in tools.values())
        assert tools["search"].input_schema["properties"]["by"]["enum"] == ["both", "vector", "text"]

        async def call(tool: str, **arguments: Any) -> Any:
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, result.content
            return result.structured_content

        answer = await call("search", text="ball", by="text", where="year >= 2021")
        assert [hit["name"] for hit in answer["hits"]] == ["blue.jpg"] and answer["matching"] == 1
        assert answer["hits"][0]["found_by"] == ["caption"] and "score" not in answer["hits"][0]
        first = await call("similar", id=1, limit=1)
        assert first["hits"][0]["id"] == 2 and first["hits"][0]["score"] == pytest.approx(0.707, abs=1e-3)
        second = await call("similar", id=1, limit=1, offset=first["next_offset"])
        assert second["hits"][0]["id"] == 3
        everything = await call("search")
        assert [hit["id"] for hit in everything["hits"]] == [2, 1, 3] and "next_offset" not in everything
        assert len(everything["hits"][1]["captions"][1]) == 300, "a long caption is cut"
        facets = await call("filters")
        assert facets["folders"] == [["/photos/a", 2], ["/photos", 1]] and "year" in facets["fields"]

        result = await client.call_tool("contact_sheet", {"ids": [2, 1, 3, 99]})
        assert result.content[0].mime_type == "image/png"
        sheet = Image.open(io.BytesIO(base64.b64decode(result.content[0].data)))
        assert sheet.size == (8 + 4 * 200, 8 + 220)
        blue, red = sheet.getpixel((104, 104)), sheet.getpixel((304, 104))
        assert blue[2] > 200 > 60 > blue[0] and red[0] > 200 > 60 > red[2], "in the order of the ids"

        for tool, arguments, message in (
            ("search", {"where": "yeer = 1"}, "did you mean 'year'?"),
            ("search", {"limit": 51}, "limit is 51; it must be 1 to 50"),
            ("similar", {"id": 99}, "the index has no item 99"),
            ("contact_sheet", {"ids": []}, "has 1 to 60 items, not 0"),
            ("search", {"by": "magic"}, "by"),
        ):
            result = await client.call_tool(tool, arguments)
            assert result.is_error and message in result.content[0].text

    with_client(folder, use)


def test_a_folder_without_an_index_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["mcp", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and "is not an index" in printed.err


def test_without_the_extra_the_command_names_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert cli.main(["mcp", str(folder)]) == 1
    assert "pip install 'itembed_tf[mcp]'" in capsys.readouterr().err
