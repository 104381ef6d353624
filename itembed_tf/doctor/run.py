"""Runs all checks on the dataset of a config, writes the results, and summarises them for the console."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from itembed_tf.config import Config, arguments
from itembed_tf.data.readers import attribution, read_data
from itembed_tf.data.summary import format_counts
from itembed_tf.doctor.findings import DuplicateSet, Findings, check_data
from itembed_tf.doctor.page import write_page
from itembed_tf.files import write_atomically
from itembed_tf.progress import Steps


def doctor(config: Config, folder: Path) -> Findings:
    """Check the dataset of a config, and write index.html, doctor.json and merge.jsonl into `folder`."""
    steps = Steps(["read the dataset", "check images and captions", "write the page"])
    steps.start("read the dataset")
    data = read_data(**arguments(config.dataset))
    print(f"{config.dataset.name}: {format_counts(data)}")
    steps.start("check images and captions")
    findings = check_data(data, config)
    steps.start("write the page")
    lines = Path(config.dataset.merge).read_text("utf-8-sig").splitlines() if config.dataset.merge else []
    lines += [
        json.dumps({"groups": each.groups, "why": _reason(each)}, ensure_ascii=False)
        for each in findings.near_duplicates
    ]
    write_atomically(folder / "merge.jsonl", "".join(f"{line}\n" for line in lines if line.strip()))
    write_atomically(folder / "doctor.json", json.dumps(asdict(findings), ensure_ascii=False, indent=1) + "\n")
    name = config.dataset.name if config.dataset.name != "folder" else Path(config.dataset.root).name
    write_page(folder, findings, data.groups, title=name, attribution=attribution(config.dataset.name))
    return findings


def _reason(duplicates: DuplicateSet) -> str:
    difference = max(pair.difference for pair in duplicates.pairs)
    parts = [f"near-duplicates, difference {difference:.1f}", " and ".join(duplicates.splits)]
    parts += ["mirrored"] if any(pair.mirrored for pair in duplicates.pairs) else []
    return ", ".join(parts)


def summary(findings: Findings) -> str:
    """The number of findings of each kind, for the console."""
    captions, duplicates = findings.captions, findings.captions.duplicates
    pairs = [pair for each in findings.near_duplicates for pair in each.pairs]
    groups = sum(len(each.groups) for each in findings.near_duplicates)
    lines = [
        f"{findings.images:,} images, {captions.captions:,} captions",
        f"  near-duplicate images: {len(findings.near_duplicates):,} sets of {groups:,} groups"
        f" ({sum(pair.same_file for pair in pairs):,} pairs of equal files,"
        f" {sum(pair.mirrored for pair in pairs):,} mirrored)",
        f"  leakage between splits: {findings.leaks:,} of these sets",
        f"  duplicate captions: {duplicates.count:,} in {duplicates.groups:,} groups;"
        f" {duplicates.in_training:,} in several training groups",
        *(f'    "{each.caption}" in {each.count:,} groups' for each in duplicates.shown[:3]),
        f"  unusable captions: {captions.empty.count:,} empty, {captions.without_words.count:,} without words,"
        f" {captions.unknown.count:,} with out-of-vocabulary words only; {captions.truncated.count:,} truncated",
        f"  groups with few captions: {captions.few.count:,}",
        f"  unreadable images: {len(findings.unreadable):,}",
        f"  image files without a caption: {findings.images_without_caption:,}",
        *(f"    {name}" for name in findings.without_caption[:3]),
    ]
    return "\n".join(lines)
