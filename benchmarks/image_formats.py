"""Image formats: do training, evaluation, the export and the local server read the same files, and the same pixels?

    python -m benchmarks.image_formats [--quick] [--files]

226 files made by Pillow and by hand (benchmarks/image_files.py), of every mode, palette, depth, transparency,
orientation, animation, format and damage, go through the decoder of training (a crop of the whole image), that of
evaluation, an exported encoder whose embedding is the pixels themselves, and the local server over that export. A file
passes if

- all four give the pixels of Pillow on white, turned upright, within 2 levels; or
- training, evaluation and the server do, and the exported encoder, which has TensorFlow's decoders alone, refuses the
  file by name (HEIC, AVIF, GIF whose first frame does not fill it, BMP other than 24 bits); or
- all four refuse it and say what it is. Training, evaluation and the server use the same words. The export may say "a
  truncated or damaged image" where these know which, and gives the decoder's own message where the damage is inside.

Small files of many pixels ("bombs") go to the first two and to the server only: the exported graph has no limit.

Then the memory of reading, checking and decoding a file is measured for each format in a process of its own, in bytes a
pixel of a large image above a small one, besides the file itself (an animated WebP counts as two images, as it does for
`max_pixels`). The figure is the number of files that fail, and the largest memory. --files prints every outcome;
--quick leaves out the server and the memory.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from benchmarks import image_files
from benchmarks.runner import print_versions, verdict
from benchmarks.served import local_server

SIZE, TOLERANCE, MAX_BYTES = 32, 2.0, 12.0
FOREIGN = re.compile(r"\{\{|Graph execution|\[Op:|<_io|Traceback|Error\b")  # not our own words
DECODERS = "the decoder's own message"
Outcome = np.ndarray | str  # pixels, or the reason of a refusal


@dataclass(frozen=True)
class Judgement:
    kind: str  # "equal", "equal but for the export", "refused" or "bad"
    why: str = ""


def pillow_on_white(data: bytes) -> np.ndarray:
    """The reference, uint8 [H, W, 3], written apart from the package."""
    with Image.open(io.BytesIO(data)) as opened:
        opened.load()
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I;16"):
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))


def resized(pixels: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    return tf.image.resize(pixels, [SIZE, SIZE], method="bilinear", antialias=True).numpy()


def by_pipelines(files: Sequence[tuple[str, bytes]], expected: Sequence[np.ndarray | None]) -> dict[str, list[Outcome]]:
    """Each file through the check before training, and if it is readable through both input pipelines."""
    from itembed_tf.data.images import augment_image, load_image
    from itembed_tf.data.readers import Group
    from itembed_tf.data.sources import image_batches, image_source
    from itembed_tf.data.unreadable import find_unreadable

    groups = [Group(f"{i}", (data,), ("a caption",), "train") for i, (_, data) in enumerate(files)]
    reasons = {int(each.image.split(",")[0]): each.reason for each in find_unreadable(groups)}
    readable = [i for i in range(len(files)) if i not in reasons]
    trained: list[Outcome] = [reasons.get(i, "") for i in range(len(files))]
    evaluated = list(trained)
    if not readable:
        return {"training": trained, "evaluation": evaluated}
    batches = image_batches(
        [files[i][1] for i in readable], lambda data, i: load_image(data, size=SIZE, fit="stretch"), 16
    )
    for i, pixels in zip(readable, (image for batch in batches for image in batch.numpy()), strict=True):
        evaluated[i] = pixels
    aspects: dict[float, list[int]] = {}
    for i in readable:
        pixels = expected[i]
        aspects.setdefault(1.0 if pixels is None else pixels.shape[1] / pixels.shape[0], []).append(i)
    for aspect, indices in aspects.items():  # the crop of all of the area and of the image's aspect is the whole image
        crop = partial(augment_image, size=SIZE, crop_area=(1.0, 1.0), crop_aspect=(aspect, aspect), flip=False)
        source = image_source([files[i][1] for i in indices], crop)
        order = np.arange(len(indices))[:, None]
        for i, batch in zip(indices, source(order, np.zeros((len(indices), 1, 2), np.int32)), strict=True):
            trained[i] = batch["image"][0].numpy()
    return {"training": trained, "evaluation": evaluated}


def write_export(folder: Path) -> Path:
    """An image encoder whose embedding is the decoded pixels, as `itembed export` writes one."""
    import keras
    import tensorflow as tf

    from itembed_tf.exporting.endpoints import image_endpoint

    pixels = keras.Input((SIZE, SIZE, 3))
    endpoint = image_endpoint(keras.Model(pixels, keras.layers.Flatten()(pixels)), size=SIZE, fit="stretch")
    concrete = {name: function.get_concrete_function() for name, function in endpoint.functions.items()}
    tf.saved_model.save(endpoint.module, str(folder / "image_encoder" / "1"), signatures=concrete)
    return folder


def by_export(files: Sequence[tuple[str, bytes]], exports: Path) -> list[Outcome]:
    import tensorflow as tf

    encode = tf.saved_model.load(str(exports / "image_encoder" / "1")).signatures["serving_default"]
    outcomes: list[Outcome] = []
    for _, data in files:
        try:
            embedding = encode(image_bytes=tf.constant([data]))["embedding"]
            outcomes.append(embedding.numpy().reshape(SIZE, SIZE, 3))
        except tf.errors.OpError as error:
            named = re.search(r"image_bytes\[0\] is (.*)\]", error.message)
            outcomes.append(named[1] if named else DECODERS)
    return outcomes


def by_server(files: Sequence[tuple[str, bytes]], exports: Path) -> list[Outcome]:
    from itembed_tf.client import Client, ServingError

    outcomes: list[Outcome] = []
    with local_server(exports) as server, Client(server.grpc, retries=0) as client:
        for _, data in files:
            try:
                outcomes.append(np.asarray(client.embed_images([data])).reshape(SIZE, SIZE, 3))
            except ServingError as error:
                outcomes.append(
                    re.sub(r"^.*image_bytes\[0\] is ", "", str(error)).replace("--max-pixels", "max_pixels")
                )
    return outcomes


def reference(name: str, data: bytes) -> np.ndarray | None:
    """Pixels by hand where Pillow is wrong, else by Pillow; None where it fails."""
    if name in image_files.BY_HAND:
        return image_files.BY_HAND[name]
    with contextlib.suppress(Exception):
        return pillow_on_white(data)
    return None


def judge(expected: np.ndarray | None, outcomes: dict[str, Outcome]) -> Judgement:
    """Compare the outcomes of one file by decoder."""
    words = {name: each for name, each in outcomes.items() if isinstance(each, str)}
    for name, reason in words.items():
        if not reason or (reason != DECODERS and FOREIGN.search(reason)):
            return Judgement("bad", f"{name}: {reason!r} is no reason of our own")
    if len({reason for name, reason in words.items() if name != "export"}) > 1:
        return Judgement("bad", f"different reasons: {words}")
    if len(words) == len(outcomes):
        own = words.get("export") not in (None, DECODERS)
        return Judgement(
            "refused" if own or "export" not in words else "refused, by the export with the decoder's words"
        )
    if words.keys() - {"export"}:
        return Judgement("bad", f"read and refused: {words}")
    if expected is None:
        return Judgement("bad", "read, but not by Pillow")
    target = resized(expected)
    for name, each in outcomes.items():
        off = 0.0 if isinstance(each, str) else float(np.abs(each - target).max())
        if off > TOLERANCE:
            return Judgement("bad", f"{name}: differs by {off:.0f} levels")
    if words:
        return Judgement("equal, refused by the export by name" if words["export"] != DECODERS else "bad", str(words))
    return Judgement("equal")


# --- memory ----------------------------------------------------------------------------------------------------------


def large(kind: str, side: int) -> bytes:
    """A file of side x side pixels that compresses well, since the file itself is in memory too."""
    flat, form = Image.linear_gradient("L").resize((side, side)), kind.split()[0]
    colour = Image.merge("RGB", (flat, flat.transpose(Image.Transpose.ROTATE_90), flat))
    modes = {"alpha": lambda: colour.convert("RGBA"), "palette": lambda: flat.convert("P"), "grey": lambda: flat}
    made = next((make() for name, make in modes.items() if name in kind), colour)
    if "alpha" in kind:
        made.putalpha(flat)
    if "clear" in kind:
        made.info["transparency"] = 3
    options: dict[str, Any] = {"progressive": True} if "progressive" in kind else {}
    options |= {"lossless": True} if "lossless" in kind else {}
    options |= {"save_all": True, "append_images": [made, flat]} if "animated" in kind else {}
    options |= {"speed": 10} if form == "AVIF" else {}
    if "upright" in kind:
        options["exif"] = image_files.exif(6)
    if "16-bit" in kind:
        return image_files.png_file(np.asarray(colour).astype(np.uint16) * 257, 16, 2)
    return image_files.saved(made, {"WebP": "WEBP", "HEIC": "HEIF"}.get(form, form), **options)


MEMORY = {  # kind of file: side in pixels
    "PNG colour": 6000,
    "PNG alpha, upright": 6000,
    "PNG palette, clear": 6000,
    "PNG 16-bit": 6000,
    "JPEG progressive": 6000,
    "WebP lossless": 6000,
    "WebP alpha": 6000,
    "WebP animated": 5000,
    "GIF palette, clear": 6000,
    "BMP palette": 6000,
    "BMP alpha": 6000,
    "AVIF": 6000,
    "HEIC": 6000,
}


def measure_memory(kind: str, file: Path) -> float:
    """Bytes a pixel that the decoding of a large image adds to the process. Runs in a process of its own."""
    import pillow_heif

    from itembed_tf.data.image_headers import read_header
    from itembed_tf.data.images import load_image
    from itembed_tf.data.readers import Group
    from itembed_tf.data.sources import image_batches
    from itembed_tf.data.unreadable import find_unreadable

    pillow_heif.register_heif_opener()

    def decode(image: str) -> None:
        assert not find_unreadable([Group("a", (image,), ("x",), "train")])
        for _ in image_batches([image], lambda data, i: load_image(data, size=224, fit="stretch"), 1):
            pass

    small = file.with_suffix(".small")
    small.write_bytes(large(kind, 64))
    decode(str(small))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    before = _memory("VmRSS")
    decode(str(file))
    content = file.read_bytes()
    return (_memory("VmHWM") - before - len(content)) / read_header(content).cost


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(re.findall(rf"{name}:\s+(\d+) kB", status)[0])


def memory_of(kind: str, folder: Path) -> float:
    file = folder / "image"
    file.write_bytes(large(kind, MEMORY[kind]))
    command = [sys.executable, "-m", "benchmarks.image_formats", "--memory", kind, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{kind}: {done.stderr[-1500:]}")
    return float(done.stdout.split()[-1])


# --- the program -----------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without the server and the memory")
    parser.add_argument("--files", action="store_true", help="print the outcome of every file")
    parser.add_argument("--memory", nargs=2, metavar=("KIND", "FILE"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if args.memory:
        print(measure_memory(args.memory[0], Path(args.memory[1])))
        return 0
    print_versions()
    files, bombs = image_files.all_files(), list(image_files.bombs())
    expected = [reference(name, data) for name, data in files]
    outcomes = by_pipelines(files, expected)
    refusals = by_pipelines(bombs, [None] * len(bombs))
    with tempfile.TemporaryDirectory() as folder:
        exports = write_export(Path(folder))
        outcomes["export"] = by_export(files, exports)
        if not args.quick:
            outcomes["server"] = by_server(files, exports)
            refusals["server"] = by_server(bombs, exports)
        judged = [
            judge(e, dict(zip(outcomes, each))) for e, each in zip(expected, zip(*outcomes.values()), strict=True)
        ]
        judged += [judge(None, dict(zip(refusals, each))) for each in zip(*refusals.values(), strict=True)]
        print_outcomes([*files, *bombs], judged, [*outcomes["training"], *refusals["training"]], args.files)
        most = 0.0 if args.quick else print_memory(Path(folder))
    bad = sum(each.kind == "bad" for each in judged)
    figure = (
        f"{bad} of {len(judged)} files wrong, {'no memory measured' if args.quick else f'{most:.1f} bytes a pixel'}"
    )
    return verdict("image_formats", figure, f"0, {MAX_BYTES:.0f}", bad == 0 and most <= MAX_BYTES)


def print_memory(folder: Path) -> float:
    """Print the memory of each format, and return the largest."""
    print(f"\n{'memory':28}bytes a pixel")
    memory = {}
    for kind in MEMORY:
        memory[kind] = memory_of(kind, folder)
        print(f"{kind:28}{memory[kind]:6.1f}", flush=True)
    return max(memory.values())


def print_outcomes(
    files: Sequence[tuple[str, bytes]], judged: Sequence[Judgement], trained: Sequence[Outcome], every: bool
) -> None:
    for (name, _), each, outcome in zip(files, judged, trained, strict=True):
        if every or each.kind == "bad":
            print(f"{name:44}{each.kind}: {each.why or (outcome if isinstance(outcome, str) else '')}")
    for kind, count in Counter(each.kind for each in judged).most_common():
        print(f"{count:5} {kind}")


if __name__ == "__main__":
    sys.exit(main())
