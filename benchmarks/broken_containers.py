"""Fault injection for WebDataset shards and Parquet files: damaged files, members, row groups and cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.breaking import Break, replace_by_dangling_link, replace_by_folder, rewrite
from benchmarks.miniatures import Miniature

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 1234\n"


def container_cases(copy: Miniature) -> Iterator[Break]:
    """All test cases of a container but those of the settings."""
    file = Path(copy.file).name

    def replaced(kind: str, change: Callable[[bytes], bytes], **result: Any) -> Break:
        return Break(kind, lambda root: rewrite(root / copy.file, change), result.pop("names", file), **result)

    yield Break("the file is missing", lambda root: (root / copy.file).unlink(), "no caption file")
    yield Break("a folder in place of the file", lambda root: replace_by_folder(root / copy.file), "no caption file")
    yield Break("a dangling link", lambda root: replace_by_dangling_link(root / copy.file), file)
    yield replaced("an empty file", lambda data: b"")
    yield replaced("an HTML page", lambda data: b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n")
    yield replaced("a zip archive", lambda data: b"PK\x03\x04\x14\x00" + bytes(range(256)) * 4)
    yield replaced("zero bytes", lambda data: bytes(4096))
    yield replaced("a Git LFS pointer", lambda data: POINTER)
    yield from _tar_cases(replaced) if copy.format == "tar" else _parquet_cases(copy)


def _tar_cases(replaced: Callable[..., Break]) -> Iterator[Break]:
    def change(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
        return lambda data: data.replace(old, new.ljust(len(old)), 1)

    yield replaced("gzip", lambda data: b"\x1f\x8b\x08" + data)
    yield replaced("a cut file", lambda data: data[: data.index(b"011.json") + 520], warns=True)
    yield replaced("a damaged header", change(b"003.jpg", b"###"), names="are no member", warns=True)
    yield replaced("an image without JSON", change(b"003.json", b""), names="no caption", warns=True)
    yield replaced("JSON that is none", change(b'{"caption"', b"{"), names="cannot be read", warns=True)
    yield replaced("a sample without a caption", change(b'"caption"', b'"sha"'), names="no caption", warns=True)
    yield replaced("a sample with an unknown split", change(b'"split": "train"', b'"split": "tra"'))
    yield replaced("a split that is a number", change(b'"split": "train"', b'"split": 7'))
    yield replaced("an image that is text", lambda data: data.replace(b"\xff\xd8", b"no"), names=".tar", in_images=True)


def _parquet_cases(copy: Miniature) -> Iterator[Break]:
    def changed(kind: str, change: Callable[[dict[str, list[Any]]], object], **result: Any) -> Break:
        def do(root: Path) -> None:
            import pyarrow
            from pyarrow import parquet

            columns = parquet.read_table(root / copy.file).to_pydict()
            change(columns)
            parquet.write_table(pyarrow.table(columns), root / copy.file, row_group_size=3)

        return Break(kind, do, result.pop("names", Path(copy.file).name), **result)

    def damage(root: Path) -> None:
        from pyarrow import parquet

        group = parquet.ParquetFile(root / copy.file).metadata.row_group(1)
        column = next(group.column(i) for i in range(group.num_columns) if "caption" in group.column(i).path_in_schema)
        start = column.dictionary_page_offset or column.data_page_offset
        size = column.total_compressed_size
        rewrite(root / copy.file, lambda data: data[:start] + b"\xff" * size + data[start + size :])

    def cell(column: str, value: Any) -> Callable[[dict[str, list[Any]]], object]:
        return lambda columns: columns[column].__setitem__(0, value)

    yield Break("half of the file", lambda root: rewrite(root / copy.file, lambda d: d[: len(d) // 2]), copy.file)
    yield Break("a damaged row group", damage, "row groups are damaged", warns=True)
    yield changed("no caption column", lambda columns: columns.pop("caption"))
    yield changed("no image column", lambda columns: columns.pop("image"))
    yield changed("an empty caption", cell("caption", []), names="captions are empty", warns=True)
    yield changed("a row with an unknown split", cell("split", "training"))
    yield changed("a row without a split", cell("split", None))
    yield changed("no image in a cell", cell("image", {"bytes": None, "path": ""}), in_images=True)
    yield changed("an image that is text", cell("image", {"bytes": b"no image", "path": ""}), in_images=True)
