"""The page in a real browser: what a user does, and what is there afterwards."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.demo.conftest import CONTRAST, NewTab, tabs
from tests.support.search_page import ServedPage, draw, served_page, stand_in, write_shapes

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FIELD = "#query"
DROP = """([data, name]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, { type: "image/png" }));
  for (const type of ["dragenter", "dragover", "drop"]) {
    document.querySelector(".grid").dispatchEvent(
      new DragEvent(type, { dataTransfer: carried, bubbles: true, cancelable: true }));
  }
}"""
PASTE = """(data) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
  document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: carried, bubbles: true, cancelable: true }));
}"""


def captions(tab: Page, count: int = 4) -> list[str]:
    return [text.lower() for text in tab.locator(".tile .text").all_inner_texts()[:count]]


def wait_for(tab: Page, *words: str) -> None:
    """Wait until the first tile has one of the words in its caption."""
    tab.wait_for_function(
        "(pattern) => new RegExp(pattern).test(document.querySelector('.tile .text')?.textContent)", arg="|".join(words)
    )


def key_of(tab: Page, number: int) -> str:
    return tab.locator(".tile").nth(number).get_attribute("data-key") or ""


def test_results_come_with_each_letter_and_the_url_has_the_query(open_page: NewTab) -> None:
    tab = open_page()
    assert tab.locator("h1").inner_text() == "Search 160 images"
    tab.locator(FIELD).press_sequentially("a blue ring", delay=5)
    wait_for(tab, "a blue ring")
    assert captions(tab) == ["a blue ring"] * 4 and tab.url.endswith("/?q=a+blue+ring")
    assert not tab.locator("h1").is_visible() and tab.locator(".facts .score").first.inner_text() >= "0.90"
    tab.go_back()  # all letters are one entry of the history
    tab.wait_for_selector("h1:visible")
    assert tab.locator(FIELD).input_value() == ""


def test_words_are_shaded_by_their_weight_and_unknown_ones_struck_through(open_page: NewTab) -> None:
    tab = open_page("/?q=red+circle+wumpel")
    unknown = tab.locator(".words mark.unknown")
    assert unknown.all_inner_texts() == ["wumpel"]
    assert "line-through" in unknown.evaluate("(mark) => getComputedStyle(mark).textDecorationLine")
    tab.wait_for_selector(".words mark[style*=shade]")
    tab.locator(".tile", has_text="red square").first.hover()
    against = tab.locator(".words mark.against")
    against.wait_for()
    assert against.all_inner_texts() == ["circle"]  # it speaks against a square
    assert re.fullmatch(r"score without this word: \+0\.\d{3}", against.get_attribute("title") or "")


def test_each_tile_has_its_band_with_the_measured_precision(open_page: NewTab) -> None:
    tab = open_page("/?q=green+circle&by=vector")
    first = tab.locator(".tile").first
    assert first.locator(".band.strong").inner_text() == "strong"
    assert first.locator(".band").get_attribute("title") == "strong: 9 of 10 were right on dev"
    half = tab.locator(".tile:has-text('green square') .band").first  # cosine 0.5
    assert half.inner_text() == "likely"
    assert "strong match" in (first.locator("a").get_attribute("aria-label") or "")
    first.locator("a").click()
    assert "strong: 9 of 10 were right on dev" in tab.locator(".verdict").inner_text()


def test_a_late_answer_to_an_earlier_query_is_not_shown(open_page: NewTab) -> None:
    tab = open_page()
    held = []
    tab.route("**/api/search*q=red*", lambda route: held.append(route))
    tab.locator(FIELD).fill("red")
    tab.wait_for_timeout(50)
    tab.locator(FIELD).fill("blue")
    wait_for(tab, "blue")
    for route in held:
        route.abort() if route.request.failure else route.continue_()
    tab.wait_for_timeout(200)
    assert held and "blue" in captions(tab)[0]


def test_similar_to_a_tile_then_back_to_the_same_place(open_page: NewTab) -> None:
    tab = open_page("/?q=green+square")
    tab.mouse.wheel(0, 1500)
    tab.wait_for_function("() => scrollY > 1000 && document.querySelectorAll('.tile').length > 60")
    tab.wait_for_timeout(250)
    before, tiles = tab.evaluate("scrollY"), tab.locator(".tile").count()
    tile = tab.locator(".tile:has-text('yellow')").first
    tile.scroll_into_view_if_needed()
    tab.wait_for_timeout(250)
    before = tab.evaluate("scrollY")
    tile.hover()
    key = tile.get_attribute("data-key")
    tile.locator(".similar").click()
    wait_for(tab, "yellow")
    assert tab.url.endswith(f"/?like={key}") and key not in [key_of(tab, i) for i in range(4)]
    assert tab.locator(".like .chip").inner_text() == "Similar" and tab.evaluate("scrollY") == 0
    tab.go_back()
    wait_for(tab, "green square")
    tab.wait_for_function(
        "([y, n]) => Math.abs(scrollY - y) < 3 && document.querySelectorAll('.tile').length >= n", arg=[before, tiles]
    )


@pytest.mark.parametrize("way", ["drop", "paste", "choose"])
def test_an_image_that_is_dropped_pasted_or_chosen_is_searched_by(open_page: NewTab, way: str) -> None:
    tab = open_page("/?q=green")
    image = draw("red", "square", (80, 80), 3)
    data = base64.b64encode(image).decode()
    if way == "drop":
        tab.evaluate(DROP, [data, "red.png"])
    elif way == "paste":
        tab.evaluate(PASTE, data)
    else:
        tab.set_input_files(".choose input", {"name": "red.png", "mimeType": "image/png", "buffer": image})
    wait_for(tab, "red")
    assert re.search(r"/\?image=[0-9a-f]{16}$", tab.url)
    assert all("red" in caption for caption in captions(tab, 12)) and tab.locator(FIELD).input_value() == ""
    tab.reload()
    wait_for(tab, "red")
    tab.locator(FIELD).fill("blue")  # a text takes its place
    wait_for(tab, "blue")
    assert tab.url.endswith("/?q=blue")


def test_a_file_that_is_no_image_is_refused_in_words(open_page: NewTab) -> None:
    tab = open_page(may_fail=True)
    file = {"name": "page.png", "mimeType": "image/png", "buffer": b"<!doctype html><p>not found"}
    tab.set_input_files(".choose input", file)
    tab.wait_for_selector(".message:visible")
    assert "an HTML page" in tab.locator(".message").inner_text()


def test_filters_narrow_the_results_and_a_wrong_one_says_why(open_page: NewTab) -> None:
    tab = open_page("/?q=ring", may_fail=True)
    tab.locator("select[name=folder] option").nth(4).wait_for(state="attached")
    assert tab.locator("select[name=folder] option").all_inner_texts()[0] == "All folders"
    assert "blue (40)" in tab.locator("select[name=folder] option").all_inner_texts()
    tab.select_option("select[name=folder]", label="blue (40)")
    tab.select_option("select[name=year]", "2021")
    wait_for(tab, "blue ring")
    assert all(text.startswith("a blue") for text in captions(tab, 60)) and "year=2021" in tab.url
    tab.wait_for_function("() => document.querySelector('.counts').textContent.startsWith('13 of 160')")
    assert re.match(r"13 of 160 ", tab.locator(".counts").inner_text())
    tab.select_option("select[name=sort]", "date")
    tab.wait_for_function("() => document.querySelector('.tile .date').textContent.includes('2021')")
    tab.locator(".expert").click()
    tab.locator(".where").fill("corner = 4")
    tab.locator(".where").press("Enter")
    tab.wait_for_selector(".problem")
    assert "did you mean 'corners'" in tab.locator(".problem").inner_text()


def test_terms_are_excluded_in_the_text_and_as_chips(open_page: NewTab) -> None:
    tab = open_page()
    tab.locator(FIELD).fill("red -circle")
    wait_for(tab, "red (square|bar|ring)")
    tab.locator(FIELD).press("Enter")
    tab.wait_for_selector(".chips .chip")
    assert tab.locator(".chips .chip").all_inner_texts() == ["− circle"] and tab.locator(FIELD).input_value() == "red"
    assert tab.url.endswith("/?q=red&minus=circle")
    assert not [text for text in captions(tab, 20) if "circle" in text]
    tab.locator(".chips .chip").click()
    tab.wait_for_function("() => !document.querySelector('.chips .chip')")
    assert tab.url.endswith("/?q=red")


def test_the_detail_view_opens_and_closes_by_the_history(open_page: NewTab) -> None:
    tab = open_page("/?q=blue+bar")
    tab.locator(".tile .frame").nth(2).click()
    tab.wait_for_selector("dialog[open] .box.loaded")
    key = key_of(tab, 2)
    assert f"item={key}" in tab.url
    side = tab.locator(".side").inner_text()
    assert (
        "a blue bar" in side
        and "corners" in side
        and "images/blue/bar_" in side
        and "found by image and caption" in side
    )
    assert tab.locator("dialog .strip li").count() == 12
    tab.reload()  # the link can be shared
    tab.wait_for_selector("dialog[open] .box.loaded")
    tab.locator(".round.close").click()
    tab.wait_for_selector("dialog:not([open])", state="attached")
    assert tab.url.endswith("/?q=blue+bar")
    tab.go_forward()
    tab.wait_for_selector("dialog[open]")
    tab.go_back()
    tab.wait_for_selector("dialog:not([open])", state="attached")
    assert tab.locator(".tile .frame").nth(2).evaluate("(frame) => frame === document.activeElement")


def test_an_original_that_is_gone_is_shown_as_its_thumbnail(browser: Browser, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        folder = write_shapes(tmp_path, 8)
        for file in (tmp_path / "images" / "red").iterdir():
            file.unlink()
        with served_page(folder) as page, tabs(browser, page) as new_tab:
            tab = new_tab("/?q=red", may_fail=True)
            tab.locator(".tile .frame").first.click()
            tab.wait_for_selector(".hint")
            assert "This is the thumbnail" in tab.locator(".hint").inner_text()
            assert tab.locator(".box .small").evaluate("(image) => image.naturalWidth") > 0


def test_keys_alone_are_enough(open_page: NewTab) -> None:
    tab = open_page()
    focused = "document.activeElement.closest('.tile')?.dataset.key"
    tab.keyboard.press("/")
    tab.keyboard.type("yellow circle")
    tab.wait_for_function("() => document.querySelector('.words').textContent === 'yellow circle'")
    tab.keyboard.press("ArrowDown")
    assert tab.evaluate(focused) == key_of(tab, 0)
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate(focused) == key_of(tab, 1)
    tab.keyboard.press("ArrowDown")
    here = tab.evaluate("document.activeElement.getBoundingClientRect().top")
    assert here > tab.locator(".tile .frame").nth(1).bounding_box()["y"]
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("Home")
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.keyboard.press("Enter")
    tab.wait_for_selector("dialog[open]")
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function("(key) => location.search.includes(key)", arg=key_of(tab, 1))
    tab.keyboard.press("Escape")
    tab.wait_for_selector("dialog:not([open])", state="attached")
    tab.wait_for_function(f"(key) => {focused} === key", arg=key_of(tab, 1))
    tab.keyboard.press("s")
    tab.wait_for_function("() => location.search.startsWith('?like=')")
    tab.keyboard.press("Escape")
    assert tab.evaluate("document.activeElement.id") == "query"


def test_an_empty_result_says_why_and_what_to_do(open_page: NewTab) -> None:
    tab = open_page("/?q=zebra&by=text&year=2020")
    assert "Nothing found" in tab.locator(".empty").inner_text()
    assert tab.locator(".tile").count() == 0
    tab.get_by_role("button", name="Show all").click()
    tab.wait_for_selector(".tile")
    assert tab.locator(".empty").count() == 0


def test_a_server_that_is_gone_is_said_and_the_page_goes_on_when_it_is_back(
    open_page: NewTab, page: ServedPage
) -> None:
    tab = open_page("/?q=red", may_fail=True)
    page.stop()
    try:
        tab.locator(FIELD).fill("blue")
        tab.wait_for_selector(".message:visible")
        assert "The server does not answer" in tab.locator(".message").inner_text()
    finally:
        page.start()
    tab.wait_for_selector(".message", state="hidden")
    wait_for(tab, "blue")


def test_captions_cannot_bring_markup_or_requests(browser: Browser, tmp_path: Path) -> None:
    evil = "<img src='http://evil.example/x.png' onerror='document.title=1'><script>document.title=2</script>"
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        patch.setattr("tests.support.search_page.CAPTION", evil)
        folder = write_shapes(tmp_path, 8)
        with served_page(folder) as page, tabs(browser, page) as new_tab:
            tab = new_tab("/?q=red+" + evil.replace("<", "%3C").replace(">", "%3E").replace(" ", "+"))
            assert evil in tab.locator(".tile .text").first.inner_text()
            tab.locator(".tile .frame").first.click()
            tab.wait_for_selector("dialog[open] .box.loaded")
            assert tab.title().startswith("red <img")


def test_two_indexes_side_by_side(browser: Browser, folder: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        other = write_shapes(tmp_path, 40, name="other.index")
        with served_page(folder, other) as page, tabs(browser, page) as new_tab:
            tab = new_tab("/?q=green+ring")
            assert tab.locator(".column h2").all_inner_texts() == ["shapes.index\n160 images", "other.index\n40 images"]
            for column in (0, 1):
                tiles = tab.locator(".column").nth(column).locator(".tile .text")
                assert tiles.first.inner_text() == "a green ring"
            tab.locator(".column").nth(1).locator(".tile .frame").first.click()
            tab.wait_for_selector("dialog[open] .box.loaded")
            assert "at=1" in tab.url and str(tmp_path) in tab.locator(".side").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_both_themes_are_legible_and_nothing_is_cut_off(open_page: NewTab, scheme: str, width: int) -> None:
    tab = open_page("/?q=red+ring", color_scheme=scheme, viewport={"width": width, "height": 844})
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    rows = tab.evaluate("[...document.querySelectorAll('.tile')].map((tile) => [tile.offsetTop, tile.offsetWidth])")
    first = [w for top, w in rows if top == rows[0][0]]
    assert len(first) >= (2 if width == 390 else 4)
    contrast = tab.evaluate(CONTRAST, [".tile .text", ".facts", ".counts", ".list select"])
    assert all(ratio >= 4.5 for ratio in contrast), contrast
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", dark)[:3])) < 200) == (scheme == "dark")


def test_nothing_moves_when_images_arrive(open_page: NewTab) -> None:
    tab = open_page()
    tab.evaluate(
        "window.shift = 0; new PerformanceObserver((list) => list.getEntries().forEach((e) => shift += e.value))"
        ".observe({ type: 'layout-shift', buffered: true })"
    )
    tab.goto(tab.url + "?q=red")
    tab.wait_for_function("() => [...document.images].slice(0, 12).every((image) => image.complete)")
    tab.evaluate(
        "new Promise((done) => { window.shift = 0; new PerformanceObserver((list) => "
        "list.getEntries().forEach((e) => shift += e.hadRecentInput ? 0 : e.value))"
        ".observe({ type: 'layout-shift', buffered: true }); setTimeout(done, 200); })"
    )
    assert tab.evaluate("shift") < 0.05


def test_terms_to_exclude_are_told_from_hyphens(open_page: NewTab) -> None:
    split = "(texts) => import('/static/state.js').then((state) => texts.map(state.splitQuery))"
    expected = {
        "dog -snow": ("dog", ["snow"]),
        'a dog -"deep snow" runs': ("a dog runs", ["deep snow"]),
        "a T-shirt − red": ("a T-shirt − red", []),
        "−red shirt": ("shirt", ["red"]),
        "dog -": ("dog -", []),
        'dog -"deep': ("dog", ["deep"]),
        "-a -b": ("", ["a", "b"]),
    }
    found = open_page().evaluate(split, list(expected))
    assert [(each["text"], each["minus"]) for each in found] == list(expected.values())


def test_rows_of_tiles_fill_the_width_and_keep_the_aspects(open_page: NewTab) -> None:
    justify = "([aspects, width]) => import('/static/grid.js').then((grid) => grid.justify(aspects, width, 200, 12))"
    aspects = [1.5, 0.75, 1.0, 1.78, 1.5, 1.0, 0.66, 2.0, 1.2, 1.5]
    sizes = open_page().evaluate(justify, [aspects, 1000])
    rows: list[list[list[float]]] = [[]]
    for size in sizes:
        if rows[-1] and size[1] != rows[-1][-1][1]:
            rows.append([])
        rows[-1].append(size)
    assert len(sizes) == len(aspects) and len(rows) > 1
    for row in rows[:-1]:
        assert 997 < sum(width for width, _ in row) + 12 * (len(row) - 1) <= 1000
        assert row[0][1] <= 200
    for aspect, (width, height) in zip(aspects, sizes):
        assert width / height == pytest.approx(aspect, rel=0.02)
