"""VSE++ that fine-tunes its CNN, in PyTorch: the peer of Stage II in `benchmarks.train_speed`.

    python -m benchmarks.vsepp_finetune DATA WEIGHTS [--batch-size 32] [--size 224] [--precision bfloat16]

The model of `benchmarks.vsepp` on the pooled features of EfficientNet-Lite0 (package efficientnet_lite_pytorch), all of
it trained as the public code does with --finetune: batch norms in training mode, Adam at 2e-5, gradient norm clipped to
2. Images come from JPEG files by a data loader: a random crop, mirrored or not, scaled to the CNN's input.

DATA is a .npz file with `files` (paths), `ids` int32 [m, L] with 0 for padding on the right, and `images` int64 [m],
the image of each caption. For each line on standard input, a number of steps, it trains so many and prints the images a
second, after a first step that waits for the loader to start.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.vsepp import CLIP_NORM, VSEPP, contrastive_loss

LEARNING_RATE = 2e-5
FEATURES, WORD_WIDTH, EMBEDDING_SIZE = 1280, 300, 1024
AREA, ASPECT = (0.64, 1.0), (0.75, 1.3333)  # of crops, as ours


class Pairs(Dataset):
    """Pairs of image and caption: pixels float32 [3, S, S], ids int64 [L]."""

    def __init__(self, data: Path, size: int):
        with np.load(data, allow_pickle=False) as arrays:
            self.files, self.ids, self.images = (arrays[name] for name in ("files", "ids", "images"))
        self.size = size

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = Image.open(str(self.files[self.images[row]])).convert("RGB")
        random = np.random.default_rng(row)
        area = image.width * image.height * random.uniform(*AREA)
        aspect = random.uniform(*ASPECT)
        width, height = min((area * aspect) ** 0.5, image.width), min((area / aspect) ** 0.5, image.height)
        left, top = random.uniform(0, image.width - width), random.uniform(0, image.height - height)
        crop = image.resize((self.size, self.size), Image.Resampling.BILINEAR, (left, top, left + width, top + height))
        if random.random() < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(crop)).permute(2, 0, 1)
        return (pixels.float() - 127) / 128, torch.from_numpy(self.ids[row].astype(np.int64))


class Peer:
    """The model, its optimiser and its loader."""

    def __init__(self, args: argparse.Namespace):
        torch.manual_seed(0)
        pairs = Pairs(args.data, args.size)
        self.loader = DataLoader(pairs, args.batch_size, shuffle=True, drop_last=True, num_workers=args.workers)
        self.cnn = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(args.weights))
        self.cnn = self.cnn.to(memory_format=torch.channels_last).train()
        self.head = VSEPP(FEATURES, 1 + int(pairs.ids.max()), WORD_WIDTH, EMBEDDING_SIZE)
        unused = {id(p) for p in self.cnn._fc.parameters()}
        self.parameters = [p for part in (self.cnn, self.head) for p in part.parameters() if id(p) not in unused]
        self.optimizer = torch.optim.Adam(self.parameters, lr=LEARNING_RATE, fused=True)
        self.bfloat16 = args.precision == "bfloat16"

    def step(self, pixels: torch.Tensor, ids: torch.Tensor) -> float:
        pixels = pixels.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16) if self.bfloat16 else nullcontext():
            features = self.cnn.extract_features(pixels).mean(dim=(2, 3))
        images, captions = self.head.images(features.float()), self.head.captions(ids, (ids != 0).sum(dim=1))
        loss = contrastive_loss(images, captions, "max")
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM)
        self.optimizer.step()
        return loss.item()

    def rate(self, steps: int) -> float:
        """Images a second over `steps` steps after a first one."""
        batches: Iterator[list[torch.Tensor]] = iter(self.loader)
        self.step(*next(batches))
        started = time.perf_counter()
        for _ in range(steps):
            self.step(*next(batches))
        return steps * int(self.loader.batch_size or 0) / (time.perf_counter() - started)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode images")
    args = parser.parse_args(argv)
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    peer = Peer(args)
    for line in sys.stdin:
        print(peer.rate(int(line)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
