"""Does `itembed train` refuse 60 wrong settings before any data is read, and does each refusal say what is allowed?

    python -m benchmarks.bad_settings [--quick] [--answers]

Each setting is given to the training program over the default config, in one process. A refusal counts if the program
ends with exit code 2 and one line that names the key, the value and what is allowed; if nothing is written; and if
after all of them neither TensorFlow, Keras and NumPy nor a reader of data has been imported in that process.

The figure is the number of good refusals. --answers prints every refusal; --quick takes one setting of each section.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.runner import print_versions, verdict

CONFIG = "openmoji"  # the default
HEAVY = ("tensorflow", "keras", "numpy", "itembed_tf.data", "itembed_tf.text", "itembed_tf.models")
CHILD = """
import contextlib, io, json, sys
from itembed_tf.train import main

answers = []
for command in json.loads(sys.argv[1]):
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            code = main(command)
    except SystemExit as stopped:
        code = stopped.code
    except BaseException as error:
        code = f"a bare {type(error).__name__}"
    answers.append((code, errors.getvalue()))
print(json.dumps({"answers": answers, "modules": [name for name in sys.argv[2:] if name in sys.modules]}))
"""


class Wrong(NamedTuple):
    """A wrong setting, and what its refusal must contain beside the key.

    Attributes:
        setting: as given to --set.
        value: the value, as the refusal shows it.
        allowed: allowed values, or names of which one was meant.
        more: settings that are right, and with which this one is wrong.
        key: that the refusal must name; that of the setting if empty.
    """

    setting: str
    value: str
    allowed: str
    more: tuple[str, ...] = ()
    key: str = ""


WRONG = (
    # misspelt sections and keys
    Wrong("sed=1", "1", "did you mean 'seed'?"),
    Wrong("modle.scale=10.0", "10.0", "did you mean 'model'?", key="modle"),
    Wrong("image.sise=224", "224", "allowed: size, fit"),
    Wrong("stages.0.learning_rat=0.1", "0.1", "did you mean 'learning_rate'?"),
    Wrong("stages.0.temperature=0.1", "0.1", "infonce = { weight = 1.0, temperature = 0.1 }"),
    Wrong("stages.2.epochs=1", "1", "stages 0 to 1", key="stages.2"),
    # top level
    Wrong("max_pixels=0", "0", ">= 1"),
    Wrong('loggers=["mlfow"]', "mlfow", "tensorboard, mlflow, wandb"),
    Wrong("seed=-1", "-1", "0 to 4294967295"),
    Wrong("embedding_size=0", "0", "1 to 65536"),
    Wrong("precision=float16", "float16", "mixed_float16"),
    Wrong("determinism=yes", "yes", "auto, on, off"),
    Wrong("max_broken_percent=101", "101", "0 to 100"),
    # dataset
    Wrong("dataset.name=flickr", "flickr", "flickr30k"),
    Wrong("dataset.root=photos", "photos", "docs/your_images.md"),
    Wrong('dataset.splits=["train", "val"]', "val", "train, dev, test"),
    Wrong('dataset.splits=["dev", "test"]', '["dev", "test"]', 'add "train"'),
    Wrong("dataset.split_by=karpathy", "karpathy", "allowed: base, id"),
    Wrong("from_run=no/such/run", "no/such/run", "finished run"),
    Wrong("distill_from=no/such/run", "no/such/run", "losses.distillation = 3.0"),
    Wrong("dataset.shards=no/such/folder", "no/such/folder", "itembed prepare"),
    Wrong("dataset.merge=no/such/file", "no/such/file", "itembed doctor"),
    Wrong("teaching.keep=1", "1", "true or false"),
    # image, augmentation, data
    Wrong("image.size=16", "16", "32 to 2048"),
    Wrong("image.fit=pad", "pad", "stretch, crop"),
    Wrong("augmentation.crop_area=[0.0, 1.0]", "0.0", "> 0 and <= 1", key="augmentation.crop_area"),
    Wrong("augmentation.crop_aspect=[1.0]", "[1.0]", "a list of 2"),
    Wrong("data.word_dropout=1.0", "1.0", ">= 0 and < 1"),
    # text and word vectors
    Wrong("text.tokenizer=bpe", "bpe", "words, unicode"),
    Wrong("text.length=0", "0", "1 to 1000"),
    Wrong("word_vectors.source=glove50", "glove50", "did you mean 'glove-50'?"),
    Wrong("word_vectors.source=glove", '""', "name it here", ("word_vectors.extra_words=0",), "word_vectors.path"),
    Wrong("word_vectors.path=a.txt", "a.txt", "word2vec, glove, keyedvectors"),
    Wrong("word_vectors.source=minilm", "50000", "glove-50, word2vec", key="word_vectors.extra_words"),
    # towers, members
    Wrong("image_tower.backbone=resnet18", "resnet18", "resnet50"),
    Wrong("image_tower.weights=weights.npz", "weights.npz", ".pth or .h5"),
    Wrong("image_tower.weights=gone.weights.h5", "gone.weights.h5", "is not a file"),
    Wrong('image_tower.levels=["block9"]', "block9", "block7"),
    Wrong("image_tower.hidden=64", "64", "fc-bn-relu-dropout-fc"),
    Wrong("members=-1", "-1", "0 to 16"),
    Wrong("text_tower.depth=101", "101", "50, 152"),
    Wrong("text_tower.word_width=300", "300", "50 dimensions"),
    Wrong("text_tower.strides=[1, 2]", "[1, 2]", "each of the 1 stages"),
    Wrong("text_tower.pooling=avg", "avg", "mean+max"),
    # sentence features, classes, memory, model, CCA, evaluation, card
    Wrong("sentence.kind=mean", "mean", 'text_tower.variant = "features"'),
    Wrong("classes.clusters=-5", "-5", ">= 0"),
    Wrong("memory.weight=0.5", "0.5", "memory.rows is 0"),
    Wrong("calibration.rows=-1", "-1", ">= 0"),
    Wrong("model.classifier=none", "none", "infonce"),
    Wrong("model.start=cca", "cca", 'text_tower.head = "fc"'),
    Wrong("cca.regularisation=0.5", "0.5", 'model.start = "cca"'),
    Wrong("evaluation.shifts=right", "right", "left, all"),
    Wrong("card.license=Apache 2.0", "Apache 2.0", "apache-2.0"),
    # stages
    Wrong("stages.0.losses.nosuch=1", "1", "infonce"),
    Wrong("stages.0.losses.infonce.temperature=0", "0", "> 0"),
    Wrong('stages.1.freeze=["text"]', "text", "text_tower"),
    Wrong("stages.1.cached_views=2", "2", '"backbone"'),
    Wrong(
        "stages.0.multipliers={bacbone = 0.1}", "0.1", "did you mean 'backbone'?", key="stages.0.multipliers.bacbone"
    ),
    Wrong("stages.0.decay_epochs=[5]", "[5]", 'schedule = "steps"'),
    Wrong("stages.0.negatives=all", "all", "batch, replica"),
)


def quick() -> tuple[Wrong, ...]:
    """The first setting of each section."""
    first = {wrong.setting.partition("=")[0].split(".")[0]: wrong for wrong in reversed(WRONG)}
    return tuple(first.values())


def refusals(settings: Sequence[Wrong], run: Path) -> tuple[list[tuple[int, str]], list[str]]:
    """Exit code and error of the training program for each setting, and the heavy modules imported by then."""
    commands = [["openmoji", str(run), *_set(wrong)] for wrong in settings]
    command = [sys.executable, "-c", CHILD, json.dumps(commands), *HEAVY]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the process of the training program failed:\n{done.stderr}")
    report = json.loads(done.stdout)
    return [(code, text) for code, text in report["answers"]], report["modules"]


def _set(wrong: Wrong) -> list[str]:
    return [part for setting in (wrong.setting, *wrong.more) for part in ("--set", setting)]


def faults(wrong: Wrong, code: int, text: str) -> list[str]:
    """What a refusal lacks."""
    key = wrong.key or wrong.setting.partition("=")[0]
    parts = {"the key": key, "the value": wrong.value, "what is allowed": wrong.allowed}
    lacks = [f"does not name {what}: {part}" for what, part in parts.items() if part not in text]
    lacks += [] if code == 2 else [f"ends with {code}"]
    return lacks + ([] if text.startswith("error: ") and text.count("\n") == 1 else ["is not one error line"])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one setting of each section")
    parser.add_argument("--answers", action="store_true", help="print every refusal")
    args = parser.parse_args(argv)
    settings = quick() if args.quick else WRONG
    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        answers, modules = refusals(settings, Path(folder) / "run")
        written = sorted(path.name for path in Path(folder).iterdir())
    good = 0
    for wrong, (code, text) in zip(settings, answers, strict=True):
        lacks = faults(wrong, code, text)
        good += not lacks
        if lacks or args.answers:
            print(f"\n{wrong.setting}: {'; '.join(lacks) or 'good'}\n  {text.strip()[:300]}")
    before = not modules and not written
    print(
        f"\nimported: {', '.join(modules) or 'none of ' + ', '.join(HEAVY)}; written: {', '.join(written) or 'nothing'}"
    )
    bar = str(len(settings))
    return verdict("bad_settings", f"{good} of {bar} refused", bar, good == len(settings) and before)


if __name__ == "__main__":
    sys.exit(main())
