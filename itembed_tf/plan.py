"""Plan a training before it is started: classes, memory by part, steps, hours, disk, and the index of its images."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from itembed_tf.config import Config, arguments, check_config, member_configs, named_config
from itembed_tf.errors import UsageError
from itembed_tf.program import Parser, add_settings, program

if TYPE_CHECKING:
    from itembed_tf.training.planning import Plan, StagePlan

WORDS = 10_000  # of a vocabulary: 35,000 captions have some 8,000 words
EXAMPLES = """
  itembed plan photos --images 1000000 --memory 24
  itembed plan my_photos --like runs/mine              the images of a folder, at the speed of a finished run
  itembed plan flickr8k --images 113287 --captions 5 --images-per-s 900 --replicas 4 --json
"""


@program
def main(argv: Sequence[str]) -> int:
    parser = Parser("plan", __doc__, examples=EXAMPLES.strip("\n"))
    what = "name of a config, a TOML file, or a folder of images (default: openmoji)"
    parser.add_argument("config", nargs="?", metavar="CONFIG", help=what)
    parser.add_argument("--images", type=int, metavar="N", help="training images (default: those of the dataset)")
    parser.add_argument("--classes", type=int, metavar="N", help="training groups (default: one for each image)")
    parser.add_argument("--captions", type=float, default=1.0, metavar="N", help="captions of an image (default: 1)")
    parser.add_argument("--words", type=int, default=WORDS, metavar="N", help=f"of the vocabulary (default: {WORDS:,})")
    parser.add_argument("--replicas", type=int, default=1, metavar="R", help="devices that share each batch")
    parser.add_argument(
        "--memory", type=float, metavar="GB", help="of a device (default: what is free on this machine)"
    )
    parser.add_argument("--images-per-s", type=float, metavar="X", help="training speed of a device, for the hours")
    parser.add_argument("--like", metavar="RUN", help="finished run whose measured speeds give the hours")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON, memory in bytes")
    add_settings(parser, "override a setting of the config; may be repeated")
    parser.set_defaults(out=None)  # it writes nothing
    args = parser.parse_args(argv)
    for name in ("images", "classes", "captions", "words", "replicas", "memory", "images_per_s"):
        value = getattr(args, name)
        if value is not None and not 0 < value < 1e15:
            raise UsageError(f"--{name.replace('_', '-')}: must be above 0, and is {value:g}")
    config, _ = named_config(args)
    images, classes = _counts(config, args.images, args.classes)
    from itembed_tf.training.class_memory import machine_memory
    from itembed_tf.training.planning import measured_speeds, plan_training

    speeds = measured_speeds(Path(args.like)) if args.like else [args.images_per_s] if args.images_per_s else []
    memory = int(args.memory * 1e9) if args.memory else machine_memory()
    plan = plan_training(
        config,
        images=images,
        classes=classes,
        captions=round(args.captions * images),
        words=args.words,
        memory=memory,
        images_per_second=speeds,
        replicas=args.replicas,
    )
    if args.json:
        stages = [asdict(stage) | {"peak": stage.peak} for stage in plan.stages]
        index = dict(zip(("engine", "reason", "bytes"), index_plan(images, config.embedding_size), strict=True))
        print(json.dumps(asdict(plan) | {"stages": stages, "peak": plan.peak, "memory": memory, "index": index}))
    else:
        print("\n".join(_lines(config, plan, images, memory, args.replicas)))
    return 0 if plan.fits and plan.peak <= memory else 1


def _counts(config: Config, images: int | None, classes: int | None) -> tuple[int, int]:
    """Images and groups of train: as given, or read from the dataset."""
    if images is None:
        from itembed_tf.data.readers import read_data

        check_config(config)
        groups = [group for group in read_data(**arguments(config.dataset)).groups if group.split == "train"]
        images, classes = sum(len(group.images) for group in groups), classes or len(groups)
    classes = classes or images
    if images < 2 or classes > images:
        raise UsageError(
            f"--images {images} --classes {classes}: a training needs at least two images, and one for each class"
        )
    return images, classes


def index_plan(items: int, dimensions: int) -> tuple[str, str, int]:
    """Engine of an index of so many images, why, and the bytes of its vectors."""
    from itembed_tf.index.engines.choice import choose_engine

    choice = choose_engine(items)
    return choice.name, choice.note or choice.reason, items * dimensions * (2 if choice.name == "faiss" else 4)


def _lines(config: Config, plan: Plan, images: int, memory: int, replicas: int) -> list[str]:
    size = member_configs(config)[0].embedding_size
    lines = [f"training images {images:,}, class rows {plan.classes:,} x {size:,}"]
    lines += [plan.reason or f"softmax: {plan.softmax}"]
    for stage in plan.stages:
        lines += ["", *_stage_lines(stage)]
    fits = "fits into" if plan.fits and plan.peak <= memory else "does NOT fit into"
    lines += ["", f"{'peak memory of a device':44}{_size(plan.peak):>12}  {fits} {_size(memory)}"]
    known = _size(plan.features) if plan.features is not None else "unknown"
    lines += [f"{'cached features on disk':44}{known:>12}", f"{'checkpoints on disk':44}{_size(plan.checkpoints):>12}"]
    engine, reason, size = index_plan(images, config.embedding_size)
    lines += [f"{'index of these images: vectors':44}{_size(size):>12}  engine {engine}: {reason}"]
    if fits != "fits into":
        lines += [
            "",
            "to need less: a lower embedding_size; optimizer = sgd, keep = last, average = 0 in stages;",
        ]
        lines += ["model.softmax = sampled; classes.clusters; or infonce alone with model.classifier = none"]
    if replicas > 1:
        lines += [
            "",
            f"{replicas} replicas: the hours assume that each is as fast as one alone: a lower limit",
        ]
    return lines


def _stage_lines(stage: StagePlan) -> list[str]:
    hours = f", {stage.hours:.1f} hours" if stage.hours is not None else ""
    steps = stage.steps_per_epoch * stage.epochs
    lines = [f"stage {stage.name}: {stage.epochs} epochs of {stage.steps_per_epoch:,} steps, {steps:,} in all{hours}"]
    lines += [f"  {part.name:42}{_size(part.bytes):>12}" for part in stage.held]
    lines += [f"  {part.name + ' (in a step)':42}{_size(part.bytes):>12}" for part in stage.step]
    lines += [f"  {part.name:42}{_size(part.bytes):>12}" for part in stage.save]
    lines += [f"  {name:42}{'unknown':>12}" for name in stage.unknown]
    return [*lines, f"  {'peak':42}{_size(stage.peak):>12}"]


def _size(size: int) -> str:
    return f"{size / 1e9:,.2f} GB"


if __name__ == "__main__":
    sys.exit(main())
