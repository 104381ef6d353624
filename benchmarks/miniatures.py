"""Miniature copies of all datasets, in the exact layouts of their readers."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.layouts import tar

SPLITS = ("train", "train", "train", "train", "train", "train", "val", "val", "val", "test", "test", "test")
COUNT = len(SPLITS)


@dataclass(frozen=True)
class Miniature:
    """One layout of one dataset.

    Attributes:
        dataset: dataset.name.
        split_by: dataset.split_by.
        file: the caption file, relative to the root.
        format: of that file: tokens, csv, jsonl, karpathy, captions (of COCO), persons, index (of a shard), tar or
            parquet.
        images: folder of the first image, relative to the root.
        write: writes the copy into a folder.
        lists: files with the images of each split, train first.
        setting: the setting of the dataset section that has the folder.
    """

    dataset: str
    split_by: str
    file: str
    format: str
    images: str
    write: Callable[[Path], None]
    lists: tuple[str, ...] = ()
    setting: str = "root"


def captions(number: int) -> list[str]:
    return [f"an image with the number {number}", f"number {number} , seen from the left"]


def jpeg() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "JPEG")
    return buffer.getvalue()


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def write_json(path: Path, content: Any) -> None:
    write(path, json.dumps(content))


def tokens(names: list[str]) -> str:
    return "".join(f"{name}#{i}\t{c}\n" for n, name in enumerate(names) for i, c in enumerate(captions(n)))


def write_lists(root: Path, pattern: str, names: list[str], dev: str) -> None:
    for split in ("train", "val", "test"):
        own = [name for name, where in zip(names, SPLITS) if where == split]
        write(root / pattern.format({"val": dev}.get(split, split)), "".join(f"{name}\n" for name in own))


def karpathy(names: list[str], dataset: str) -> dict[str, Any]:
    images = [
        {
            "filename": name,
            "split": split,
            "imgid": n,
            "sentids": [2 * n, 2 * n + 1],
            "sentences": [
                {"raw": c, "tokens": c.split(), "imgid": n, "sentid": 2 * n + i} for i, c in enumerate(captions(n))
            ],
        }
        for n, (name, split) in enumerate(zip(names, SPLITS))
    ]
    return {"images": images, "dataset": dataset}


def flickr8k(layout: str) -> Callable[[Path], None]:
    names = [f"{n:02d}_{n:x}.jpg" for n in range(COUNT)]

    def into(root: Path) -> None:
        folder = "Images" if layout == "common" else "Flicker8k_Dataset"
        for name in names:
            write(root / folder / name, jpeg())
        if layout == "karpathy":
            write_json(root / "dataset_flickr8k.json", karpathy(names, "flickr8k"))
        elif layout == "original":
            write(root / "Flickr8k_text/Flickr8k.token.txt", tokens(names))
            write_lists(root, "Flickr8k_text/Flickr_8k.{}Images.txt", names, "dev")
        else:
            rows = [f'{name},"{c}"\n' for n, name in enumerate(names) for c in captions(n)]
            write(root / "captions.txt", "image,caption\n" + "".join(rows))
            write_lists(root, "Flickr_8k.{}Images.txt", names, "dev")

    return into


def flickr30k(layout: str) -> Callable[[Path], None]:
    names = [f"10000{n:02d}.jpg" for n in range(COUNT)]

    def into(root: Path) -> None:
        for name in names:
            write(root / "flickr30k-images" / name, jpeg())
        if layout == "karpathy":
            write_json(root / "dataset_flickr30k.json", karpathy(names, "flickr30k"))
        else:
            write(root / "results_20130124.token", tokens(names))
            write_lists(root, "{}.txt", [name.removesuffix(".jpg") for name in names], "val")

    return into


def coco(layout: str) -> Callable[[Path], None]:
    parts = ["train2014" if split == "train" else "val2014" for split in SPLITS]
    names = [f"COCO_{part}_{n:012d}.jpg" for n, part in enumerate(parts)]

    def into(root: Path) -> None:
        for part, name in zip(parts, names):
            write(root / part / name, jpeg())
        if layout == "karpathy":
            content = karpathy(names, "coco")
            for n, (image, part) in enumerate(zip(content["images"], parts)):
                image |= {"cocoid": n, "filepath": part}
            content["images"][5]["split"] = "restval"
            write_json(root / "dataset_coco.json", content)
        for part in ("train2014", "val2014") if layout == "random" else ():
            own = [n for n in range(COUNT) if parts[n] == part]
            annotations = [
                {"image_id": n, "id": 2 * n + i, "caption": c} for n in own for i, c in enumerate(captions(n))
            ]
            images = [{"id": n, "file_name": names[n], "height": 8, "width": 8} for n in own]
            write_json(root / f"annotations/captions_{part}.json", {"images": images, "annotations": annotations})

    return into


def persons(file: str, key: str = "file_path", splits: bool = True) -> Callable[[Path], None]:
    """Two images per identity, of the first and last identities of CUHK-PEDES' splits."""
    ids = {"train": (1, 2, 11003), "val": (11004, 12003), "test": (12004, 13003)}

    def into(root: Path) -> None:
        entries = []
        for split, own in ids.items():
            for n, id in enumerate(number for number in own for _ in range(2)):
                entry = {"id": id, key: f"cam_a/{id:05d}_{n}.jpg", "captions": captions(id), "processed_tokens": []}
                entries.append(entry | ({"split": split} if splits else {}))
                write(root / "imgs" / str(entry[key]), jpeg())
        write_json(root / file, entries)

    return into


def folder(file: str) -> Callable[[Path], None]:
    names = [f"{n:02d}.jpg" for n in range(COUNT)]

    def into(root: Path) -> None:
        for name in names:
            write(root / "images" / name, jpeg())
        rows = [(f"images/{name}", c, s) for n, (name, s) in enumerate(zip(names, SPLITS)) for c in captions(n)]
        if file.endswith(".csv"):
            write(root / file, "image,caption,split\n" + "".join(f'{name},"{c}",{s}\n' for name, c, s in rows))
        else:
            lines = [json.dumps({"image": name, "caption": c, "split": s}) + "\n" for name, c, s in rows]
            write(root / file, "".join(lines))

    return into


def container(file: str) -> Callable[[Path], None]:
    """A WebDataset shard or a Parquet file with all splits."""

    def into(root: Path) -> None:
        samples = [(f"{n:03d}", jpeg(), captions(n), s) for n, s in enumerate(SPLITS)]
        if file.endswith(".tar"):
            members = []
            for key, data, own, split in samples:
                members.append((f"{key}.jpg", data))
                members.append((f"{key}.json", json.dumps({"caption": own, "split": split}).encode()))
            write(root / file, tar(members))
            return
        import pyarrow
        from pyarrow import parquet

        columns = {
            "image": [{"bytes": data, "path": f"{key}.jpg"} for key, data, _, _ in samples],
            "caption": [own for _, _, own, _ in samples],
            "split": [split for _, _, _, split in samples],
        }
        root.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.table(columns), root / file, row_group_size=3)

    return into


def shards(root: Path) -> None:
    """The miniature folder as shards: two of train, one of dev and one of test."""
    from itembed_tf.data.packing import pack
    from itembed_tf.data.readers import read_dataset

    with tempfile.TemporaryDirectory() as source:
        folder("captions.csv")(Path(source))
        groups = read_dataset(name="folder", root=source)
        sizes = {"short_side": 8, "quality": 95, "shard_images": 4}
        pack(groups, root, name="folder", split_by="base", max_broken_percent=0.0, max_pixels=10**6, **sizes)


F8K_LISTS = tuple(f"Flickr_8k.{split}Images.txt" for split in ("train", "dev", "test"))
MINIATURES = {
    "flickr8k, original": Miniature(
        "flickr8k",
        "base",
        "Flickr8k_text/Flickr8k.token.txt",
        "tokens",
        "Flicker8k_Dataset",
        flickr8k("original"),
        tuple(f"Flickr8k_text/{name}" for name in F8K_LISTS),
    ),
    "flickr8k, common": Miniature("flickr8k", "base", "captions.txt", "csv", "Images", flickr8k("common"), F8K_LISTS),
    "flickr8k, Karpathy": Miniature(
        "flickr8k", "karpathy", "dataset_flickr8k.json", "karpathy", "Flicker8k_Dataset", flickr8k("karpathy")
    ),
    "flickr30k, Entities": Miniature(
        "flickr30k",
        "entities",
        "results_20130124.token",
        "tokens",
        "flickr30k-images",
        flickr30k("entities"),
        ("train.txt", "val.txt", "test.txt"),
    ),
    "flickr30k, Karpathy": Miniature(
        "flickr30k", "karpathy", "dataset_flickr30k.json", "karpathy", "flickr30k-images", flickr30k("karpathy")
    ),
    "coco, Karpathy": Miniature("coco", "karpathy", "dataset_coco.json", "karpathy", "train2014", coco("karpathy")),
    "coco, random": Miniature(
        "coco", "random", "annotations/captions_train2014.json", "captions", "train2014", coco("random")
    ),
    "cuhk-pedes, reid_raw": Miniature(
        "cuhk-pedes", "base", "reid_raw.json", "persons", "imgs", persons("reid_raw.json")
    ),
    "cuhk-pedes, caption_all": Miniature(
        "cuhk-pedes", "base", "caption_all.json", "persons", "imgs", persons("caption_all.json", splits=False)
    ),
    "icfg-pedes": Miniature("icfg-pedes", "base", "ICFG-PEDES.json", "persons", "imgs", persons("ICFG-PEDES.json")),
    "rstpreid": Miniature(
        "rstpreid", "base", "data_captions.json", "persons", "imgs", persons("data_captions.json", "img_path")
    ),
    "folder, csv": Miniature("folder", "base", "captions.csv", "csv", "images", folder("captions.csv")),
    "folder, jsonl": Miniature("folder", "base", "captions.jsonl", "jsonl", "images", folder("captions.jsonl")),
    "folder, WebDataset": Miniature("folder", "base", "all.tar", "tar", "", container("all.tar")),
    "folder, Parquet": Miniature("folder", "base", "all.parquet", "parquet", "", container("all.parquet")),
    "folder, packed": Miniature("folder", "base", "train-00000-of-00002.json", "index", "", shards, setting="shards"),
}
