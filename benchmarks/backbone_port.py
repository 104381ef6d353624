"""EfficientNet-Lite in Keras against the published PyTorch model with the same weights: top-1 agreement.

    ITEMBED_FLICKR8K=... ITEMBED_TORCH_PYTHON=... python -m benchmarks.backbone_port [--quick]

The peer needs `pip install torch numpy efficientnet-lite-pytorch`, preferably in a separate environment; set
ITEMBED_TORCH_PYTHON to its interpreter. It runs in a subprocess on the same pixels as our model. The largest difference
of the logits is printed too, without a bar.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

BAR = 100.0  # percent of the images, minimum over the networks

PEER = """
import sys, numpy, torch
from efficientnet_lite_pytorch import EfficientNet

name, weights, pixels, logits = sys.argv[1:]
torch.set_num_threads(1)
model = EfficientNet.from_pretrained(name, weights_path=weights).eval()
images = (torch.from_numpy(numpy.load(pixels)).permute(0, 3, 1, 2) - 127) / 128
with torch.no_grad():
    numpy.save(logits, torch.cat([model(batch) for batch in images.split(20)]).numpy())
"""


def first_images(count: int) -> list[Path]:
    """The first images of Flickr8k, in either directory layout."""
    root = Path(os.environ.get("ITEMBED_FLICKR8K", "../shared/flickr8k"))
    files = sorted(file for folder in ("Flicker8k_Dataset", "Images") for file in (root / folder).glob("*.jpg"))
    if len(files) < count:
        raise SystemExit(f"needs {count} images, found {len(files)}; set ITEMBED_FLICKR8K to the Flickr8k folder")
    return files[:count]


def our_logits(name: str, pixels: np.ndarray) -> np.ndarray:
    """ImageNet logits [n, 1000] of the Keras port."""
    from itembed_tf.models.efficientnet_lite import efficientnet_lite, imagenet_classifier

    kernel, bias = imagenet_classifier(name)
    backbone = efficientnet_lite(name, weights="imagenet", size=pixels.shape[1])
    return backbone.predict(pixels, batch_size=20, verbose=0) @ kernel + bias


def peer_logits(name: str, pixels: np.ndarray, folder: Path) -> np.ndarray:
    """ImageNet logits [n, 1000] of the published PyTorch class, in a subprocess."""
    from itembed_tf.models.efficientnet_lite import imagenet_file

    python = os.environ.get("ITEMBED_TORCH_PYTHON", sys.executable)
    np.save(folder / "pixels.npy", pixels)
    arguments = [name, str(imagenet_file(name)), str(folder / "pixels.npy"), str(folder / "logits.npy")]
    done = subprocess.run([python, "-c", PEER, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"{done.stderr}\nthe peer failed; pip install torch numpy efficientnet-lite-pytorch, and set "
            "ITEMBED_TORCH_PYTHON to that environment's interpreter"
        )
    return np.load(folder / "logits.npy")


def agreement(name: str, files: list[Path]) -> float:
    """Percentage of images to which both models assign the same class."""
    from itembed_tf.data.images import load_image
    from itembed_tf.models.efficientnet_lite import VARIANTS

    size = VARIANTS[name][2]
    pixels = np.stack([load_image(file.read_bytes(), size=size, fit="crop").numpy() for file in files])
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = our_logits(name, pixels), peer_logits(name, pixels, Path(folder))
    same = 100 * float(np.mean(ours.argmax(1) == theirs.argmax(1)))
    print(
        f"{name} at {size} pixels: {same:.1f} % of {len(files)} images, {len(set(theirs.argmax(1)))} classes, "
        f"largest logit difference {np.abs(ours - theirs).max():.1e} (largest logit {np.abs(theirs).max():.1f})"
    )
    return same


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Lite0 on 8 images")
    quick = parser.parse_args().quick
    files = first_images(8 if quick else 200)
    figure = min(agreement(f"efficientnet-lite{n}", files) for n in ((0,) if quick else (0, 1, 2)))
    print(f"backbone_port: {figure:.1f} (bar {BAR:.1f}) {'ok' if figure >= BAR else 'short'}")
    return 0 if figure >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
