"""Embed a folder of images as a gallery for an app: embeddings, file names, and the contract hash of the encoders.

    python make_gallery.py ENCODERS IMAGES GALLERY [--thumbnails 256]

ENCODERS is the folder ``encoders/`` of a run, or one that `itembed export` wrote; IMAGES is a folder. With
--thumbnails, a JPEG of each image is written too, for make_page.py. It needs
TensorFlow and Pillow.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

KINDS = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".heic", ".heif", ".avif"}  # the last three are refused


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("encoders", "images", "gallery"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--thumbnails", type=int, metavar="PIXELS", help="short side of a JPEG of each image")
    args = parser.parse_args(argv)
    contract = json.loads((args.encoders / "encoders.json").read_text(encoding="utf-8"))
    files = sorted(path for path in args.images.iterdir() if path.suffix.lower() in KINDS)
    if not files:
        print(f"error: no images in {args.images} (allowed: {', '.join(sorted(KINDS))})", file=sys.stderr)
        return 1
    encoder = tf.saved_model.load(args.encoders / "image_encoder" / str(contract["version"]))
    encode = encoder.signatures["serving_default"]
    rows, names, thumbnails = [], [], []
    for path in files:
        try:
            rows.append(encode(image_bytes=tf.constant([path.read_bytes()]))["embedding"].numpy()[0])
            names.append(path.name)
            if args.thumbnails:
                thumbnails.append(thumbnail(path, args.thumbnails))
        except tf.errors.InvalidArgumentError as error:
            named = re.search(r"image_bytes\[0\] is (.*)\]", error.message)  # the encoder's own reason
            print(f"skipped: {path}: {named[1] if named else 'a damaged image'}", file=sys.stderr)
    args.gallery.mkdir(parents=True, exist_ok=True)
    np.array(rows, "<f4").tofile(args.gallery / "embeddings.f32")
    (args.gallery / "names.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    for number, image in enumerate(thumbnails):
        (args.gallery / "thumbnails").mkdir(exist_ok=True)
        image.save(args.gallery / "thumbnails" / f"{number}.jpg", quality=85)
    about = {"contract": contract["contract"], "images": len(names), "embedding_size": contract["embedding_size"]}
    about |= {"thumbnails": bool(thumbnails)}
    (args.gallery / "gallery.json").write_text(json.dumps(about) + "\n", encoding="utf-8")
    print(f"{args.gallery}: {len(names)} images of {args.images}")
    return 0


def thumbnail(path: Path, short_side: int) -> Image.Image:
    """An image upright, on white, with at most `short_side` pixels on its short side."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGBA")
    scale = min(1.0, short_side / min(image.size))
    small = image.resize((max(1, round(scale * image.width)), max(1, round(scale * image.height))))
    white = Image.new("RGB", small.size, "white")
    white.paste(small, mask=small.getchannel("A"))
    return white


if __name__ == "__main__":
    sys.exit(main())
