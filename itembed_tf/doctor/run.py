"""A check of the dataset of a config, and the files it writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itembed_tf.config import Config, arguments
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
