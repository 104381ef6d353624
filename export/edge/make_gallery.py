"""Embed a folder of images as a gallery for an app: embeddings, file names, and the contract hash of the encoders.

    python make_gallery.py ENCODERS IMAGES GALLERY

ENCODERS is the folder ``encoders/`` of a run, or one that `itembed export` wrote; IMAGES is a folder. It needs
TensorFlow only.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

KINDS = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".heic", ".heif", ".avif"}  # the last three are refused


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("encoders", "images", "gallery"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args(argv)
    contract = json.loads((args.encoders / "encoders.json").read_text(encoding="utf-8"))
    files = sorted(path for path in args.images.iterdir() if path.suffix.lower() in KINDS)
    if not files:
        print(f"error: no images in {args.images} (allowed: {', '.join(sorted(KINDS))})", file=sys.stderr)
        return 1
    encoder = tf.saved_model.load(args.encoders / "image_encoder" / str(contract["version"]))
    encode = encoder.signatures["serving_default"]
    rows, names = [], []
    for path in files:
        try:
            rows.append(encode(image_bytes=tf.constant([path.read_bytes()]))["embedding"].numpy()[0])
            names.append(path.name)
        except tf.errors.InvalidArgumentError as error:
            named = re.search(r"image_bytes\[0\] is (.*)\]", error.message)  # the encoder's own reason
            print(f"skipped: {path}: {named[1] if named else 'a damaged image'}", file=sys.stderr)
    args.gallery.mkdir(parents=True, exist_ok=True)
    np.array(rows, "<f4").tofile(args.gallery / "embeddings.f32")
    (args.gallery / "names.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    about = {"contract": contract["contract"], "images": len(names), "embedding_size": contract["embedding_size"]}
    (args.gallery / "gallery.json").write_text(json.dumps(about) + "\n", encoding="utf-8")
    print(f"{args.gallery}: {len(names)} images of {args.images}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
