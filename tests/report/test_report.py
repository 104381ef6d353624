"""The report: all sections are present, correct results are marked, user text is escaped, nothing is fetched."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itembed_tf.analysis.overlap import Overlap
from itembed_tf.analysis.records import (
    Analysis,
    BeforeAfter,
    CaptionImportance,
    SimilarityMatrix,
    WordChange,
    WordMean,
    WordRanking,
)
from itembed_tf.data.batches import Items
from itembed_tf.data.unreadable import UnreadableImage
from itembed_tf.evaluation.embeddings import Embeddings
from itembed_tf.report import queries, write_report
from itembed_tf.report.charts import overlap_charts
from itembed_tf.retrieval import QueryFigures, RetrievalTable
from tests.support.html import Page
from tests.support.images import image_bytes

HOSTILE = "<script>alert('x')</script> & שלום 😀"
VALUES = {"R@1": 80.0, "R@5": 81.25, "R@10": 83.5, "MedR": 1.0, "MeanR": 5.5}
CHANCE = {"R@1": 3.33, "R@5": 16.7, "R@10": 33.3, "MedR": 15.0, "MeanR": 15.5}


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def results(**fields: Any) -> RetrievalTable:
    """Thirty images and sixty captions, two of each image."""
    return RetrievalTable(
        QueryFigures(VALUES, chance=CHANCE, correct_answers=2.0),
        QueryFigures(VALUES, chance=CHANCE, correct_answers=1.0),
        **{"protocol": "whole split", "name": "whole/30x60", "gallery_images": 30, "gallery_captions": 60, **fields},
    )


@pytest.fixture(name="run")
def run_fixture() -> dict[str, Any]:
    return example_run()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of `example_run`."""
    return Page(write_report(tmp_path_factory.mktemp("report"), **example_run()))


def example_run() -> dict[str, Any]:
    """Thirty groups of one image and two captions; the captions of the last five groups have opposite embeddings."""
    random = np.random.default_rng(1)
    groups = np.arange(30)
    caption_groups = np.repeat(groups, 2)
    base = random.normal(size=(30, 16))
    images = unit(base + 0.1 * random.normal(size=(30, 16)))
    captions = unit(base[caption_groups] + 0.1 * random.normal(size=(60, 16)))
    captions[50:] = -captions[50:]
    val = {"image_query": VALUES, "text_query": VALUES, "rsum": 489.5}
    train = {"loss": 2.5, "instance_image": 1.0, "instance_text": 1.5, "accuracy_image": 0.5, "accuracy_text": 0.25}
    speed = {"seconds": 1.0, "images_per_s": 30.0}
    history = [
        {"stage": stage, "epoch": epoch, **speed, "learning_rate": 0.1, "train": train, "val": val}
        for stage in ("first", "second")
        for epoch in (1, 2)
    ]
    stages = [{"name": name, "epochs": 2, **speed, "train": train, "val": val} for name in ("first", "second")]
    texts = [f"caption {index} of {index // 2}" for index in range(60)]
    return {
        "title": "runs/small <b>",
        "metrics": {"schema": 1, "dataset": "small", "finished": True, "stages": stages},
        "split": "test",
        "table": results(),
        "history": history,
        "items": Items([image_bytes(group) for group in groups], groups, texts, caption_groups),
        "embeddings": Embeddings(images, captions),
        "skipped": [UnreadableImage(f"bad_{index}.jpg", "not an image") for index in range(3)],
        "attribution": "Drawings by someone, CC BY-SA 4.0",
        "facts": {"Backbone": "none", "Seed": "0"},
        "analysis": analysis(),
    }


def analysis(*words: str) -> Analysis:
    """Two groups, and one caption with a known change for every word."""
    words = words or ("a", "red", "ball", "qwx")
    changes = (0.1, -0.25, -0.5, None)
    return Analysis(
        overlap=Overlap(np.array([0, 0, 20, 60]), np.array([0, 900, 900, 0]), 0.5, -0.1),
        words=WordRanking(
            captions=40,
            minimum_count=5,
            words=3,
            most=(WordMean(words[2], -0.5, 7), WordMean(words[1], -0.25, 6)),
            least=(WordMean(words[0], 0.1, 31),),
        ),
        examples=(CaptionImportance(3, 7, 0.75, tuple(map(WordChange, words, changes))),),
        similarity=BeforeAfter(
            (0, 1),
            (0, 2),
            before=SimilarityMatrix([[0.1, -0.2], [0.0, 0.05]], 0.075, -0.1, 2),
            after=SimilarityMatrix([[0.8, -0.4], [0.0, 0.5]], 0.65, -0.2, 1),
        ),
    )


def headline_rows(page: Page) -> list[list[str]]:
    section = page.section("headline")
    cells = ("th", "td")
    return [
        [cell["text"].strip() for cell in page.elements if cell["tag"] in cells and row is cell["inside"][-1]]
        for row in page.find("tr", section)
    ]


def test_all_sections_are_present(page: Page) -> None:
    run = example_run()
    assert page.find("h1")[0]["text"] == "runs/small <b>"
    text = page.section("headline")["text"].replace("\N{NO-BREAK SPACE}", " ")
    for expected in ("80.0 %", "81.2 %", "83.5 %", "5.5", "489.5 of 600", "whole split"):
        assert expected in text, expected
    assert "Of 60 captions, 84 % have the correct image among the first 10 results" in text
    assert "Of 30 images, 84 % have a correct caption" in text and "An image has 2 correct captions on average" in text
    captions = [caption["text"] for caption in page.find("caption", page.section("headline"))]
    assert captions == ["text → image", "image → text"]
    charts = [figure["text"] for figure in page.find("figure", class_="chart")]
    titles = ("Training loss", "Classifier accuracy", "rsum", "Recall, text → image", "Recall, image → text")
    for title in (*titles, "Similarity of pairs"):
        assert sum(title in chart for chart in charts) == 1, title
    assert all("stage first" in chart and "stage second" in chart for chart in charts if "of pairs" not in chart)
    for name, count in (("sampled-text", 12), ("sampled-image", 12), ("hardest-text", 5), ("hardest-image", 5)):
        section = page.section(name)
        assert len(page.find("article", section)) == count
        assert run["attribution"] in section["text"]
    assert "bad_2.jpg" in page.section("skipped")["text"] and "not an image" in page.section("skipped")["text"]
    assert [fact["text"] for fact in page.find("dd", page.section("facts"))] == ["none", "0"]


def test_correct_and_wrong_results_are_marked(page: Page) -> None:
    embeddings = example_run()["embeddings"]
    group_of_alt = {f"caption {2 * group} of {group}": group for group in range(30)}  # alt: the first caption
    seen = {"right": 0, "wrong": 0, "far": 0}
    for article in page.find("article"):
        query = int(article["at"]["data-query"])
        is_text = article["inside"][-2]["at"]["id"].endswith("-text")
        group = query // 2 if is_text else query
        vectors, gallery = embeddings.captions, embeddings.images
        if not is_text:
            vectors, gallery = gallery, vectors
        order = np.argsort(-(gallery @ vectors[query]))
        item_groups = np.arange(30) if is_text else np.arange(60) // 2
        rank = 1 + int(np.flatnonzero(item_groups[order] == group)[0])
        assert f"rank {rank} of {len(gallery)}" in " ".join(article["text"].split())
        answers = page.find("li", article)
        far = [answer for answer in answers if "far" in answer["at"]["class"]]
        shown = 10 if is_text else 5
        assert len(answers) - len(far) == shown and len(far) == (rank > shown)
        for position, answer in enumerate(answers):
            if is_text:
                answer_group = group_of_alt[page.find("img", answer)[0]["at"]["alt"]]
            else:
                words = page.find("span", answer, class_="words")[0]
                assert words["at"]["dir"] == "auto"
                answer_group = int(words["text"].split()[-1])
            correct = answer_group == group
            classes = answer["at"]["class"].split()
            assert ("right" in classes) == correct and ("wrong" in classes) == (not correct)
            marks = [svg["at"]["aria-label"] for svg in page.find("svg", answer)]
            assert marks == ["correct" if correct else "wrong"]  # a tick or a cross in addition to the colour
            place = rank if answer in far else position + 1
            assert f"{place}." in answer["text"].split()
            seen["right" if correct else "wrong"] += 1
            seen["far"] += answer in far
    assert all(seen.values()), seen


def test_nothing_is_fetched_and_user_text_is_escaped(run: dict[str, Any], tmp_path: Path) -> None:
    run["items"] = replace(run["items"], captions=[HOSTILE] * 60)
    run["skipped"] = [UnreadableImage(HOSTILE, HOSTILE)]
    run["facts"] = {HOSTILE: HOSTILE}
    run |= {"title": HOSTILE, "attribution": HOSTILE, "analysis": analysis(*[HOSTILE] * 4)}
    run["history"][0]["stage"] = HOSTILE
    path = write_report(tmp_path, **run)
    page, source = Page(path), path.read_text(encoding="utf-8")
    assert not page.find("script") and not page.find("link")
    assert "<script" not in source
    assert page.find("h1")[0]["text"] == HOSTILE
    assert any(quote["text"] == HOSTILE and quote["at"]["dir"] == "auto" for quote in page.find("q"))
    assert not re.search(r"https?://|url\((?!#)|@import", source)
    for element in page.elements:
        assert not any(name.startswith("on") for name in element["at"])
        for name in ("src", "href"):
            assert (element["at"].get(name) or "#").startswith(("#", "data:image/"))
    assert all(image["at"]["alt"] for image in page.find("img"))
    ids = [element["at"]["id"] for element in page.elements if "id" in element["at"]]
    assert len(ids) == len(set(ids)), "the charts share ids"


def test_corrected_figures_say_that_they_are(run: dict[str, Any], page: Page, tmp_path: Path) -> None:
    run |= {"history": [], "analysis": None, "split": "dev", "corrected": results(name="whole/30x60 hubness-corrected")}
    shown = Page(write_report(tmp_path, **run)).section("headline")["text"]
    assert "With scores corrected for hubs" in shown and "R@1 80.0 %, rsum" in shown and "optimistic" in shown
    assert "corrected for hubs" not in page.section("headline")["text"]


def test_image_that_cannot_be_shown_is_named(run: dict[str, Any], tmp_path: Path) -> None:
    run |= {"history": [], "analysis": None}
    images = [*(str(tmp_path / f"lost_{index}.jpg") for index in range(29)), b"not an image"]
    run["items"] = replace(run["items"], images=images)
    page = Page(write_report(tmp_path, **run))
    gone = page.find("span", class_="gone")
    assert gone and not page.find("img")
    assert all("lost_" in place["text"] or "image 29" in place["text"] for place in gone)
    (listed,) = page.find("ul", id="broken")
    assert "image 29" in listed["text"] and "lost_1.jpg" in listed["text"]


def test_one_stage_without_evaluation_and_an_empty_split(run: dict[str, Any], tmp_path: Path) -> None:
    run["metrics"]["stages"] = [{"name": "only", "epochs": 1, "seconds": 1.0, "images_per_s": 1.0, "train": {}}]
    run["history"] = [{"stage": "only", "epoch": 1, "train": {"loss": 1.0, "infonce": float("nan")}}]
    run |= {"attribution": "", "skipped": [], "analysis": None, "table": None}
    page = Page(write_report(tmp_path, **run))
    titles = [page.find("b", figure)[0]["text"] for figure in page.find("figure")]
    assert titles == ["Training loss"]
    assert not page.find("section", id="words") and not page.find("section", id="before-after")
    assert "Nothing was evaluated" in page.section("headline")["text"] and page.find("article")
    assert "all images could be read" in page.section("skipped")["text"]
    none = np.zeros(0, int)
    run |= {"history": [], "facts": {}, "items": Items([], none, [], none)}
    run["embeddings"] = Embeddings(np.zeros((0, 16), np.float32), np.zeros((0, 16), np.float32))
    assert not Page(write_report(tmp_path, **run)).find("article")


def test_results_have_intervals_and_the_chance_level(run: dict[str, Any], tmp_path: Path) -> None:
    run |= {"history": [], "analysis": None}
    bounds = {"R@1": (76.04, 83.96), "R@5": (77.0, 85.0), "R@10": (80.0, 87.0)}
    table = results(rsum_interval=(470.0, 500.0))
    text = replace(table.text_query, intervals=bounds)
    image = replace(table.image_query, intervals={**bounds, "R@1": (60.0, 91.0)})
    run |= {"split": "dev", "table": replace(table, image_query=image, text_query=text)}
    page = Page(write_report(tmp_path, **run))
    rows = headline_rows(page)
    assert rows[0] == ["measure", "bar", "result", "95 % interval", "chance"]
    expected = [["80.0 %", "76.0 to 84.0", "3.3 %"], ["80.0 %", "60.0 to 91.0", "3.3 %"]]
    assert [row[2:] for row in rows if row[0] == "R@1"] == expected
    assert [row[3:] for row in rows if row[0] == "Mean rank"] == [["", "15.5"], ["", "15.5"]]
    assert page.find("em", page.section("headline"))[0]["at"]["style"] == "left:76.0%;width:7.9%"
    text = " ".join(page.section("headline")["text"].split())
    assert "489.5 of 600 (95 % interval 470.0 to 500.0)" in text


def test_person_search_shows_the_scored_direction_only(run: dict[str, Any], tmp_path: Path) -> None:
    run |= {"history": [], "analysis": None}
    table = results(name="cuhk/30x60")
    text = QueryFigures({**VALUES, "mAP": 71.3, "mINP": 52.8}, {"mAP": (70.0, 72.5)}, CHANCE, 2.0)
    run["table"] = replace(table, text_query=text)
    page = Page(write_report(tmp_path, **run))
    rows = [row for row in headline_rows(page) if row[0] in ("R@1", "mAP", "mINP")]
    assert [[row[0], *row[2:]] for row in rows] == [
        ["R@1", "80.0 %", "", "3.3 %"],
        ["mAP", "71.3 %", "70.0 to 72.5", "–"],
        ["mINP", "52.8 %", "", "–"],
    ]
    text = page.section("headline")["text"]
    assert "rsum" not in text and "text → image" in text and "image → text" not in text


def test_long_captions_are_shortened(run: dict[str, Any], tmp_path: Path) -> None:
    run["history"] = []
    run["items"] = replace(run["items"], captions=["word " * 20_000] * 60)
    words = (WordChange("w" * 60_000, -0.1),) * 20_000
    run["analysis"] = replace(run["analysis"], examples=(CaptionImportance(3, 7, 0.75, words),))
    assert write_report(tmp_path, **run).stat().st_size < 500_000


def test_mismatched_numbers_of_items_are_refused(run: dict[str, Any], tmp_path: Path) -> None:
    run["items"] = replace(run["items"], captions=run["items"].captions[:-1])
    with pytest.raises(ValueError, match=r"each of the captions; their numbers are \(59, 60, 60\)"):
        write_report(tmp_path, **run)


def test_overlap_chart_by_hand() -> None:
    """A quarter of the matching pairs share a bin with half of the others, where either is higher equally often."""
    (chart,) = overlap_charts(analysis().overlap)
    assert "S = 0.250" in chart.note and f"AUC {100 * (0.75 + 0.25 * (0.5 + 0.5 / 2)):.1f} %" in chart.note
    assert overlap_charts(Overlap(np.zeros(2, int), np.array([1, 2]), float("nan"), 0.0)) == []


def test_words_are_shaded_by_their_change(page: Page) -> None:
    section = page.section("words")
    (shaded,) = page.find("p", section, class_="shaded")
    marks = [(mark["text"], mark["at"]["class"], mark["at"]["style"]) for mark in page.find("mark", shaded)]
    assert marks == [
        ("a", "against", "--shade: 0.2"),  # relative to the largest change, 0.5
        ("red", "tells", "--shade: 0.5"),
        ("ball", "tells", "--shade: 1.0"),
        ("qwx", "unknown", "--shade: 0.0"),
    ]
    (top,) = page.find("ol", section, class_="top-words")
    assert top["text"].split() == ["ball", "-0.50", "red", "-0.25"]  # "a" is not important
    (image,) = page.find("img", section)
    assert image["at"]["alt"] == "caption 6 of 3"  # the first caption of image 3
    most, least = page.find("table", section)
    assert [row["text"] for row in page.find("th", most, scope="row")] == ["ball", "red"]
    assert [row["text"] for row in page.find("th", least, scope="row")] == ["a"]
    assert "width:50.0%" in [bar["at"]["style"] for bar in page.find("i", most)]


def test_similarities_before_and_after_share_one_scale(page: Page, run: dict[str, Any], tmp_path: Path) -> None:
    before, after = page.find("figure", page.section("before-after"))
    assert "2 of 2 images" in before["text"] and "1 of 2 images" in after["text"]
    squares = {path["at"]["d"]: path["at"]["style"] for path in page.find("path", after)}
    assert squares == {  # relative to the largest similarity of both, 0.8; 0 is blank
        "M0 0h1v1h-1z": "fill:var(--text);fill-opacity:1.00",
        "M1 0h1v1h-1z": "fill:var(--image);fill-opacity:0.50",
        "M1 1h1v1h-1z": "fill:var(--text);fill-opacity:0.62",
    }
    assert "fill:var(--text);fill-opacity:0.12" in [path["at"]["style"] for path in page.find("path", before)]
    similarity = replace(run["analysis"].similarity, before=None)
    run |= {"analysis": replace(run["analysis"], similarity=similarity), "history": []}
    page = Page(write_report(tmp_path, **run))
    assert len(page.find("figure", page.section("before-after"))) == 1
    assert "not available" in page.section("before-after")["text"]


def test_hardest_queries_have_distinct_groups_and_ranks_above_one() -> None:
    answerable, groups = np.array([0, 2, 3, 5, 6]), np.array([0, 9, 1, 1, 9, 2, 3])
    ranks = np.array([4, 8, 9, 1, 7])
    assert queries.hardest(answerable, ranks, groups, 3).tolist() == [3, 6, 0]
    assert set(groups[queries.sample(answerable, groups, 4, seed=0)]) == {0, 1, 2, 3}
