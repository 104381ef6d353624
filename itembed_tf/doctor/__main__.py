"""Program: a data set -> what is wrong with it, before anything is trained on it.

    python -m itembed_tf.doctor                                  OpenMoji, into runs/openmoji-doctor
    python -m itembed_tf.doctor configs/flickr8k.toml            into runs/flickr8k-doctor
    python -m itembed_tf.doctor my.toml checked --set dataset.root=my_pictures

It writes index.html (a page to look at), doctor.json (all findings) and merge.jsonl (groups that show the same picture,
for dataset.merge). It ends with 1 where the same picture is in several splits, unless dataset.leaks = "keep".
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from itembed_tf.config import Config, ConfigError, arguments, config_parser, named_config
from itembed_tf.data.readers import attribution, read_dataset
from itembed_tf.doctor.findings import examine
from itembed_tf.doctor.page import write_page
from itembed_tf.files import write_atomically


def doctor(config: Config, folder: Path) -> dict[str, Any]:
    """Examine the data set of a config, and write `folder`; gives what doctor.json holds."""
    groups = read_dataset(**arguments(config.dataset))
    report = examine(groups, config)
    lines = Path(config.dataset.merge).read_text("utf-8-sig").splitlines() if config.dataset.merge else []
    lines += [json.dumps({"groups": f["groups"], "why": _why(f)}, ensure_ascii=False) for f in report["alike"]]
    write_atomically(folder / "merge.jsonl", "".join(f"{line}\n" for line in lines if line.strip()))
    write_atomically(folder / "doctor.json", json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    name = config.dataset.name if config.dataset.name != "folder" else Path(config.dataset.root).name
    write_page(folder, report, groups, title=name, attribution=attribution(config.dataset.name))
    return report


def _why(found: Mapping[str, Any]) -> str:
    pairs = found["pairs"]
    parts = [f"alike, difference {max(pair['difference'] for pair in pairs):.1f}", " and ".join(found["splits"])]
    parts += ["mirrored"] if any(pair["mirrored"] for pair in pairs) else []
    return ", ".join(parts)


def summary(report: Mapping[str, Any]) -> str:
    """The counts in lines, as the program prints them."""
    captions, alike = report["captions"], report["alike"]
    pairs = [pair for found in alike for pair in found["pairs"]]
    involved = sum(len(found["groups"]) for found in alike)
    same = captions["same"]
    lines = [
        f"{report['dataset']}: {report['pictures']:,} pictures, {captions['captions']:,} captions, groups: "
        + ", ".join(f"{n:,} {split}" for split, n in report["groups"].items()),
        f"  the same picture: {len(alike):,} sets of {involved:,} groups"
        f" ({sum(pair['same_file'] for pair in pairs):,} pairs byte for byte, "
        f"{sum(pair['mirrored'] for pair in pairs):,} mirrored); {report['leaks']:,} sets across splits",
        f"  the same sentence: {same['count']:,} on {same['groups']:,} groups, {same['in_training']:,} in training",
    ]
    lines += [f'    "{entry["sentence"]}" on {entry["count"]:,}' for entry in same["shown"][:3]]
    kinds = {
        "empty": "empty",
        "wordless": "without any word",
        "unknown": "without a known word",
        "long": "over-long",
    }
    counts = [f"{captions[kind]['count']:,} {name}" for kind, name in kinds.items()]
    lines += [f"  captions: {', '.join(counts)}; {captions['few']['count']:,} groups with few captions"]
    lines += [f"  cannot be read: {len(report['broken']):,} pictures"]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    writes = "folder for what is found (default: runs/<name of the config>-doctor)"
    args = config_parser("itembed_tf.doctor", __doc__, writes=writes).parse_args(argv)
    try:
        config, folder = named_config(args, "-doctor")
        report = doctor(config, folder)
    except (ConfigError, ModuleNotFoundError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"\n{summary(report)}\n")
    print(f"page:      {folder / 'index.html'}")
    print(f"findings:  {folder / 'doctor.json'}")
    print(f"merge:     {folder / 'merge.jsonl'}  (delete the lines that are wrong)")
    refused = report["leaks"] > 0 and config.dataset.leaks != "keep"
    if report["alike"]:
        again = " ".join(["python -m itembed_tf.train", *([args.config] if args.config else [])])
        again += "".join(f" --set {shlex.quote(each)}" for each in args.set)
        print("next: look at the page, then make one class of each set:")
        print(f"  {again} --set dataset.merge={folder / 'merge.jsonl'}" + (" --set dataset.leaks=drop" * refused))
    if refused:
        print(
            f"error: {report['leaks']:,} pictures are in several splits: what is held out would be seen in training. "
            'dataset.leaks = "drop" leaves the training side out, "keep" goes on all the same.',
            file=sys.stderr,
        )
    return int(refused)


if __name__ == "__main__":
    sys.exit(main())
