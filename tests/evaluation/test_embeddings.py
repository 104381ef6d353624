"""The block that programs print and keep: its names, what it was measured on, and lines that can be taken apart."""

from __future__ import annotations

import json

import numpy as np
import pytest

from itembed_tf.config import load_config
from itembed_tf.data.readers import Group
from itembed_tf.evaluation.coco_positives import captions_in_order, pictures_of_captions
from itembed_tf.evaluation.embeddings import Embeddings, format_block, metrics_block
from itembed_tf.evaluation.rank_files import read_ranks


def embeddings(groups: list[Group], noise: float) -> Embeddings:
    draws = np.random.default_rng(0)
    images = draws.normal(size=(sum(len(g.images) for g in groups), 16))
    first = np.cumsum([0, *(len(g.images) for g in groups)])
    captions = np.concatenate([np.repeat(images[i : i + 1], len(g.captions), axis=0) for i, g in zip(first, groups)])
    captions += noise * draws.normal(size=captions.shape)
    return Embeddings(*(side / np.linalg.norm(side, axis=1, keepdims=True) for side in (images, captions)))


def people(count: int) -> list[Group]:
    return [Group(f"p{i:03}", (f"{i}a.jpg", f"{i}b.jpg"), (f"man {i}", f"coat {i}"), "test") for i in range(count)]


def test_person_search_shows_its_own_figures_alone(tmp_path):
    config, groups = load_config(None, ["dataset.name=cuhk-pedes"]), people(30)
    block = metrics_block(config, "test", groups, embeddings(groups, 0.3), keep=tmp_path)
    assert block["name"] == "cuhk/60x60" and block["split"] == "test" and block["dataset"] == "cuhk-pedes"
    assert json.loads(json.dumps(block)) == block
    said = format_block(block)
    assert said.startswith("cuhk-pedes test, cuhk: captions look for every picture of their identity; flip=yes")
    assert "picture query" not in said and "rsum" not in said
    for key in ("mAP", "mINP"):
        low, high = block["interval_95"]["text_query"][key]
        line = next(line for line in said.splitlines() if line.strip().startswith(key))
        assert f"{block['text_query'][key]:.1f}  (95 %: {low:.1f} to {high:.1f})" in line
    assert "mAP" in read_ranks(tmp_path, "test", "cuhk")[1]["text_query"].others


def test_the_gallery_is_known_by_its_pictures_and_captions():
    config, groups = load_config(None, ["dataset.name=folder"]), people(4)
    told = metrics_block(config, "test", groups, embeddings(groups, 0.1))["gallery"]
    assert metrics_block(config, "test", groups, embeddings(groups, 0.9))["gallery"] == told
    other = [*groups[:3], Group("p003", ("3a.jpg", "3b.jpg"), ("man 3", "hat 3"), "test")]
    assert metrics_block(config, "test", other, embeddings(other, 0.1))["gallery"] != told


def test_coco_as_its_reader_gives_it():
    pytest.importorskip("eccv_caption", reason="the extra coco is not installed")
    captions: dict[int, list[int]] = {}
    for caption in captions_in_order().tolist():
        captions.setdefault(pictures_of_captions()[caption], []).append(caption)
    groups = [
        Group(str(picture), (f"{picture}.jpg",), tuple(map(str, ids)), "test", caption_ids=tuple(ids))
        for picture, ids in sorted(captions.items(), key=lambda item: str(item[0]))  # sorted by id, as groups come
    ]
    groups[7] = Group(groups[7].id, ("7.jpg",), (*groups[7].captions, "6th"), "test", "", (*groups[7].caption_ids, 1))
    config, made = load_config(None, ["dataset.name=coco"]), embeddings(groups, 2.0)
    folds = metrics_block(config, "test", groups, made, "coco-1k")
    listed = metrics_block(config, "test", groups, made, "coco-1k-listed")
    assert folds["name"] == "coco-1k/1000x5000" and listed["name"] == "coco-1k-listed/1000x5000"
    assert folds["text_query"] != listed["text_query"], "the published folds are not in the order of ids"
    block = metrics_block(config, "test", groups, made, "eccv")
    assert len(block["interval_95"]["image_query"]) == 5 and 0 < block["image_query"]["mAP@R"] < 100
    without = [Group(g.id, g.images, g.captions, g.split) for g in groups]
    with pytest.raises(ValueError, match="these captions come without"):
        metrics_block(config, "test", without, made, "cxc")
