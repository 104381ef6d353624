"""Does the reader of your own images read the layouts in which people have images and captions?

    python -m benchmarks.caption_layouts [--quick] [--errors]

Writes out thirty-three layouts as programs and public datasets write them (benchmarks/layouts.py), each with the same
twelve images and their captions, and reads each with the settings of the config `photos`. A layout counts as read if
every image has its own captions, and as refused if the error says what to do. The figure is the number that are read;
all others must be refused so. --errors prints warnings and errors; --quick leaves out Parquet, which needs pyarrow.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bad_data import ADVICE
from benchmarks.layouts import IMAGES, LAYOUTS, Layout
from benchmarks.runner import print_versions, verdict
from itembed_tf.config import arguments
from itembed_tf.config.schema import Dataset
from itembed_tf.data.readers import ReadData, read_data, read_image

BAR = 31  # all but web addresses and pointer files
ALL = ("train", "dev", "test")


def read(layout: Layout, root: Path) -> ReadData:
    dataset = Dataset(name="folder", root=str(root), splits=ALL)
    return read_data(**{**arguments(dataset), **layout.settings})


def outcome(layout: Layout, root: Path) -> tuple[str, str]:
    """``read``, ``refused`` or what is wrong; and the warnings or the error."""
    layout.write(root)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            data = read(layout, root)
        except (ValueError, FileNotFoundError) as error:
            text = str(error)
            return ("refused" if ADVICE.search(text) and str(root) in text else "refused without advice"), text
    said = "\n".join(str(each.message) for each in caught)
    found: dict[bytes, set[str]] = {}
    for group in data.groups:
        for image in group.images:
            found.setdefault(read_image(image), set()).update(group.captions)
    if found != {data: set(captions) for data, captions in IMAGES.items()}:
        return f"wrong: {len(found)} images, {len(data.groups)} groups", said
    wrong = [
        group.id for group in data.groups if layout.splits and group.split != layout.split(read_image(group.images[0]))
    ]
    return (f"wrong split: {wrong[:3]}" if wrong else "read"), said


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without Parquet")
    parser.add_argument("--errors", action="store_true", help="print all warnings and errors")
    args = parser.parse_args(argv)
    print_versions()
    layouts = {name: layout for name, layout in LAYOUTS.items() if not (args.quick and "Parquet" in name)}
    results = {}
    for name, layout in layouts.items():
        with tempfile.TemporaryDirectory() as folder:
            results[name], said = outcome(layout, Path(folder))
        print(f"{results[name]:10} {name}", flush=True)
        if said and (args.errors or results[name] not in ("read", "refused")):
            print("  " + said.replace(folder, "ROOT").replace("\n", "\n  "))
    good = sum(each == "read" for each in results.values())
    refused = sum(each == "refused" for each in results.values())
    bar = BAR - (len(LAYOUTS) - len(layouts))
    figure = f"{good} of {len(layouts)} read, {refused} refused with what to do"
    return verdict(
        "caption_layouts", figure, f"{bar}, the others refused", good >= bar and good + refused == len(layouts)
    )


if __name__ == "__main__":
    sys.exit(main())
