"""VSE++ on frozen features, in PyTorch: the peer of `benchmarks.time_to_accuracy`.

    python -m benchmarks.vsepp DATA OUT [--hinge max] [--views 1] [--epochs 30]

Our implementation of the paper (Faghri et al., BMVC 2018) with the behaviour of the public code: one linear layer on
unit-length features; trainable word vectors and the last state of a GRU; both embeddings L2-normalised; hinge loss over
the batch in both directions; Adam at 2e-4, a tenth of it after 15 epochs; gradient norm clipped to 2; every pair of
image and caption once an epoch. It uses one thread per available core.

DATA holds train.npz and dev.npz: `views` float32 [V, n, F], `ids` int32 [m, L] with 0 for padding on the right, and
`images` int64 [m], the image of each caption. Writes OUT/history.jsonl, one line an epoch: its number, training seconds
without evaluation, and the dev retrieval table; and at the end metrics.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import linear, normalize
from torch.nn.utils.rnn import pack_padded_sequence

from itembed_tf.files import write_atomically
from itembed_tf.retrieval import retrieval_table

MARGIN, LEARNING_RATE, DECAY_EPOCHS, CLIP_NORM = 0.2, 2e-4, 15, 2.0
HINGES = ("max", "sum")  # hardest negative only (VSE++), or all negatives (VSE0)
Split = dict[str, torch.Tensor]  # views, ids, images as in the files, and lengths int64 [m]


def contrastive_loss(images: torch.Tensor, captions: torch.Tensor, hinge: str) -> torch.Tensor:
    """Hinge of each true pair against the other captions, and images, of the batch, summed (paper eq. 4 and 5).

    Args:
        images, captions: unit length [B, D]; row i of one belongs to row i of the other.
        hinge: one of HINGES.
    """
    scores = images @ captions.T
    true = scores.diagonal()
    own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    of_captions = (MARGIN + scores - true[:, None]).clamp(min=0).masked_fill(own, 0)
    of_images = (MARGIN + scores - true[None, :]).clamp(min=0).masked_fill(own, 0)
    if hinge == "max":
        return of_captions.max(dim=1).values.sum() + of_images.max(dim=0).values.sum()
    return of_captions.sum() + of_images.sum()


class VSEPP(nn.Module):
    """Both encoders; each gives unit length float32 [B, D]."""

    def __init__(self, features: int, words: int, word_width: int, embedding_size: int):
        super().__init__()
        self.head = nn.Linear(features, embedding_size)
        self.words = nn.Embedding(words, word_width)
        self.gru = nn.GRU(word_width, embedding_size)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        nn.init.uniform_(self.words.weight, -0.1, 0.1)

    def images(self, features: torch.Tensor) -> torch.Tensor:
        """Features [B, F] of any length."""
        return normalize(self.head(normalize(features)))

    def images_of_views(self, views: torch.Tensor) -> torch.Tensor:
        """Features [V, B, F]: the views' embeddings are summed before they get unit length, as our encoder does."""
        return normalize(self.head(normalize(views, dim=-1)).sum(dim=0))

    def captions(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Ids int64 [B, L] and how many of each row are words: the GRU's state after the last one.

        The steps are written out because PyTorch's own GRU, on packed sequences and a CPU, fills a gradient as large
        as all its inputs with zeros at every step back: half of the time of training.
        """
        packed = pack_padded_sequence(ids, lengths, batch_first=True, enforce_sorted=False)  # longest first
        gru, width = self.gru, self.gru.hidden_size
        inputs = linear(self.words(packed.data), gru.weight_ih_l0, gru.bias_ih_l0)
        state, ended = inputs.new_zeros(len(ids), width), []
        for step in inputs.split(packed.batch_sizes.tolist()):
            if len(step) < len(state):
                state, end = state.split([len(step), len(state) - len(step)])
                ended.append(end)
            own = linear(state, gru.weight_hh_l0, gru.bias_hh_l0).split([2 * width, width], dim=1)
            seen = step.split([2 * width, width], dim=1)
            reset, keep = torch.sigmoid(seen[0] + own[0]).chunk(2, dim=1)
            state = torch.lerp(torch.tanh(seen[1] + reset * own[1]), state, keep)
        return normalize(torch.cat([state, *reversed(ended)])[packed.unsorted_indices])


def read_split(file: Path) -> Split:
    """One of the two files of DATA."""
    with np.load(file, allow_pickle=False) as arrays:
        ids = arrays["ids"].astype(np.int64)
        return {
            "views": torch.from_numpy(arrays["views"]),
            "ids": torch.from_numpy(ids),
            "lengths": torch.from_numpy((ids != 0).sum(axis=1)),
            "images": torch.from_numpy(arrays["images"].astype(np.int64)),
        }


def train_epoch(model: VSEPP, optimizer: torch.optim.Optimizer, data: Split, hinge: str, batch_size: int) -> float:
    """Every caption once, with a random view of its image; the mean loss of a step, which sums over its pairs."""
    parameters, losses = list(model.parameters()), []
    for rows in torch.randperm(len(data["ids"])).split(batch_size):
        views = torch.randint(len(data["views"]), rows.shape)
        features, lengths = data["views"][views, data["images"][rows]], data["lengths"][rows]
        loss = contrastive_loss(model.images(features), model.captions(data["ids"][rows], lengths), hinge)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses))


@torch.inference_mode()
def evaluate(model: VSEPP, data: Split, batch_size: int = 256) -> dict[str, Any]:
    """The retrieval table by our own protocol, averaged over all views given (plain and mirror image)."""
    images = model.images_of_views(data["views"]).numpy()
    rows = torch.arange(len(data["ids"])).split(batch_size)
    captions = torch.cat([model.captions(data["ids"][part], data["lengths"][part]) for part in rows]).numpy()
    return retrieval_table(images, captions, np.arange(len(images)), data["images"].numpy()).to_json()


def train_peer(
    train: Split,
    dev: Split,
    out: Path,
    *,
    hinge: str,
    epochs: int,
    batch_size: int,
    word_width: int,
    embedding_size: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Train and measure after every epoch; returns the entries of history.jsonl."""
    torch.manual_seed(seed)
    words = 1 + int(max(train["ids"].max(), dev["ids"].max()))
    model = VSEPP(train["views"].shape[-1], words, word_width, embedding_size)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    history: list[dict[str, Any]] = []
    for epoch in range(epochs):
        rate = optimizer.param_groups[0]["lr"] = LEARNING_RATE * 0.1 ** (epoch // DECAY_EPOCHS)
        started = time.monotonic()
        loss = train_epoch(model, optimizer, train, hinge, batch_size)
        seconds = time.monotonic() - started
        table = evaluate(model, dev)
        entry = {"epoch": epoch + 1, "seconds": round(seconds, 2), "learning_rate": rate, "loss": loss, "val": table}
        history.append(entry)
        write_atomically(out / "history.jsonl", "".join(json.dumps(each) + "\n" for each in history))
        speed = f"{seconds:.1f} s, {len(train['ids']) / seconds:.0f} captions/s"
        print(f"epoch {epoch + 1}/{epochs}: loss {loss:.3f}, dev rsum {table['rsum']:.1f} ({speed})", flush=True)
    return history


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.vsepp", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--hinge", choices=HINGES, default="max")
    parser.add_argument("--views", type=int, default=1, help="how many of the training views are used, from the first")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--word-width", type=int, default=300)
    parser.add_argument("--embedding-size", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    settings = vars(parser.parse_args(argv))
    data, out, views = settings.pop("data"), settings.pop("out"), settings.pop("views")
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {views} of the views, {settings}", flush=True)
    splits = {name: read_split(data / f"{name}.npz") for name in ("train", "dev")}
    splits["train"]["views"] = splits["train"]["views"][:views]
    history = train_peer(splits["train"], splits["dev"], out, **settings)
    write_atomically(
        out / "metrics.json", json.dumps({"finished": True, "views": views, **settings, "dev": history[-1]["val"]})
    )
    print(f"history: {out / 'history.jsonl'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
