"""Does every form of image backbone train, evaluate, export and agree with its exports, and is a wrong one refused?

    python -m benchmarks.backbones [--quick]

Forms: models of keras.applications of five families, three presets that keras-hub itself saves (DINOv2, SigLIP, CLIP),
a .keras file, and a file of features in place of a backbone. All weights are random, and the dataset is a tiny one of
coloured boxes: the programs are measured here, not accuracy. A form passes if a run on it ends; if `itembed evaluate`
gives a table; and if the embeddings of dev by the SavedModels, by the local server and by LiteRT float32 differ from
the live model's by 1e-4 at most in any component, with the same recalls. One model of keras.applications and one preset
are fine-tuned, the others frozen. The presets and files are deleted before the evaluation: a run needs them no longer.

Wrong settings (another size, pixels that are normalised twice or not at all, channels first, probabilities as features,
code in a file, ids that do not fit the features) must each be refused with one line before any image is read.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.parity import by_client, by_saved_model
from benchmarks.runner import print_versions, verdict
from benchmarks.served import local_server
from benchmarks.tiny_backbones import PRESETS, SIZE, tiny_network, write_features, write_network, write_preset
from benchmarks.tiny_flickr8k import write_tiny_flickr8k

BAR = 1e-4
APPLICATIONS = ("ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "MobileNetV2", "VGG16")  # each kind of pixels
FINE_TUNED = ("MobileNetV2", "dinov2")
CONFIG = """
embedding_size = 32
[dataset]
name = "flickr8k"
root = "{root}"
splits = ["train", "dev"]
[image]
{image}
[image_tower]
{tower}
[model]
classifier = "random"
[text]
length = 12
[text_tower]
word_width = 16
width = 0.125
blocks = [1]
[word_vectors]
source = "random"
[evaluation]
flip = {flip}
[[stages]]
name = "I"
epochs = 2
batch_size = 8
{stage}
"""


class Form(NamedTuple):
    """A form of backbone: its settings, and the files that they name."""

    name: str
    tower: str
    files: tuple[str, ...] = ()
    fine_tuned: bool = False


def forms(folder: Path, root: str, *, quick: bool) -> Iterator[Form]:
    """All forms, or one of each kind; files are written when a form is asked for."""
    names = ("MobileNetV2",) if quick else APPLICATIONS
    for name in names:
        yield Form(f"keras:{name}", f'backbone = "keras:{name}"\nweights = "none"', (), name in FINE_TUNED)
    for name in PRESETS[:1] if quick else PRESETS:
        preset = write_preset(name, folder / name)
        yield Form(f"keras_hub: {name}", f'backbone = "keras_hub:{preset}"', (preset,), name in FINE_TUNED)
    file = write_network(folder / "tiny.keras")
    yield Form("file: tiny.keras", f'backbone = "file:{file}"\npixels = "-1..1"', (file,))
    features = write_features(folder / "features.npy", root)
    yield Form("features.npy", f'features = "{features}"')


def config_of(form: Form, root: str) -> str:
    """The TOML of a form."""
    given = form.tower.startswith("features")
    stage = "freeze = []\nlearning_rate = 1e-4" if form.fine_tuned else "cached_views = 1"
    image, flip = ("", "false") if given else (f"size = {SIZE}", "true")
    return CONFIG.format(root=root, image=image, tower=form.tower, flip=flip, stage=stage)


def failures(form: Form, root: str, folder: Path) -> list[str]:
    """What does not work with a form; empty if all does."""
    from itembed_tf.config import check_config, load_config
    from itembed_tf.evaluation.evaluate import evaluate_run
    from itembed_tf.pipeline.train import train

    file, run = folder / "config.toml", folder / "run"
    file.write_text(config_of(form, root), encoding="utf-8")
    config = load_config(file)
    check_config(config)
    metrics = train(config, run)
    found = [] if metrics["finished"] else ["the training did not finish"]
    for path in map(Path, form.files):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    table = evaluate_run(run, "dev").to_json()
    if table["rsum"] != metrics["dev"]["rsum"]:
        found.append(f"evaluated rsum {table['rsum']}, in metrics.json {metrics['dev']['rsum']}")
    for name, difference, apart in exports_apart(run, folder):
        print(f"  {name:12}{difference:10.1e}{apart:8.2f}", flush=True)
        if not difference <= BAR or apart:
            found.append(f"{name} differs by {difference:.1e}, recalls by {apart:.2f}")
    return found


def exports_apart(run: Path, folder: Path) -> Iterator[tuple[str, float, float]]:
    """Name of each export, its largest difference from the live model on dev, and that of the recalls in points."""
    from itembed_tf.data.batches import flatten
    from itembed_tf.data.feature_file import read_features
    from itembed_tf.data.readers import read_image
    from itembed_tf.evaluation.embeddings import Embeddings
    from itembed_tf.evaluation.evaluate import evaluate_embeddings
    from itembed_tf.exporting import write_saved_models
    from itembed_tf.exporting.litert_export import read_dev, write_measured
    from itembed_tf.exporting.parity import max_differences

    pair, dev, train = read_dev(run)
    items, live = flatten(dev.groups), dev.table.to_json()

    def apart(images: np.ndarray, captions: np.ndarray) -> tuple[float, float]:
        table = evaluate_embeddings(dev.config, "dev", dev.groups, Embeddings(images, captions)).to_json()
        both = ((dev.live.images, images), (dev.live.captions, captions))
        difference = max(float(max_differences(ours, theirs).max()) for ours, theirs in both)
        queries = ("image_query", "text_query")
        return difference, max(abs(live[q][k] - table[q][k]) for q in queries for k in ("R@1", "R@5", "R@10"))

    exports = write_saved_models(folder / "exports", pair).folder
    if pair.features:
        rows = np.array(read_features(dev.config.image_tower.features, items.image_ids))
        yield "SavedModel", *apart(*_features_by_saved_model(exports, rows, items.captions))
        with local_server(exports) as server:
            yield "gRPC", *apart(*_features_by_client(server.grpc, rows, items.captions))
            yield "REST", *apart(*_features_by_client(server.rest, rows, items.captions))
    else:
        images = [read_image(image) for image in items.images]
        yield "SavedModel", *apart(*by_saved_model(exports, images, items.captions))
        with local_server(exports) as server:
            yield "gRPC", *apart(*by_client(server.grpc, images, items.captions))
            yield "REST", *apart(*by_client(server.rest, images, items.captions))
    edge = folder / "edge"
    files = write_measured(edge, pair, dev, train, text=["float32"], image=["float32"], accept_loss=True).files
    embeddings = {file.encoder: file.embeddings for file in files}
    yield "LiteRT", *apart(embeddings["image_encoder"], embeddings["text_encoder"])


def _features_by_saved_model(exports: Path, rows: np.ndarray, captions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    import tensorflow as tf

    image, text = (
        tf.saved_model.load(str(exports / name / "1")).signatures["serving_default"]
        for name in ("image_encoder", "text_encoder")
    )
    embeddings = image(features=tf.constant(rows)), text(text=tf.constant(captions))
    return embeddings[0]["embedding"].numpy(), embeddings[1]["embedding"].numpy()


def _features_by_client(address: str, rows: np.ndarray, captions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    from itembed_tf.client import Client

    with Client(address, timeout=300) as client:
        images = client.predict("image_encoder", {"features": rows})["embedding"]
        return np.asarray(images, np.float32), client.embed_texts(captions).embedding


class Refusal(NamedTuple):
    """Wrong settings, and what their refusal must say."""

    what: str
    tower: Callable[[Path, str], str]
    says: str
    size: int = SIZE


def refusals() -> tuple[Refusal, ...]:
    """Settings that cannot work."""
    import keras

    layers = keras.layers

    def file(name: str, pixels: str, **parts: Any) -> Callable[[Path, str], str]:
        def tower(folder: Path, root: str) -> str:
            path = write_network(folder / f"{name}.keras", tiny_network(**parts))
            return f'backbone = "file:{path}"\npixels = "{pixels}"'

        return tower

    def channels_first(folder: Path, root: str) -> str:
        image = keras.Input((3, SIZE, SIZE))
        x = layers.GlobalAveragePooling2D()(layers.Permute((2, 3, 1))(image))
        path = write_network(folder / "first.keras", keras.Model(image, x))
        return f'backbone = "file:{path}"\npixels = "0..1"'

    def preset(folder: Path, root: str) -> str:
        return f'backbone = "keras_hub:{write_preset("siglip", folder / "p")}"'

    def features(folder: Path, root: str) -> str:
        path = Path(write_features(folder / "f.npy", root))
        ids = path.with_suffix(".txt")
        first, *others = ids.read_text(encoding="utf-8").splitlines()
        ids.write_text("\n".join([f"not {first}", *others]) + "\n", encoding="utf-8")
        return f'features = "{path}"'

    code = layers.Lambda(lambda x: x * 2)
    return (
        Refusal("size of a file", file("a", "-1..1"), f"set image.size = {SIZE}", 96),
        Refusal("size of a preset", preset, f"set image.size = {SIZE}", 96),
        Refusal("size of keras.applications", lambda *_: 'backbone = "keras:Xception"', "the minimum", SIZE),
        Refusal("channels first", channels_first, "channels come first"),
        Refusal("normalised twice", file("b", "-1..1", first=[layers.Rescaling(1 / 127.5, -1.0)]), "twice"),
        Refusal("not normalised", file("c", "0..255"), "another range"),
        Refusal("probabilities", file("d", "-1..1", last=[layers.Dense(5, "softmax")]), "is a classifier"),
        Refusal("code in a file", file("e", "-1..1", last=[code]), "runs code"),
        Refusal("no pixels named", lambda f, r: file("g", "own")(f, r), "image_tower.pixels"),
        Refusal("unknown levels", lambda f, r: file("h", "-1..1")(f, r) + '\nlevels = ["block9"]', "block1"),
        Refusal("an id without features", features, "lacks 1 of 32 images"),
    )


def refused(refusal: Refusal, root: str, folder: Path) -> str:
    """The refusal's line; "" where the settings are taken, or the line lacks what it must say."""
    from itembed_tf.config import check_config, load_config
    from itembed_tf.expected_errors import error_line
    from itembed_tf.pipeline.train import train

    tower = refusal.tower(folder, root)
    text = config_of(Form("", tower), root).replace(f"size = {SIZE}", f"size = {refusal.size}")
    file = folder / "wrong.toml"
    file.write_text(text, encoding="utf-8")
    try:
        config = load_config(file)
        check_config(config)
        with contextlib.redirect_stdout(io.StringIO()):
            train(config, folder / "wrong")
    except (ValueError, OSError) as error:
        line = error_line(error) or ""
        return line if refusal.says in line and "\n" not in line else ""
    return ""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one form of each kind")
    args = parser.parse_args(argv)
    print_versions()
    passed = total = 0
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        root = write_tiny_flickr8k(top / "data")
        for number, form in enumerate(forms(top, root, quick=args.quick)):
            started, folder = time.monotonic(), top / str(number)
            folder.mkdir()
            how = ", fine-tuned" if form.fine_tuned else ""
            print(f"{form.name}{how}", flush=True)
            found = failures(form, root, folder)
            print(f"  {'; '.join(found) or 'pass'} ({time.monotonic() - started:.0f} s)", flush=True)
            passed, total = passed + (not found), total + 1
        right = wrong = 0
        for number, refusal in enumerate(refusals()):
            folder = top / f"wrong{number}"
            folder.mkdir()
            line = refused(refusal, root, folder)
            print(f"refusal of {refusal.what}: {line[:240] or 'NOT REFUSED'}", flush=True)
            right, wrong = right + bool(line), wrong + 1
    figure = f"{passed} of {total} forms pass, {right} of {wrong} wrong settings refused"
    return verdict("backbones", figure, "all", passed == total and right == wrong)


if __name__ == "__main__":
    sys.exit(main())
