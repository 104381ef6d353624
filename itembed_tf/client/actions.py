"""Requests of the command `itembed client`, and their output."""

from __future__ import annotations

import argparse
import io
import os
from typing import Any

import numpy as np

from itembed_tf.client.calls import TensorInfo
from itembed_tf.client.sync_client import Client
from itembed_tf.errors import UserError
from itembed_tf.export_layout import ENCODERS
from itembed_tf.files import write_atomically

TOKEN_VARIABLE = "ITEMBED_TOKEN"  # in the environment: command lines are visible to all users of a machine


def run_action(args: argparse.Namespace) -> int:
    """Send the requests of a parsed command line (`itembed_tf.client.__main__`); returns the exit code."""
    version = {"version": args.version} if args.version is not None else {}
    if args.label is not None:
        version["label"] = args.label
    action = {"image": _embed_images, "text": _embed_texts, "rank": _rank, "status": _print_status}[args.what]
    headers = dict(header.split("=", 1) for header in args.header)
    token = os.environ.get(TOKEN_VARIABLE) or None
    settings = {"timeout": args.timeout, "retries": args.retries, "ca_file": args.ca_file}
    with Client(args.address, token=token, headers=headers, **settings) as client:
        action(client, args, version)
    return 0


def _embed_images(client: Client, args: argparse.Namespace, version: dict[str, Any]) -> None:
    images = client.image_embeddings(args.items, **version)
    for name, row in zip(args.items, images.embedding):
        print(f"{_preview(row)}  {name}")
    _save(args, {"name": np.array(args.items), "embedding": images.embedding, "contract": np.array(images.contract)})


def _embed_texts(client: Client, args: argparse.Namespace, version: dict[str, Any]) -> None:
    texts = client.embed_texts(args.items, **version)
    for text, row, known in zip(args.items, texts.embedding, texts.known_words):
        words = f"known words: {known}" if known else "NO known word: this embedding carries no information"
        print(f"{_preview(row)}  {text}  ({words})")
    arrays = {"embedding": texts.embedding, "known_words": texts.known_words, "contract": np.array(texts.contract)}
    _save(args, {"name": np.array(args.items), **arrays})


def _rank(client: Client, args: argparse.Namespace, version: dict[str, Any]) -> None:
    text, *images = args.items
    query = client.embed_texts([text], **version)
    if not query.known_words[0]:
        raise UserError(f"no word of {text!r} is in the encoder's vocabulary; use words of its training captions")
    embedding, _, contract = client.image_embeddings(images, **version)
    if contract != query.contract:
        raise UserError(
            f"text and images were encoded by different exports (contracts {query.contract[:12]} and {contract[:12]}), "
            "so their cosines mean nothing; a new version may just have been added: try again, or name one by --version"
        )
    cosine = embedding @ query.embedding[0]
    for i in np.argsort(-cosine, kind="stable"):
        print(f"{cosine[i]:.3f}  {images[i]}")
    _save(args, {"name": np.array(images), "embedding": embedding, "cosine": cosine})


def _print_status(client: Client, args: argparse.Namespace, version: dict[str, Any]) -> None:
    for model in ENCODERS:
        states = client.status(model, **version)
        print(f"{model}: " + ", ".join(f"version {number} {state}" for number, state in states.items()))
        for name, signature in client.metadata(model, **version).items():
            print(f"  {name}: {_describe(signature.inputs)} -> {_describe(signature.outputs)}")


def _describe(tensors: dict[str, TensorInfo]) -> str:
    return ", ".join(f"{name} {info.dtype} {list(info.shape)}" for name, info in tensors.items())


def _preview(row: np.ndarray) -> str:
    return f"[{row.shape[0]}] " + " ".join(f"{value:7.4f}" for value in row[:4]) + " ..."


def _save(args: argparse.Namespace, arrays: dict[str, np.ndarray]) -> None:
    if args.out:
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        write_atomically(args.out, content.getvalue())
        shapes = ", ".join(f"{name} {values.dtype} {values.shape}" for name, values in arrays.items())
        print(f"{args.out}: {shapes}")
    elif args.what != "rank":
        print("next: add --out embeddings.npz to save the complete embeddings")
