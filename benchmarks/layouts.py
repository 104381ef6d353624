"""Thirty-three layouts of images with captions, as programs and public datasets write them, of the same images."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COUNT = 12
SPLITS = ("train",) * 8 + ("val",) * 2 + ("test",) * 2
OURS = {"train": "train", "val": "dev", "test": "test"}


def captions(number: int) -> list[str]:
    return [f"a red box, number {number}", f'"box" {number} seen from the left; it is red']


def _jpeg(number: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), (20 * number, 255 - 20 * number, 128)).save(buffer, "JPEG")
    return buffer.getvalue()


FILES = [_jpeg(number) for number in range(COUNT)]
IMAGES = {data: captions(number) for number, data in enumerate(FILES)}
NAMES = [f"{number:03d}.jpg" for number in range(COUNT)]
PAIRS = [(number, caption) for number in range(COUNT) for caption in captions(number)]
Write = Callable[[Path], None]


@dataclass(frozen=True)
class Layout:
    """One layout: what writes it into a folder, the settings that read it, and whether it has splits."""

    write: Write
    settings: dict[str, Any] = field(default_factory=dict)
    splits: bool = False

    def split(self, data: bytes) -> str:
        """The split that the image with these bytes must have."""
        return OURS[SPLITS[FILES.index(data)]]


def put(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def put_images(folder: Path, name: str = "{:03d}.jpg") -> None:
    for number, data in enumerate(FILES):
        put(folder / name.format(number, split=SPLITS[number]), data)


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def table(
    file: str,
    header: str,
    row: str = "{name},{caption}",
    *,
    name: str = "{:03d}.jpg",
    images: str = "",
    stored: str = "{:03d}.jpg",
    encoding: str = "utf-8",
    quote: bool = True,
    before: str = "",
) -> Write:
    """A table with a row per caption; `row` has name, caption, split, number and n, the number of the caption."""

    def write(root: Path) -> None:
        put_images(root / images, stored)
        lines = [before] if before else []
        lines.append(header)
        for position, (number, caption) in enumerate(PAIRS):
            values = {"name": name.format(number), "split": SPLITS[number], "number": number, "n": position % 2}
            lines.append(row.format(caption=quoted(caption) if quote else caption, **values))
        put(root / file, "".join(f"{line}\r\n" for line in lines).encode(encoding))

    return write


def json_lines(file: str, entry: Callable[[int], dict[str, Any]], stored: str = "{:03d}.jpg") -> Write:
    def write(root: Path) -> None:
        put_images(root, stored)
        put(root / file, "".join(json.dumps(entry(number)) + "\n" for number in range(COUNT)))

    return write


def json_file(file: str, content: Any, images: str = "", stored: str = "{:03d}.jpg") -> Write:
    def write(root: Path) -> None:
        put_images(root / images, stored)
        put(root / file, json.dumps(content))

    return write


def kaggle_flickr30k(root: Path) -> None:
    """Its file has no quotation marks, and one line without the second separator."""
    put_images(root / "flickr30k_images")
    lines = [
        f"{number:03d}.jpg| {i}| {caption}" for number in range(COUNT) for i, caption in enumerate(captions(number))
    ]
    lines[4] = lines[4].replace("| 0| ", "| 0   ")
    put(root / "results.csv", "image_name| comment_number| comment\n" + "\n".join(lines) + "\n")


def flickr30k_annotations(root: Path) -> None:
    put_images(root / "flickr30k-images")
    lines = [
        f"{quoted(json.dumps(captions(n)))},{quoted(str([2 * n, 2 * n + 1]))},{SPLITS[n]},{n:03d}.jpg,{n}\n"
        for n in range(COUNT)
    ]
    put(root / "flickr_annotations_30k.csv", "raw,sentids,split,filename,img_id\n" + "".join(lines))


def splits_of_hugging_face(root: Path) -> None:
    for split, folder in (("train", "train"), ("val", "validation"), ("test", "test")):
        own = [number for number in range(COUNT) if SPLITS[number] == split]
        for number in own:
            put(root / folder / f"{number:03d}.jpg", FILES[number])
        lines = [json.dumps({"file_name": f"{n:03d}.jpg", "text": captions(n)}) for n in own]
        put(root / folder / "metadata.jsonl", "\n".join(lines) + "\n")


def sidecars(text: str = "{:03d}.txt", image: str = "{:03d}.jpg", more: Sequence[tuple[str, str]] = ()) -> Write:
    def write(root: Path) -> None:
        put_images(root, image)
        for number in range(COUNT):
            put(root / text.format(number, split=SPLITS[number]), "\n".join(captions(number)) + "\n")
        for name, content in more:
            put(root / name, content)

    return write


def img2dataset_files(root: Path) -> None:
    for number in range(COUNT):
        start = root / "00000" / f"{number:09d}"
        put(start.with_suffix(".jpg"), FILES[number])
        put(start.with_suffix(".txt"), "\n".join(captions(number)))
        put(start.with_suffix(".json"), json.dumps({"key": f"{number:09d}", "status": "success", "caption": "other"}))
    put(root / "00000_stats.json", json.dumps({"count": COUNT}))
    put(root / "00000.parquet", b"PAR1")  # a table without images


def tar(members: Sequence[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def webdataset(root: Path) -> None:
    """Two shards of img2dataset, the second with a sample whose download failed."""
    for shard in range(2):
        members = []
        for number in range(shard * 6, shard * 6 + 6):
            key = f"{shard:05d}{number:04d}"
            members += [(f"{key}.jpg", FILES[number]), (f"{key}.txt", "\n".join(captions(number)).encode())]
            members.append((f"{key}.json", json.dumps({"key": key, "url": "http://a.b/c.jpg"}).encode()))
        members += [("000019999.json", b'{"status": "failed_to_download"}')] * shard
        put(root / f"{shard:05d}.tar", tar(members))
        put(root / f"{shard:05d}_stats.json", "{}")


def webdataset_of_splits(root: Path) -> None:
    for split in OURS:
        members = []
        for number in (number for number in range(COUNT) if SPLITS[number] == split):
            members.append((f"./images/{number:03d}.JPG", FILES[number]))
            members.append((f"./images/{number:03d}.json", json.dumps({"prompt": captions(number)}).encode()))
        put(root / f"mine-{split}-000.tar", tar(members))


def parquet(kind: str) -> Write:
    def write(root: Path) -> None:
        import pyarrow
        from pyarrow import parquet as files

        for split in OURS:
            own = [number for number in range(COUNT) if SPLITS[number] == split]
            images = [FILES[number] for number in own]
            if kind == "hugging face":
                structs = [{"bytes": data, "path": f"{n:03d}.jpg"} for n, data in zip(own, images)]
                columns = {"image": structs, "caption": [captions(n) for n in own], "img_id": own}
                path = root / "data" / f"{'validation' if split == 'val' else split}-00000-of-00001.parquet"
            else:
                columns = {"key": [f"{n:09d}" for n in own], "jpg": images, "status": ["success"] * len(own)}
                columns |= {f"caption_{i}": [captions(n)[i] for n in own] for i in range(2)}
                path = root / f"0000{list(OURS).index(split)}.parquet"
            path.parent.mkdir(exist_ok=True)
            files.write_table(pyarrow.table(columns), path, row_group_size=3)

    return write


def coco(names: Sequence[str] = NAMES, numbers: Sequence[int] = range(COUNT)) -> dict[str, Any]:
    images = [{"id": 100 + n, "file_name": names[n], "width": 40, "height": 40} for n in numbers]
    annotations = [
        {"id": 1000 + 2 * n + i, "image_id": 100 + n, "caption": caption}
        for n in numbers
        for i, caption in enumerate(captions(n))
    ]
    return {"info": {}, "images": images, "annotations": annotations}


def coco_2017(root: Path) -> None:
    names = [f"{100 + n:012d}.jpg" for n in range(COUNT)]
    for part, own in (("train2017", range(8)), ("val2017", range(8, COUNT))):
        put(root / f"annotations/captions_{part}.json", json.dumps(coco(names, own)))
        put(root / f"annotations/instances_{part}.json", json.dumps({"images": [], "annotations": []}))
        for number in own:
            put(root / part / names[number], FILES[number])


def karpathy() -> dict[str, Any]:
    images = [
        {"filename": f"{n:03d}.jpg", "split": SPLITS[n], "imgid": n}
        | {"sentences": [{"raw": caption, "tokens": caption.split()} for caption in captions(n)]}
        for n in range(COUNT)
    ]
    return {"dataset": "rsicd", "images": images}


def tables_of_splits(root: Path) -> None:
    put_images(root / "images")
    for split in OURS:
        own = [(n, c) for n, c in PAIRS if SPLITS[n] == split]
        put(root / f"{split}.csv", "filepath,title\n" + "".join(f"images/{n:03d}.jpg,{quoted(c)}\n" for n, c in own))


def tokens(root: Path) -> None:
    put_images(root / "images")
    lines = [f"{n:03d}.jpg#{i}\t{caption}\n" for n in range(COUNT) for i, caption in enumerate(captions(n))]
    put(root / "mine.token", "".join(lines))


LAYOUTS = {
    "captions.csv": Layout(table("captions.csv", "image,caption")),
    "captions.jsonl, a list of captions": Layout(
        json_lines("captions.jsonl", lambda n: {"image": f"{n:03d}.jpg", "captions": captions(n)})
    ),
    "other column names, more columns": Layout(
        table("data.csv", "id,image_path,width,Prompt,split", "{number},{name},40,{caption},{split}"), splits=True
    ),
    "Excel's sep= and semicolons": Layout(
        table("captions.csv", "Filename;Description", "{name};{caption}", before="sep=;", encoding="utf-8-sig")
    ),
    "UTF-16 and tabs, as Excel's Unicode text": Layout(
        table("captions.txt", "Image\tCaption", "{name}\t{caption}", encoding="utf-16")
    ),
    "a space before each quotation mark": Layout(table("captions.csv", "image, caption", "{name}, {caption}")),
    "tabs without quotation marks": Layout(
        table("captions.tsv", "file_name\tcaption", "{name}\t{caption}", quote=False, images="images")
    ),
    "a list of captions in a column, as Hugging Face's Flickr30k has it": Layout(flickr30k_annotations, splits=True),
    "Kaggle's Flickr30k, results.csv": Layout(kaggle_flickr30k),
    "Kaggle's Flickr8k, captions.txt": Layout(table("captions.txt", "image,caption", images="Images")),
    "Hugging Face image folder, metadata.csv": Layout(
        table("metadata.csv", "file_name,text", "{name},{caption}", name="train/{:03d}.jpg", images="train")
    ),
    "Hugging Face image folder, metadata.jsonl in each split": Layout(splits_of_hugging_face, splits=True),
    "a text file beside each image": Layout(sidecars(more=[("README.txt", "a dataset\n")])),
    "text files in folders of splits": Layout(sidecars("{split}/{:03d}.caption", "{split}/{:03d}.jpg"), splits=True),
    "text files in one folder, images in another": Layout(sidecars("text/{:03d}.txt", "jpg/{:03d}.jpg")),
    "captions in one folder, images in another": Layout(
        table("labels/captions.csv", "image,caption", images="photos"),
        {"captions": "labels/captions.csv", "images": "photos"},
    ),
    "img2dataset, files": Layout(img2dataset_files),
    "WebDataset, img2dataset": Layout(webdataset),
    "WebDataset, captions in JSON, splits": Layout(webdataset_of_splits, splits=True),
    "Parquet, Hugging Face datasets": Layout(parquet("hugging face"), splits=True),
    "Parquet, img2dataset": Layout(parquet("img2dataset")),
    "COCO's format": Layout(json_file("annotations/captions.json", coco(), images="images")),
    "COCO 2017's folders": Layout(coco_2017, {"name": "coco", "split_by": "random"}),
    "Karpathy's format": Layout(json_file("dataset_rsicd.json", karpathy(), images="RSICD_images"), splits=True),
    "JSON, a list of objects": Layout(
        json_file("annotations.json", [{"img": f"{n:03d}.jpg", "sentences": captions(n)} for n in range(COUNT)])
    ),
    "JSON, captions by image": Layout(json_file("captions.json", {f"{n:03d}.jpg": captions(n) for n in range(COUNT)})),
    "train.csv, val.csv, test.csv": Layout(tables_of_splits, splits=True),
    "a token file": Layout(tokens),
    "Windows paths": Layout(table("captions.csv", "image,caption", name="images\\{:03d}.jpg", images="images")),
    "absolute paths of another machine": Layout(
        table("captions.csv", "image,caption", name="C:\\Users\\ann\\photos\\{:03d}.jpg", images="photos")
    ),
    "names without or with another ending": Layout(
        table("captions.csv", "image,caption", name="{:03d}", stored="{:03d}.JPG")
    ),
    "web addresses": Layout(table("captions.csv", "url,caption", name="https://a.b/{:03d}.jpg")),
    "Git LFS pointer": Layout(
        lambda root: put(root / "captions.csv", "version https://git-lfs.github.com/spec/v1\noid")
    ),
}
