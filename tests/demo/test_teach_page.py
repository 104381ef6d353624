"""Lessons on the page in a real browser: named, refused, listed, undone, by keys alone, and in both themes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.demo.conftest import CONTRAST, NewTab, tabs
from tests.support.search_page import GO_ON, ServedPage, can_learn, served_page, stand_in, write_shapes

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def lesson_page(tmp_path: Path) -> Iterator[ServedPage]:
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        folder = write_shapes(tmp_path, 24)
        can_learn(folder)
        with served_page(folder) as page:
            yield page


@pytest.fixture
def open_tab(browser: Browser, lesson_page: ServedPage) -> Iterator[NewTab]:
    with tabs(browser, lesson_page) as new_tab:
        yield new_tab


def keys(tab: Page, selector: str = ".tile") -> list[str]:
    return tab.locator(selector).evaluate_all("(tiles) => tiles.map((tile) => tile.dataset.key)")


def test_images_get_a_name_and_the_search_is_repeated(open_tab: NewTab) -> None:
    tab = open_tab("/?q=wumpel+blue+ring&by=vector")
    assert tab.locator(".words mark.unknown").all_inner_texts() == ["wumpel"]
    chosen = keys(tab)[:2]
    tab.locator(".tile").first.hover()
    tab.locator(".teach-this").click()
    assert tab.evaluate("document.activeElement.name") == "name", "the name is typed next"
    tab.locator(".tile .frame").nth(1).click()  # a click chooses, and opens nothing
    tab.locator(".tile .frame").nth(2).click()
    tab.locator(".tile .frame").nth(2).click()
    assert keys(tab, ".tile.chosen") == chosen and "item=" not in tab.url
    assert "2 images." in tab.locator(".hint-line").inner_text()
    GO_ON.clear()
    tab.locator(".naming input").fill("our wumpel")
    tab.locator(".naming .primary").click()
    tab.wait_for_selector(".teach progress:visible")
    tab.wait_for_function("() => document.querySelector('.outcome').textContent.includes('check on dev')")
    assert tab.locator(".naming .primary").is_disabled()
    tab.locator("#query").fill("wumpel")  # searches go on
    tab.wait_for_selector(".words mark.unknown")
    GO_ON.set()
    tab.wait_for_selector(".teach .after button")
    told = tab.locator(".outcome").inner_text()
    assert "“our wumpel” is learned from 2 images; new words: our, wumpel." in told
    assert "R@1 on dev: 20.00 % before, 19.88 % now." in told
    tab.wait_for_selector(".words mark:not(.unknown)")
    assert set(keys(tab)[:2]) == set(chosen), "the search is repeated, and finds them by their new name"
    assert "hits have no band" in tab.locator(".notes").inner_text() and tab.locator(".band").count() == 0
    assert tab.locator(".tile.chosen").count() == 0
    tab.locator(".after button").click()
    tab.wait_for_function("() => location.search.startsWith('?q=our+wumpel')")
    assert tab.locator(".teach").is_hidden()


def test_a_refused_name_says_why_and_another_one_can_be_given(open_tab: NewTab) -> None:
    tab = open_tab("/?q=red")
    tab.locator(".tile").first.hover()
    tab.locator(".teach-this").first.click()
    tab.locator(".naming input").fill("costly")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".outcome.problem")
    assert "R@1 on dev would be 19.00 %; it was 20.00 % before" in tab.locator(".outcome").inner_text()
    assert tab.locator(".naming input").input_value() == "costly" and tab.locator(".tile.chosen").count() == 1
    tab.locator(".naming input").fill("zorbal")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".teach .after button")
    assert tab.locator(".outcome.problem").count() == 0
    assert tab.locator(".taught-button .number").inner_text() == "1"


def test_a_lesson_of_another_tab_is_in_the_way_and_a_reload_follows_it(open_tab: NewTab) -> None:
    tab, other = open_tab("/?q=red"), open_tab("/?q=blue", may_fail=True)
    GO_ON.clear()
    for each, name in ((tab, "zorbal"), (other, "second")):
        each.locator(".tile").first.hover()
        each.locator(".teach-this").first.click()
        each.locator(".naming input").fill(name)
        each.keyboard.press("Enter")
        each.wait_for_selector(".outcome:not(:empty)")
    other.wait_for_selector(".outcome.problem")
    assert "'zorbal' is being learned" in other.locator(".outcome").inner_text()
    tab.reload()
    tab.wait_for_selector("html[data-ready]")
    tab.locator(".taught-button").click()
    tab.wait_for_selector("dialog.lessons .outcome")
    assert "Learning “zorbal”" in tab.locator("dialog.lessons .outcome").inner_text()
    GO_ON.set()
    tab.wait_for_selector("dialog.lessons .name")
    assert tab.locator("dialog.lessons .name").all_inner_texts() == ["zorbal"]


def test_keys_alone_name_list_and_undo(open_tab: NewTab) -> None:
    tab = open_tab("/?q=green+circle&by=vector")
    first, second = keys(tab)[:2]
    tab.keyboard.press("/")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("t")
    tab.keyboard.type("Zorbal")
    tab.keyboard.press("Shift+Tab")  # the chosen images
    tab.keyboard.press("Enter")  # the only one is left out: the bar closes
    tab.wait_for_selector(".teach", state="hidden")
    tab.keyboard.press("/")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("t")
    tab.keyboard.press("Escape")
    assert tab.evaluate("document.activeElement.closest('.tile')?.dataset.key") == first
    tab.keyboard.press("t")
    tab.locator(f".tile[data-key='{second}'] .frame").focus()  # arrow keys move between tiles as before
    tab.keyboard.press("Enter")
    assert keys(tab, ".tile.chosen") == [first, second]
    tab.keyboard.press("t")  # an image that is chosen already: back to the name
    tab.keyboard.type("Zorbal")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".teach .after button:focus")
    tab.keyboard.press("Enter")
    tab.wait_for_function("() => location.search.startsWith('?q=Zorbal')")
    tab.locator(".taught-button").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector("dialog.lessons[open]")
    assert (
        tab.locator(".lessons-list .facts")
        .inner_text()
        .startswith("2 images · 4 Mar 2026 · R@1 on dev 20.00 → 19.88 %")
    )
    tab.locator(".lessons-list button").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector("dialog.lessons .none")
    tab.keyboard.press("Escape")
    tab.wait_for_selector("dialog.lessons:not([open])", state="attached")
    tab.wait_for_selector(".words mark.unknown")  # the search was repeated by the encoders without the lesson


def test_the_detail_view_teaches_too(open_tab: NewTab) -> None:
    tab = open_tab("/?q=red")
    key = keys(tab)[1]
    tab.locator(".tile .frame").nth(1).click()
    tab.wait_for_selector("dialog[open] .box.loaded")
    tab.locator("dialog.detail").get_by_role("button", name="Teach").click()
    tab.wait_for_selector("dialog.detail:not([open])", state="attached")
    tab.wait_for_function("() => document.activeElement.name === 'name'")
    assert keys(tab, ".tile.chosen") == [key] and tab.url.endswith("/?q=red")


def test_an_index_that_cannot_learn_says_what_to_run(browser: Browser, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        with served_page(write_shapes(tmp_path, 8)) as page, tabs(browser, page) as new_tab:
            tab = new_tab("/?q=red")
            tab.locator(".tile").first.hover()
            tab.locator(".teach-this").first.click()
            assert "has no data to learn names with" in tab.locator(".hint-line").inner_text()
            assert "index RUN --out" in tab.locator(".hint-line").inner_text()
            assert tab.locator(".naming").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_the_bar_and_the_list_are_legible_and_fit(open_tab: NewTab, scheme: str, width: int) -> None:
    tab = open_tab("/?q=red", color_scheme=scheme, viewport={"width": width, "height": 844})
    tab.locator(".tile").first.hover()
    tab.locator(".teach-this").first.click()
    contrast = tab.evaluate(CONTRAST, [".hint-line", ".naming .primary", ".taught-button"])
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = tab.locator(".teach").bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= 844
    tab.locator(".naming input").fill("a name that is long enough to be cut off, or to be wrapped " * 3)
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".teach .after button")
    tab.locator(".cancel").click()
    tab.locator(".taught-button").click()
    contrast += tab.evaluate(CONTRAST, [".lessons .facts", ".lessons .name", ".lessons .about"])
    assert all(ratio >= 4.5 for ratio in contrast), contrast
    assert tab.evaluate(
        "(() => { const d = document.querySelector('dialog.lessons'); return d.scrollWidth <= d.clientWidth })()"
    )
