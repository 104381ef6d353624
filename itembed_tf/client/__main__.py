"""Program: ask a server of the encoders for embeddings of pictures or sentences, or rank pictures by a sentence.

python -m serving.client ADDRESS image a.jpg b.png [--out embeddings.npz]
python -m serving.client ADDRESS text "a dog runs"
python -m serving.client ADDRESS rank "a dog runs" *.jpg
python -m serving.client ADDRESS status
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from itembed_tf.client import Client, ServingError
from itembed_tf.files import write_atomically

MODELS = ("image_encoder", "text_encoder")


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    version = {"version": args.version} if args.version is not None else {}
    if args.label is not None:
        version["label"] = args.label
    try:
        with Client(args.address, timeout=args.timeout, retries=args.retries) as client:
            return {"image": _image, "text": _text, "rank": _rank, "status": _status}[args.what](client, args, version)
    except (ServingError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _image(client: Client, args: argparse.Namespace, version: dict[str, Any]) -> int:
    embedding = client.embed_images(args.items, **version)
    for name, row in zip(args.items, embedding):
        print(f"{_first(row)}  {name}")
    return _finish(args, "image", {"name": np.array(args.items), "embedding": embedding})


def _text(client: Client, args: argparse.Namespace, version: dict[str, Any]) -> int:
    texts = client.embed_texts(args.items, **version)
    for sentence, row, known in zip(args.items, texts.embedding, texts.known_words):
        words = f"known words: {known}" if known else "NO known word: this embedding says nothing"
        print(f"{_first(row)}  {sentence}  ({words})")
    return _finish(args, "text", {"name": np.array(args.items), **texts._asdict()})


def _rank(client: Client, args: argparse.Namespace, version: dict[str, Any]) -> int:
    sentence, *pictures = args.items
    texts = client.embed_texts([sentence], **version)
    if not texts.known_words[0]:
        print(f"error: the encoder knows no word of {sentence!r}; say it in words of its training", file=sys.stderr)
        return 1
    embedding = client.embed_images(pictures, **version)
    cosine = embedding @ texts.embedding[0]
    for i in np.argsort(-cosine, kind="stable"):
        print(f"{cosine[i]:.3f}  {pictures[i]}")
    return _finish(args, "rank", {"name": np.array(pictures), "embedding": embedding, "cosine": cosine})


def _status(client: Client, args: argparse.Namespace, version: dict[str, Any]) -> int:
    for model in MODELS:
        states = client.status(model, **version)
        print(f"{model}: " + ", ".join(f"version {number} {state}" for number, state in states.items()))
        for signature, sides in client.metadata(model, **version).items():
            said = [
                ", ".join(f"{name} {info['dtype']} {info['shape']}" for name, info in sides[side].items())
                for side in ("inputs", "outputs")
            ]
            print(f"  {signature}: {said[0]} -> {said[1]}")
    return 0


def _first(row: np.ndarray) -> str:
    return f"[{row.shape[0]}] " + " ".join(f"{number:7.4f}" for number in row[:4]) + " ..."


def _finish(args: argparse.Namespace, what: str, arrays: dict[str, np.ndarray]) -> int:
    if args.out:
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        write_atomically(args.out, content.getvalue())
        shapes = ", ".join(f"{name} {values.dtype} {values.shape}" for name, values in arrays.items())
        print(f"{args.out}: {shapes}")
    elif what != "rank":
        print("next: --out embeddings.npz keeps them all")
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    usage = (__doc__ or "").split("\n\n", 1)[1]
    parser = argparse.ArgumentParser(
        prog="python -m serving.client",
        description=(__doc__ or "").splitlines()[0],
        epilog=usage,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("address", help="host:port for gRPC, http://host:port for REST")
    parser.add_argument("what", choices=["image", "text", "rank", "status"])
    parser.add_argument("items", nargs="*", help="picture files, sentences, or a sentence and picture files")
    parser.add_argument("--out", help="write the arrays to this .npz file")
    parser.add_argument("--version", type=int, help="of the models; the latest without")
    parser.add_argument("--label", help="of a version, such as stable")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds for one request, retries included")
    parser.add_argument("--retries", type=int, default=5, help="further attempts where the server is away or busy")
    args = parser.parse_args(argv)
    least = {"image": 1, "text": 1, "rank": 2, "status": 0}[args.what]
    if len(args.items) < least:
        parser.error(f"{args.what} needs {['', 'at least one item', 'a sentence and at least one picture'][least]}")
    return args


if __name__ == "__main__":
    sys.exit(main())
