"""Evaluation of embeddings: JSON form of the table, checksum of the gallery, and the printed table."""

from __future__ import annotations

import json

import numpy as np
import pytest

from itembed_tf.config import load_config
from itembed_tf.data.readers import Group
from itembed_tf.evaluation.coco_positives import captions_in_order, image_of_caption
from itembed_tf.evaluation.embeddings import Embeddings
from itembed_tf.evaluation.evaluate import evaluate_embeddings
from itembed_tf.evaluation.formatting import format_table
from itembed_tf.evaluation.rank_files import read_ranks
from itembed_tf.retrieval import Bank, Calibration, Correction, RetrievalTable, retrieval_table


def embeddings(groups: list[Group], noise: float) -> Embeddings:
    generator = np.random.default_rng(0)
    images = generator.normal(size=(sum(len(g.images) for g in groups), 16))
    first = np.cumsum([0, *(len(g.images) for g in groups)])
    captions = np.concatenate([np.repeat(images[i : i + 1], len(g.captions), axis=0) for i, g in zip(first, groups)])
    captions += noise * generator.normal(size=captions.shape)
    return Embeddings(*(side / np.linalg.norm(side, axis=1, keepdims=True) for side in (images, captions)))


def people(count: int) -> list[Group]:
    return [Group(f"p{i:03}", (f"{i}a.jpg", f"{i}b.jpg"), (f"man {i}", f"coat {i}"), "test") for i in range(count)]


def test_person_search_prints_text_queries_only(tmp_path):
    config, groups = load_config(None, ["dataset.name=cuhk-pedes"]), people(30)
    table = evaluate_embeddings(config, "test", groups, embeddings(groups, 0.3), ranks_to=tmp_path)
    assert table.name == "cuhk/60x60" and table.split == "test" and table.dataset == "cuhk-pedes"
    block = table.to_json()
    assert json.loads(json.dumps(block)) == block and RetrievalTable.from_json(block) == table
    printed = format_table(table)
    assert printed.startswith("cuhk-pedes test, cuhk: person search, every image of the caption's identity is correct;")
    assert "image → text" not in printed and "text → image" in printed and "rsum" not in printed
    for name in ("mAP", "mINP"):
        low, high = table.text_query.intervals[name]
        line = next(line for line in printed.splitlines() if line.strip().startswith(name))
        assert f"{table.text_query[name]:.1f}  (95 %: {low:.1f} to {high:.1f})" in line
    assert printed.endswith("on average a caption has 2 correct images")
    assert "mAP" in read_ranks(tmp_path, "test", "cuhk").queries["text_query"].rates


def test_printed_table_has_intervals_and_the_chance_level():
    config, groups = load_config(None, ["dataset.name=folder"]), people(30)
    table = evaluate_embeddings(config, "dev", groups, embeddings(groups, 0.8))
    header, *lines = format_table(table).splitlines()[1:]
    assert header.split() == ["R@1", "R@5", "R@10", "MedR", "MeanR"]
    for start, direction in ((0, "image_query"), (4, "text_query")):
        name, low, high, chance = lines[start : start + 4]
        figures = table[direction]
        assert name.split()[3:6] == [f"{figures[f'R@{k}']:.1f}" for k in (1, 5, 10)]
        bounds = [figures.intervals[f"R@{k}"] for k in (1, 5, 10)]
        assert low.split()[3:] == [f"{pair[0]:.1f}" for pair in bounds]
        assert high.split()[1:] == [f"{pair[1]:.1f}" for pair in bounds]
        assert chance.split()[:2] == ["chance", f"{100 * 2 / 60:.1f}"]  # two of sixty items are correct
    assert lines[0].endswith("gallery: 60 captions") and lines[4].endswith("gallery: 60 images")
    assert lines[8].startswith(f"rsum {table.rsum:.1f}  (95 %: ") and "; chance: " in lines[8]


def test_table_without_intervals_and_chance_is_read_and_printed():
    """Blocks of older metrics.json files, and of dev after an epoch, lack them."""
    figures = {"R@1": 10.0, "R@5": 20.0, "R@10": 30.0, "MedR": 4.0, "MeanR": 1234.5}
    block = {"image_query": figures, "text_query": figures, "rsum": 120.0}
    table = RetrievalTable.from_json(block)
    assert table.to_json() == block
    printed = format_table(table)
    assert "rsum 120.0" in printed and "1,234.5" in printed and "95 %" not in printed and "chance" not in printed


def test_gallery_checksum_covers_ids_and_captions():
    config, groups = load_config(None, ["dataset.name=folder"]), people(4)
    gallery = evaluate_embeddings(config, "test", groups, embeddings(groups, 0.1)).gallery
    assert evaluate_embeddings(config, "test", groups, embeddings(groups, 0.9)).gallery == gallery
    other = [*groups[:3], Group("p003", ("3a.jpg", "3b.jpg"), ("man 3", "hat 3"), "test")]
    assert evaluate_embeddings(config, "test", other, embeddings(other, 0.1)).gallery != gallery


@pytest.mark.slow
def test_coco_protocols_on_groups_as_the_reader_returns_them():
    pytest.importorskip("eccv_caption", reason="the extra coco is not installed")
    captions: dict[int, list[int]] = {}
    for caption in captions_in_order().tolist():
        captions.setdefault(image_of_caption()[caption], []).append(caption)
    groups = [
        Group(str(image), (f"{image}.jpg",), tuple(map(str, ids)), "test", caption_ids=tuple(ids))
        for image, ids in sorted(captions.items(), key=lambda item: str(item[0]))  # the reader sorts groups by id
    ]
    groups[7] = Group(groups[7].id, ("7.jpg",), (*groups[7].captions, "6th"), "test", "", (*groups[7].caption_ids, 1))
    config, side = load_config(None, ["dataset.name=coco"]), embeddings(groups, 2.0)
    folds = evaluate_embeddings(config, "test", groups, side, "coco-1k")
    listed = evaluate_embeddings(config, "test", groups, side, "coco-1k-listed")
    assert folds.name == "coco-1k/1000x5000" and listed.name == "coco-1k-listed/1000x5000"
    assert folds.text_query != listed.text_query, "the published folds are not in the order of ids"
    eccv = evaluate_embeddings(config, "test", groups, side, "eccv")
    assert len(eccv.image_query.intervals) == 5 and 0 < eccv.image_query["mAP@R"] < 100
    without = [Group(g.id, g.images, g.captions, g.split) for g in groups]
    with pytest.raises(ValueError, match=r"needs COCO's ids.*does not have"):
        evaluate_embeddings(config, "test", without, side, "cxc")


def test_corrected_figures_are_those_of_corrected_scores_and_have_a_name_of_their_own():
    config, groups = load_config(None, ["dataset.name=folder"]), people(30)
    sides = embeddings(groups, 0.8)
    queries = np.random.default_rng(1).normal(size=(2, 40, 16))
    queries /= np.linalg.norm(queries, axis=2, keepdims=True)
    banks = [Bank(vectors, np.arange(40, dtype=np.int32)) for vectors in queries]
    strong, light = Correction(1.0, 3), Correction(0.25, 1)
    calibration = Calibration("c", *banks, {"text_to_image": strong, "image_to_text": light})
    plain = evaluate_embeddings(config, "dev", groups, sides)
    table = evaluate_embeddings(config, "dev", groups, sides, calibration=calibration)
    assert (plain.name, table.name) == ("whole/60x60", "whole/60x60 hubness-corrected")
    assert table.protocol.startswith("folder dev, hubness-corrected whole: ") and "hubness" not in plain.protocol
    names = np.repeat(np.arange(30), 2)
    # the bias is one more dimension of an item, which the query meets with a 1; each direction has its own
    image_bias = np.sort(sides.images @ banks[0].vectors.T, axis=1)[:, -3:].mean(axis=1)
    caption_bias = 0.25 * (sides.captions @ banks[1].vectors.T).max(axis=1)
    by_text = retrieval_table(
        np.column_stack([sides.images, -image_bias]), np.column_stack([sides.captions, np.ones(60)]), names, names
    )
    by_image = retrieval_table(
        np.column_stack([sides.images, np.ones(60)]), np.column_stack([sides.captions, -caption_bias]), names, names
    )
    assert table.text_query.values == by_text.text_query.values != plain.text_query.values
    assert table.image_query.values == by_image.image_query.values != plain.image_query.values
