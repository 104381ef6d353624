"""Program: images, sentences and boxes -> which box of an image each phrase speaks of, learned and measured.

    python -m itembed_tf.localisation.scenes scenes         (data to try it on)
    python -m itembed_tf.localisation configs/localisation.toml --set dataset.root=scenes
    python -m itembed_tf.localisation configs/localisation.toml runs/mine \\
        --set dataset.root=flickr30k_entities --proposals edge_boxes.jsonl

It writes index.html (boxes drawn on images), metrics.json, config.toml and proposals.jsonl. A killed run starts anew,
with the features of its regions from the cache folder. Figures are of test, or of dev where there is no test.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from itembed_tf.config import Config, ConfigError, config_parser, dump_config, named_config
from itembed_tf.files import write_atomically
from itembed_tf.localisation.entities import read_entities, summary
from itembed_tf.localisation.experiment import evaluate, learn, new_model, prepare
from itembed_tf.localisation.page import write_localisation_page
from itembed_tf.localisation.proposals import compute_proposals, read_proposals, write_proposals

MOST = 200  # proposals of an image


def localise(config: Config, folder: Path, *, proposals: str, most: int, places: bool) -> dict[str, Any]:
    """Read, learn and measure as the config says, and write `folder`; gives what metrics.json holds."""
    images = read_entities(config.dataset.root, config.dataset.splits)
    holds = summary(images)
    print("\n".join(f"  {count:>9,} {what}" for what, count in holds.items()))
    boxes = read_proposals(proposals, images, most) if proposals else compute_proposals(images, most)
    write_proposals(folder / "proposals.jsonl", boxes)
    write_atomically(folder / "config.toml", dump_config(config))
    material = prepare(config, images, boxes, positions=places)
    held_out = "test" if "test" in material.regions else "dev"
    model = new_model(config, material)
    stages = []
    for place, stage in enumerate(config.stages):
        entry = learn(model, config, material, stage, place)
        for split in {"dev", held_out} & set(material.regions):
            found, entry[split] = evaluate(model, material, split)
        stages.append(entry)
        print(f"stage {stage.name}: {line(entry[held_out]['all'])}")
    found, figures = evaluate(model, material, held_out)
    metrics = {"schema": 1, "data": holds, "split": held_out, "stages": stages, held_out: figures}
    write_atomically(folder / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    title, notice = Path(config.dataset.root).resolve().name, Path(config.dataset.root) / "ATTRIBUTION.txt"
    said = notice.read_text(encoding="utf-8").strip() if notice.is_file() else ""
    regions = material.regions[held_out]
    write_localisation_page(folder, figures, found, regions, title=title, split=held_out, attribution=said)
    return metrics


def line(figures: dict[str, Any]) -> str:
    """The figures of one set of phrases in a line."""
    recalls = ", ".join(f"{k} {figures[k]:.1f} (random {figures['random'][k]:.1f})" for k in figures["random"])
    return f"{recalls}, whole image {figures['whole_image']:.1f}, upper bound {figures['upper_bound']:.1f}"


def main(argv: Sequence[str] | None = None) -> int:
    writes = "folder for what is found (default: runs/<name of the config>)"
    parser = config_parser("itembed_tf.localisation", __doc__, writes=writes)
    parser.add_argument("--proposals", default="", metavar="FILE", help="boxes of each image, in JSON lines")
    parser.add_argument("--most", type=int, default=MOST, help=f"proposals of an image (default: {MOST})")
    parser.add_argument("--no-places", action="store_true", help="do not tell the network where a box lies")
    args = parser.parse_args(argv)
    try:
        if args.config is None:
            raise ConfigError("name a config: configs/localisation.toml, with --set dataset.root=FOLDER")
        if args.most < 1:
            raise ConfigError(f"--most is {args.most}; an image needs a proposal or more")
        config, folder = named_config(args)
        if "train" not in config.dataset.splits or len(config.dataset.splits) < 2:
            raise ConfigError(f'dataset.splits is {config.dataset.splits}; it must hold "train", and one to measure on')
        metrics = localise(config, folder, proposals=args.proposals, most=args.most, places=not args.no_places)
    except (ConfigError, ModuleNotFoundError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    split = metrics["split"]
    print(f"\n{split}:     {line(metrics[split]['all'])}")
    print(f"page:      {folder / 'index.html'}")
    print(f"figures:   {folder / 'metrics.json'}")
    print(f"proposals: {folder / 'proposals.jsonl'}  (again with --proposals)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
