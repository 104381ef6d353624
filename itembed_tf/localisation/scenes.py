"""Generate synthetic scenes of OpenMoji drawings with known boxes, in the format of Flickr30k Entities.

    python -m itembed_tf.localisation.scenes OUT
    python -m itembed_tf.localisation.scenes OUT --train 200 --val 50 --test 50 --seed 1

Use it to try phrase localisation, or any other program that reads the format, without a download. In val and test,
three of four drawings also occur in training (`known`); one of four does not (`new`, with different drawings for val
and test). The second type of every phrase says which. OUT/DRAWINGS.tsv lists them. All drawings are by OpenMoji,
CC BY-SA 4.0; keep OUT/ATTRIBUTION.txt with them.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from itembed_tf.data.readers import openmoji
from itembed_tf.data.readers.group import bucket
from itembed_tf.errors import UsageError
from itembed_tf.files import folder_atomically, write_atomically
from itembed_tf.localisation.compose import Drawing, compose
from itembed_tf.program import command_line, program

LISTS = {"train": "train.txt", "dev": "val.txt", "test": "test.txt"}
PIXELS = 128  # side of a drawing before it is scaled into a scene
SHARE_NEW = 0.25  # share of new drawings in a val or test image
# phrase type of Flickr30k Entities -> words in an emoji's name or keywords; the first match counts
TYPES = {
    "animals": {"animal", "bird", "insect", "bug"},
    "vehicles": {"vehicle", "car", "ship", "boat", "train", "aircraft"},
    "instruments": {"instrument"},
    "clothing": {"clothing", "clothes", "clothed", "shoe", "hat"},
    "people": {"person", "man", "woman", "people", "boy", "girl", "child", "baby"},
    "bodyparts": {"body", "hand", "finger"},
}


@dataclass(frozen=True)
class Kinds:
    """Drawings of each split: `known` in training, `new` in one held-out split only."""

    known: list[Drawing]
    new: dict[str, list[Drawing]]


def openmoji_kinds(kinds: int) -> Kinds:
    """Select `kinds` drawings for training and a quarter as many new ones each for val and test: plain emoji, no flags.

    The split by base emoji of the OpenMoji reader is kept, so a new drawing is never a variant of a known one.
    """
    groups = [group for group in openmoji.read(split_by="base") if "-" not in group.id]
    groups.sort(key=lambda group: bucket(group.id, 2**32))
    chosen = {split: [g for g in groups if g.split == split] for split in LISTS}
    chosen = {split: found[: kinds if split == "train" else -(-kinds // 4)] for split, found in chosen.items()}
    words = openmoji.keywords(group.id for found in chosen.values() for group in found)
    drawn = {
        split: [
            Drawing(
                id=group.id,
                name=group.captions[0],
                type=next((type for type, marks in TYPES.items() if marks & words[group.id]), "other"),
                image=Image.open(io.BytesIO(openmoji.cutout(group.id, PIXELS))).convert("RGBA"),
            )
            for group in tqdm(found, desc=f"drawing for {split}", unit=" drawings")
        ]
        for split, found in chosen.items()
    }
    return Kinds(drawn["train"], {"dev": drawn["dev"], "test": drawn["test"]})


def write_scenes(out: str | Path, kinds: Kinds, counts: dict[str, int], seed: int, attribution: str) -> Path:
    """Write all splits of composed images into a new folder `out`.

    Args:
        out: folder; its layout is documented in module `entities`.
        kinds: drawings to compose the images of.
        counts: number of images of each split: "train", "dev", "test".
        seed: random seed; the same seed gives the same files.
        attribution: content of ATTRIBUTION.txt.

    Raises:
        FileExistsError: `out` exists.
    """
    with folder_atomically(out) as folder:
        for name in ("images", "Sentences", "Annotations"):
            (folder / name).mkdir()
        chain = 1
        for number, (split, file) in enumerate(LISTS.items()):
            ids = [f"{number + 1}{i:06}" for i in range(counts[split])]
            for id in tqdm(ids, desc=f"composing {split}", unit=" images"):
                draw = random.Random(f"{seed} {id}")
                new = [draw.random() < SHARE_NEW and split != "train" for _ in range(draw.randint(3, 6))]
                some_new = draw.sample(kinds.new.get(split, []), sum(new)) if any(new) else []
                chosen = [(drawing, "known") for drawing in draw.sample(kinds.known, len(new) - sum(new))]
                chosen += [(drawing, "new") for drawing in some_new]
                draw.shuffle(chosen)
                scene = compose(chosen, draw, id=id, first_chain=chain)
                chain = scene.next_chain
                scene.image.save(folder / "images" / f"{id}.jpg", quality=92)
                (folder / "Sentences" / f"{id}.txt").write_text(scene.sentences, encoding="utf-8")
                (folder / "Annotations" / f"{id}.xml").write_text(scene.annotation, encoding="utf-8")
            (folder / file).write_text("".join(f"{id}\n" for id in ids), encoding="utf-8")
        rows = [("train, val, test", d) for d in kinds.known]
        rows += [({"dev": "val"}.get(split, split), d) for split, found in kinds.new.items() for d in found]
        table = [f"{drawing.id}\t{drawing.name}\t{drawing.type}\t{where}\n" for where, drawing in rows]
        write_atomically(folder / "DRAWINGS.tsv", "".join(["drawing\tname\ttype\tsplits\n", *table]))
        write_atomically(folder / "ATTRIBUTION.txt", f"{attribution}\n")
    return Path(out)


@program
def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        "python -m itembed_tf.localisation.scenes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", help="new folder")
    parser.add_argument("--train", type=int, default=400, help="images (default: 400)")
    parser.add_argument("--val", type=int, default=50, help="images (default: 50)")
    parser.add_argument("--test", type=int, default=150, help="images (default: 150)")
    parser.add_argument("--kinds", type=int, default=200, help="number of drawings in training (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    args = parser.parse_args(argv)
    if min(args.train, args.val, args.test) < 1 or args.kinds < 24:
        raise UsageError("--train, --val and --test must be at least 1, --kinds at least 24")
    counts = {"train": args.train, "dev": args.val, "test": args.test}
    folder = write_scenes(args.out, openmoji_kinds(args.kinds), counts, args.seed, openmoji.attribution())
    print(f"\nscenes:  {folder} ({args.train} train, {args.val} val, {args.test} test)")
    print(f"next:    {command_line('localise', 'localisation', '--set', f'dataset.root={folder}')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
