"""Write a folder with a search page that runs in the browser alone: any web server of static files can serve it.

    python make_page.py TEXT_ENCODER.tflite GALLERY PAGE
    python -m http.server --bind 127.0.0.1 -d PAGE

GALLERY is a folder that make_gallery.py wrote. LiteRT.js is copied from ``node/node_modules``, where `npm ci` puts it.
Nothing but Python is needed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
LITERT = HERE / "node" / "node_modules" / "@litertjs"
BUILDS = ("litert_wasm_internal", "litert_wasm_compat_internal")  # the second for browsers without relaxed SIMD


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("text_encoder", "gallery", "page"):
        parser.add_argument(name, type=Path)
    args = parser.parse_args(argv)
    files = [args.gallery / name for name in ("gallery.json", "names.txt", "embeddings.f32")]
    if missing := [file for file in (args.text_encoder, *files) if not file.is_file()]:
        return refuse(f"{missing[0]} is missing; `itembed export --to litert` and make_gallery.py write the files")
    if not LITERT.is_dir():
        return refuse(f"LiteRT.js is not installed; run: (cd {HERE / 'node'} && npm ci)")
    if args.page.exists():
        return refuse(f"{args.page} exists already and is not overwritten; choose another name or remove it")
    (args.page / "litert" / "wasm").mkdir(parents=True)
    for file in (*files, HERE / "tokenizer.mjs", HERE / "web" / "index.html", HERE / "web" / "search.mjs"):
        shutil.copy(file, args.page / file.name)
    shutil.copy(args.text_encoder, args.page / "text_encoder.tflite")
    if (args.gallery / "thumbnails").is_dir():
        shutil.copytree(args.gallery / "thumbnails", args.page / "thumbnails")
    for package in ("core", "wasm-utils"):
        (args.page / "litert" / package).mkdir()
        shutil.copy(LITERT / package / "dist" / "index.js", args.page / "litert" / package / "index.js")
    for build in BUILDS:
        for suffix in (".js", ".wasm"):
            shutil.copy(LITERT / "core" / "wasm" / f"{build}{suffix}", args.page / "litert" / "wasm")
    print(
        f"{args.page}: search page\n  next: {Path(sys.executable).name} -m http.server --bind 127.0.0.1 -d {args.page}"
    )
    return 0


def refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
