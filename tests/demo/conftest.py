"""A browser for the tests of the page: Debian's Chromium, driven by Playwright; without it they are skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.search_page import ServedPage, served_page, stand_in, write_shapes

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("ITEMBED_CHROMIUM") or shutil.which("chromium") or ""
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
NewTab = Callable[..., "Page"]
# WCAG 2.2, relative luminance and contrast ratio of the text of each selector on the first opaque ground behind it
CONTRAST = """(selectors) => selectors.map((selector) => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => numbers(colour).slice(0, 3)
    .map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const node = document.querySelector(selector);
  const opaque = (node) => (numbers(getComputedStyle(node).backgroundColor)[3] ?? 1) === 1;
  let ground = node;
  while (ground.parentElement && !opaque(ground)) ground = ground.parentElement;
  const [a, b] = [light(getComputedStyle(node).color), light(getComputedStyle(ground).backgroundColor)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
})"""


@pytest.fixture(scope="module")  # while it is open, an event loop runs in this thread, which other tests cannot have
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if not CHROMIUM:
        pytest.skip("no Chromium: apt-get install chromium, or name the program in ITEMBED_CHROMIUM")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[ServedPage]:
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        with served_page(folder) as page:
            yield page


@contextmanager
def tabs(browser: Browser, page: ServedPage) -> Iterator[NewTab]:
    """Opens paths of the page, each in a new profile; at the end, no request has left the server, nothing has failed.

    A tab that is opened with ``may_fail=True`` may have failed requests, but no error of a script.
    """
    contexts, requests, problems = [], [], []

    def new_tab(path: str = "/", *, may_fail: bool = False, **settings: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **settings})
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(8000)
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        if not may_fail:
            tab.on("console", lambda message: message.type == "error" and problems.append(message.text))
        tab.goto(page.url + path)
        tab.wait_for_selector("html[data-ready]")
        return tab

    yield new_tab
    for context in contexts:
        context.close()
    assert not problems
    assert {url for url in requests if not url.startswith(f"{page.url}/")} == set(), "a request left the server"


@pytest.fixture
def open_page(browser: Browser, page: ServedPage) -> Iterator[NewTab]:
    with tabs(browser, page) as new_tab:
        yield new_tab
