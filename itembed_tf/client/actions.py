"""What the command `itembed client` requests, and how it prints the answers."""

from __future__ import annotations

import argparse
import io
from typing import Any

import numpy as np

from itembed_tf.client.sync_client import Client
from itembed_tf.errors import UserError
from itembed_tf.export_layout import ENCODERS
from itembed_tf.files import write_atomically



def run_action(args: argparse.Namespace) -> int:
    """Request what the parsed command line says (`itembed_tf.client.__main__`); returns the exit code."""
    version = {"version": args.version} if args.version is not None else {}
    if args.label is not None:
        version["label"] = args.label
    action = {"image": _image, "text": _text, "rank": _rank, "status": _status}[args.what]
    with Client(args.address, timeout=args.timeout, retries=args.retries) as client:
        return action(client, args, version)


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
        raise UserError(f"the encoder knows no word of {sentence!r}; use words of its training captions")
    embedding = client.embed_images(pictures, **version)
    cosine = embedding @ texts.embedding[0]
    for i in np.argsort(-cosine, kind="stable"):
        print(f"{cosine[i]:.3f}  {pictures[i]}")
    return _finish(args, "rank", {"name": np.array(pictures), "embedding": embedding, "cosine": cosine})


def _status(client: Client, args: argparse.Namespace, version: dict[str, Any]) -> int:
    for model in ENCODERS:
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
