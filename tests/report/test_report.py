"""The report: every promised part is on the page, marks stand on the true matches, and nothing comes from outside."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from itembed_tf.report import headline, write_report
from itembed_tf.report import strips as report_strips
from itembed_tf.report.charts import overlap
from itembed_tf.report.pictures import SIDE, thumbnail

NASTY = "<script>alert('x')</script> & שלום 😀"
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """The page as a flat list of elements: tag, attributes, own and inherited text, and the ids of what holds them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[dict[str, Any]] = []
        self.open: list[dict[str, Any]] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open, f"never closed: {[element['tag'] for element in self.open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = {"tag": tag, "at": dict(attrs), "text": "", "inside": list(self.open)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1]["tag"] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element["text"] += data

    def find(self, tag: str, inside: dict[str, Any] | None = None, **attributes: str) -> list[dict[str, Any]]:
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            element
            for element in self.elements
            if element["tag"] == tag
            and (inside is None or any(holder is inside for holder in element["inside"]))
            and all(value in (element["at"].get(name) or "").split() for name, value in wanted.items())
        ]

    def section(self, name: str) -> dict[str, Any]:
        (section,) = self.find("section", id=name)
        return section


def picture(colour: int, form: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (colour * 5 % 256, colour * 11 % 256, 90)).convert(mode).save(buffer, form)
    return buffer.getvalue()


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def run() -> dict[str, Any]:
    """Thirty groups of one picture and two captions; the captions of the last five groups point elsewhere."""
    random = np.random.default_rng(1)
    groups = np.arange(30)
    caption_groups = np.repeat(groups, 2)
    base = random.normal(size=(30, 16))
    images = unit(base + 0.1 * random.normal(size=(30, 16)))
    captions = unit(base[caption_groups] + 0.1 * random.normal(size=(60, 16)))
    captions[50:] = -captions[50:]
    table = {"R@1": 80.0, "R@5": 81.25, "R@10": 83.5, "MedR": 1.0, "MeanR": 5.5}
    val = {"image_query": table, "text_query": table, "rsum": 489.5}
    train = {"loss": 2.5, "instance_image": 1.0, "instance_text": 1.5, "accuracy_image": 0.5, "accuracy_text": 0.25}
    speed = {"seconds": 1.0, "images_per_s": 30.0}
    history = [
        {"stage": stage, "epoch": epoch, **speed, "learning_rate": 0.1, "train": train, "val": val}
        for stage in ("first", "second")
        for epoch in (1, 2)
    ]
    stages = [{"name": name, "epochs": 2, **speed, "train": train, "val": val} for name in ("first", "second")]
    test = {"protocol": "whole split", "gallery_images": 30, "gallery_captions": 60, **val}
    return {
        "title": "runs/small <b>",
        "metrics": {"schema": 1, "dataset": "small", "finished": True, "stages": stages, "test": test},
        "history": history,
        "images": [picture(group) for group in groups],
        "image_embeddings": images,
        "captions": [f"caption {index} of {index // 2}" for index in range(60)],
        "caption_embeddings": captions,
        "image_groups": groups,
        "caption_groups": caption_groups,
        "skipped": [{"image": f"bad_{index}.jpg", "reason": "not a picture"} for index in range(3)],
        "attribution": "Drawings by someone, CC BY-SA 4.0",
        "facts": {"Backbone": "none", "Seed": "0"},
        "analysis": analysis(),
    }


def analysis(*words: str) -> dict[str, Any]:
    """As `analysis.measures.analyze` gives it: two groups, and one sentence with a known effect of every word."""
    words = words or ("a", "red", "ball", "qwx")
    means = [{"word": words[2], "change": -0.5, "count": 7}, {"word": words[1], "change": -0.25, "count": 6}]
    before = {"scores": [[0.1, -0.2], [0.0, 0.05]], "mean_matching": 0.075, "mean_other": -0.1, "found": 2}
    after = {"scores": [[0.8, -0.4], [0.0, 0.5]], "mean_matching": 0.65, "mean_other": -0.2, "found": 1}
    return {
        "overlap": {
            "S": 0.25,
            "mean_matching": 0.5,
            "mean_other": -0.1,
            "matching": [0, 0, 20, 60],
            "other": [0, 900, 900, 0],
        },
        "words": {
            "sentences": 40,
            "at_least": 5,
            "different": 3,
            "most": means,
            "least": [{"word": words[0], "change": 0.1, "count": 31}],
        },
        "sentences": [
            {
                "picture": 3,
                "caption": 7,
                "score": 0.75,
                "words": [
                    {"word": word, "change": change}
                    for word, change in zip(words, (0.1, -0.25, -0.5, None), strict=True)
                ],
            }
        ],
        "similarity": {"pictures": [0, 1], "captions": [0, 2], "before": before, "after": after},
    }


def test_every_promised_part_is_there(run: dict[str, Any], tmp_path: Path) -> None:
    path = write_report(tmp_path / "report", **run)
    page = Page(path)
    assert path == tmp_path / "report" / "index.html"
    assert page.find("h1")[0]["text"] == "runs/small <b>"
    text = page.section("headline")["text"]
    for promised in (
        "80.0 %",
        "81.2 %",
        "83.5 %",
        "5.5",
        "489.5 of 600",
        "30 pictures and 60 sentences",
        "whole split",
    ):
        assert promised in text, promised
    assert "Of 60 sentence queries, 84 % have the right picture among the first ten" in text
    charts = [figure["text"] for figure in page.find("figure", class_="chart")]
    for title in ("Loss", "Classifier accuracy", "rsum", "Sentence → picture", "Picture → sentence", "Overlap"):
        assert sum(title in chart for chart in charts) == 1, title
    assert all("stage first" in chart and "stage second" in chart for chart in charts if "Overlap" not in chart)
    for name, count in (("sampled-sentence", 12), ("sampled-picture", 12), ("worst-sentence", 5), ("worst-picture", 5)):
        section = page.section(name)
        assert len(page.find("article", section)) == count
        assert run["attribution"] in section["text"]
    assert "bad_2.jpg" in page.section("skipped")["text"] and "not a picture" in page.section("skipped")["text"]
    assert [fact["text"] for fact in page.find("dd", page.section("facts"))] == ["none", "0"]


def test_green_marks_stand_exactly_on_true_matches(run: dict[str, Any], tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, **run))
    alternatives = {f"caption {2 * group} of {group}": group for group in range(30)}  # alt: the first caption
    seen = {"right": 0, "wrong": 0, "far": 0}
    for article in page.find("article"):
        query = int(article["at"]["data-query"])
        of_sentence = "sentence" in article["inside"][-2]["at"]["id"]
        group = query // 2 if of_sentence else query
        vectors, items = run["caption_embeddings"], run["image_embeddings"]
        if not of_sentence:
            vectors, items = items, vectors
        order = np.argsort(-(items @ vectors[query]))
        item_groups = np.arange(30) if of_sentence else np.arange(60) // 2
        rank = 1 + int(np.flatnonzero(item_groups[order] == group)[0])
        assert f"place {rank} of {len(items)}" in " ".join(article["text"].split())
        answers = page.find("li", article)
        far = [answer for answer in answers if "far" in answer["at"]["class"]]
        shown = 10 if of_sentence else 5
        assert len(answers) - len(far) == shown and len(far) == (rank > shown)
        for position, answer in enumerate(answers):
            if of_sentence:
                answer_group = alternatives[page.find("img", answer)[0]["at"]["alt"]]
            else:
                words = page.find("span", answer, class_="words")[0]
                assert words["at"]["dir"] == "auto"
                answer_group = int(words["text"].split()[-1])
            right = answer_group == group
            classes = answer["at"]["class"].split()
            assert ("right" in classes) == right and ("wrong" in classes) == (not right)
            marks = [svg["at"]["aria-label"] for svg in page.find("svg", answer)]
            assert marks == ["right" if right else "wrong"]  # a tick or a cross beside the colour
            place = rank if answer in far else position + 1
            assert f"{place}." in answer["text"].split()
            seen["right" if right else "wrong"] += 1
            seen["far"] += answer in far
    assert all(seen.values()), seen


def test_nothing_is_fetched_and_user_text_is_text(run: dict[str, Any], tmp_path: Path) -> None:
    run["captions"] = [NASTY] * 60
    run["skipped"] = [{"image": NASTY, "reason": NASTY}]
    run["facts"] = {NASTY: NASTY}
    run |= {"title": NASTY, "attribution": NASTY, "analysis": analysis(*[NASTY] * 4)}
    run["history"][0]["stage"] = NASTY
    path = write_report(tmp_path, **run)
    page, source = Page(path), path.read_text(encoding="utf-8")
    assert not page.find("script") and not page.find("link")
    assert "<script" not in source
    assert page.find("h1")[0]["text"] == NASTY
    assert any(quote["text"] == NASTY and quote["at"]["dir"] == "auto" for quote in page.find("q"))
    assert not re.search(r"https?://|url\((?!#)|@import", source)
    for element in page.elements:
        assert not any(name.startswith("on") for name in element["at"])
        for name in ("src", "href"):
            assert (element["at"].get(name) or "#").startswith(("#", "data:image/"))
    assert all(image["at"]["alt"] for image in page.find("img"))
    ids = [element["at"]["id"] for element in page.elements if "id" in element["at"]]
    assert len(ids) == len(set(ids)), "the charts share ids"


def test_a_picture_that_cannot_be_drawn_leaves_a_named_place(run: dict[str, Any], tmp_path: Path) -> None:
    run["images"][:29] = [str(tmp_path / f"lost_{index}.jpg") for index in range(29)]
    run["images"][29] = b"no picture"
    page = Page(write_report(tmp_path, **run))
    gone = page.find("span", class_="gone")
    assert gone and not page.find("img")
    assert all("lost_" in place["text"] or "picture 29" in place["text"] for place in gone)
    (listed,) = page.find("ul", id="broken")
    assert "picture 29" in listed["text"] and "lost_1.jpg" in listed["text"]


@pytest.mark.parametrize(
    ("form", "mode"),
    [("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "LA"), ("GIF", "P"), ("PNG", "I;16"), ("PNG", "1")],
)
def test_thumbnails_of_all_kinds(form: str, mode: str) -> None:
    data = picture(20, form, "RGB" if mode == "I;16" else mode, (900, 300))
    if mode == "I;16":
        buffer = io.BytesIO()
        Image.fromarray(np.full((300, 900), 128 * 256, np.uint16)).save(buffer, form)
        data = buffer.getvalue()
    drawn = thumbnail(data, "a")
    assert drawn.uri.startswith("data:image/") and drawn.aspect == pytest.approx(3, rel=0.05), drawn.reason
    assert len(drawn.uri) < 20_000


def test_transparent_is_white_and_huge_is_refused() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(buffer, "PNG")
    drawn = Image.open(io.BytesIO(base64.b64decode(thumbnail(buffer.getvalue(), "a").uri.split(",")[1])))
    assert min(drawn.convert("RGB").getpixel((10, 10))) > 250 and max(drawn.size) <= SIDE
    buffer = io.BytesIO()
    Image.new("1", (9000, 8000)).save(buffer, "PNG")
    assert "9000 x 8000" in thumbnail(buffer.getvalue(), "a").reason
    huge = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(huge, "PNG")
    assert thumbnail(huge.getvalue(), "a").uri == ""


def test_a_thumbnail_stands_as_the_encoder_saw_it() -> None:
    exif, picture = Image.Exif(), Image.new("RGB", (90, 30), "red")
    exif[0x0112] = 6
    for form, aspect in (("JPEG", 1 / 3), ("PNG", 3)):  # of a PNG nothing is turned anywhere
        buffer = io.BytesIO()
        picture.save(buffer, form, exif=exif)
        assert thumbnail(buffer.getvalue(), "a").aspect == pytest.approx(aspect)


def test_one_stage_no_dev_no_test_and_nothing_at_all(run: dict[str, Any], tmp_path: Path) -> None:
    del run["metrics"]["test"]
    run["metrics"]["stages"] = [{"name": "only", "epochs": 1, "seconds": 1.0, "images_per_s": 1.0, "train": {}}]
    run["history"] = [{"stage": "only", "epoch": 1, "train": {"loss": 1.0, "infonce": float("nan")}}]
    run |= {"attribution": "", "skipped": [], "analysis": None}
    page = Page(write_report(tmp_path, **run))
    titles = [page.find("b", figure)[0]["text"] for figure in page.find("figure")]
    assert titles == ["Loss"] and not page.find("section", id="words") and not page.find("section", id="before-after")
    assert "Nothing was evaluated" in page.section("headline")["text"] and page.find("article")
    assert "every picture could be read" in page.section("skipped")["text"]
    run |= {"images": [], "captions": [], "history": [], "facts": {}}
    run |= {"image_embeddings": np.zeros((0, 16), np.float32), "caption_embeddings": np.zeros((0, 16), np.float32)}
    run |= {"image_groups": np.zeros(0, int), "caption_groups": np.zeros(0, int)}
    page = Page(write_report(tmp_path, **run))
    assert not page.find("article")


def headline_rows(page: Page) -> list[list[str]]:
    section = page.section("headline")
    cells = ("th", "td")
    return [
        [cell["text"].strip() for cell in page.elements if cell["tag"] in cells and row is cell["inside"][-1]]
        for row in page.find("tr", section)
    ]


def test_the_dev_figures_stand_with_their_intervals(run: dict[str, Any], tmp_path: Path) -> None:
    table = run["metrics"].pop("test")
    bounds = {"R@1": [76.04, 83.96], "R@5": [77.0, 85.0], "R@10": [80.0, 87.0]}
    sure = {"image_query": {**bounds, "R@1": [60.0, 91.0]}, "text_query": bounds, "rsum": [470.0, 500.0]}
    run["metrics"]["dev"] = table | {"name": "whole/30x60", "interval_95": sure}
    page = Page(write_report(tmp_path, **run))
    rows = headline_rows(page)
    assert rows[0] == ["measure", "bar", "found", "95 % interval", "chance"]
    assert [row[2:4] for row in rows if row[0] == "R@1"] == [["80.0 %", "76.0 to 84.0"], ["80.0 %", "60.0 to 91.0"]]
    assert [row[3] for row in rows if row[0] == "Mean rank"] == ["", ""]
    assert page.find("em", page.section("headline"))[0]["at"]["style"] == "left:76.0%;width:7.9%"
    assert "rsum: 489.5 of 600 (470.0 to 500.0)" in page.section("headline")["text"]


def test_person_search_shows_the_query_that_counts(run: dict[str, Any], tmp_path: Path) -> None:
    table = run["metrics"]["test"]
    more = {"text_query": table["text_query"] | {"mAP": 71.3, "mINP": 52.8}, "name": "cuhk/30x60"}
    sure = {"text_query": {"mAP": [70.0, 72.5]}}
    run["metrics"]["test"] = table | more | {"interval_95": sure}
    page = Page(write_report(tmp_path, **run))
    rows = [row for row in headline_rows(page) if row[0] in ("R@1", "mAP", "mINP")]
    assert [[row[0], *row[2:]] for row in rows] == [
        ["R@1", "80.0 %", "", "3.3 %"],
        ["mAP", "71.3 %", "70.0 to 72.5", "–"],
        ["mINP", "52.8 %", "", "–"],
    ]
    text = page.section("headline")["text"]
    assert "rsum" not in text and "sentence queries" in text and "picture queries" not in text


def test_a_long_caption_does_not_fill_the_page(run: dict[str, Any], tmp_path: Path) -> None:
    run["captions"] = ["word " * 20_000] * 60
    run["analysis"]["sentences"][0]["words"] = [{"word": "w" * 60_000, "change": -0.1}] * 20_000
    assert write_report(tmp_path, **run).stat().st_size < 500_000


def test_numbers_that_do_not_fit_are_an_error(run: dict[str, Any], tmp_path: Path) -> None:
    run["captions"] = run["captions"][:-1]
    with pytest.raises(ValueError, match=r"each of the captions, got \(59, 60, 60\)"):
        write_report(tmp_path, **run)


def test_chance_by_hand_and_by_shuffling() -> None:
    assert headline.chance_recall(np.array([1]), 10, 5) == pytest.approx(50)
    assert headline.chance_recall(np.array([2]), 4, 2) == pytest.approx(100 * (1 - (2 / 4) * (1 / 3)))
    assert headline.chance_recall(np.array([1, 3]), 3, 10) == pytest.approx(100)
    random = np.random.default_rng(0)
    firsts = np.array([np.flatnonzero(random.permutation(41) < 5)[0] + 1 for _ in range(4000)])
    median, mean = headline.chance_ranks(np.array([5]), 41)
    assert mean == 7 and abs(firsts.mean() - mean) < 0.3 and abs(np.median(firsts) - median) <= 1


def test_overlap_chart_by_hand() -> None:
    """A quarter of the matching pairs share a bin with half of the others; there, either is the more alike as often."""
    chart = overlap(analysis()["overlap"])
    assert chart and "S 0.250" in chart["note"] and f"{100 * (0.75 + 0.25 * (0.5 + 0.5 / 2)):.1f} %" in chart["note"]
    assert overlap({"S": None, "matching": [0, 0], "other": [1, 2]}) is None


def test_words_are_shaded_by_what_they_change(run: dict[str, Any], tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, **run))
    section = page.section("words")
    (shaded,) = page.find("p", section, class_="shaded")
    marks = [(mark["text"], mark["at"]["class"], mark["at"]["style"]) for mark in page.find("mark", shaded)]
    assert marks == [
        ("a", "against", "--shade: 0.2"),  # of the largest change, 0.5
        ("red", "tells", "--shade: 0.5"),
        ("ball", "tells", "--shade: 1.0"),
        ("qwx", "unknown", "--shade: 0.0"),
    ]
    (top,) = page.find("ol", section, class_="top-words")
    assert top["text"].split() == ["ball", "-0.50", "red", "-0.25"]  # "a" tells nothing: it is not named
    (image,) = page.find("img", section)
    assert image["at"]["alt"] == "caption 6 of 3"  # the first caption of picture 3
    most, least = page.find("table", section)
    assert [row["text"] for row in page.find("th", most, scope="row")] == ["ball", "red"]
    assert [row["text"] for row in page.find("th", least, scope="row")] == ["a"]
    assert "width:50.0%" in [bar["at"]["style"] for bar in page.find("i", most)]


def test_similarities_before_and_after_share_one_scale(run: dict[str, Any], tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, **run))
    before, after = page.find("figure", page.section("before-after"))
    assert "2 of 2 pictures" in before["text"] and "1 of 2 pictures" in after["text"]
    squares = {path["at"]["d"]: path["at"]["style"] for path in page.find("path", after)}
    assert squares == {  # of the largest similarity of both, 0.8; 0 is left blank
        "M0 0h1v1h-1z": "fill:var(--text);fill-opacity:1.00",
        "M1 0h1v1h-1z": "fill:var(--image);fill-opacity:0.50",
        "M1 1h1v1h-1z": "fill:var(--text);fill-opacity:0.62",
    }
    assert "fill:var(--text);fill-opacity:0.12" in [path["at"]["style"] for path in page.find("path", before)]
    run["analysis"]["similarity"]["before"] = None
    page = Page(write_report(tmp_path, **run))
    assert len(page.find("figure", page.section("before-after"))) == 1
    assert "not at hand" in page.section("before-after")["text"]


def test_worst_takes_one_of_a_group_and_no_success() -> None:
    able, groups = np.array([0, 2, 3, 5, 6]), np.array([0, 9, 1, 1, 9, 2, 3])
    ranks = np.array([4, 8, 9, 1, 7])
    assert report_strips.worst(able, ranks, groups, 3).tolist() == [3, 6, 0]
    assert set(groups[report_strips.sample(able, groups, 4, seed=0)]) == {0, 1, 2, 3}
