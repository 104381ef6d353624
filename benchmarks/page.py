"""The search page in a browser: time from a keystroke to the first result, and from opening to the first items.

    ITEMBED_FLICKR8K=... python -m benchmarks.page [RUN] [--quick]

RUN is a finished run whose exported text encoder is searched with; without it, small untrained encoders. The index has
10,000 generated images, each with five captions of Flickr8k. Chromium is Debian's, headless (apt-get install chromium;
or ITEMBED_CHROMIUM), with a new profile. A keystroke is measured from its input event to the frame in which the tile of
the first hit is painted, and until its image is decoded. Keys follow each other by 150 ms; the first query is not
counted. Between the queries, a request of a small file and the next frame are timed, as any page has them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import io
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.runner import flickr8k, print_versions, verdict
from benchmarks.served import toy_export

BAR_KEY, BAR_OPEN = 60.0, 1000.0  # ms
ITEMS, SEED = 10_000, 5
KEY_MS = 150
WARM, QUERIES = "a man", ("a black dog", "two children on a beach", "red car in snow", "a woman with a hat")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync", "--no-first-run"]
WATCH = """() => {
  window.shown = [];
  const field = document.querySelector("#query");
  const plain = () => field.value.trim().replace(/\\s+/g, " ");
  field.addEventListener("input", (event) => {
    const wanted = plain(), key = { wanted, painted: null, decoded: null };
    shown.push(key);
    const watch = new MutationObserver(() => {
      if (plain() !== wanted) return watch.disconnect();
      if (document.querySelector(".words").textContent !== wanted) return;
      watch.disconnect();
      const image = document.querySelector(".tile img");
      image?.decode().then(() => { key.decoded = performance.now() - event.timeStamp; });
      requestAnimationFrame(() => {
        const after = new MessageChannel();  // its message comes after the frame was painted
        after.port1.onmessage = () => { key.painted = performance.now() - event.timeStamp; };
        after.port2.postMessage(0);
      });
    });
    watch.observe(document.querySelector(".column"), { childList: true, subtree: true, characterData: true });
  });
}"""
BARE = """async () => {
  const started = performance.now();
  await (await fetch("/static/icon.svg", { cache: "no-store" })).text();
  document.querySelector(".spoken").textContent = String(started);
  return new Promise((resolve) => requestAnimationFrame(() => {
    const after = new MessageChannel();
    after.port1.onmessage = () => resolve(performance.now() - started);
    after.port2.postMessage(0);
  }));
}"""
OPENED = "() => document.querySelectorAll('.tile').length > 10 && performance.now()"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="finished run directory, or a folder of exports")
    parser.add_argument("--quick", action="store_true", help="500 items and one query; the bars are not judged")
    args = parser.parse_args(argv)
    print_versions()
    queries, items = (QUERIES[:1], 500) if args.quick else (QUERIES, ITEMS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "page.index"
        encoders = Path(args.run) if args.run else _toy(Path(temporary) / "exports")
        print(f"index of {items:,} items", flush=True)
        write_index(folder, encoders, items, list(QUERIES) if args.quick else flickr8k_captions())
        with serving(folder) as url:
            opened, keys, bare = measure(url, queries)
    painted = [key["painted"] for key in keys if key["painted"] is not None]
    decoded = [key["decoded"] for key in keys if key["decoded"] is not None]
    print(f"{len(keys)} keystrokes, {len(keys) - len(painted)} overtaken by the next one")
    for name, values in (
        ("result painted", painted),
        ("its image decoded", decoded),
        ("bare request", bare),
        ("opened", opened),
    ):
        quantiles = f"median {statistics.median(values):.0f} ms, worst {max(values):.0f} ms"
        print(f"{name:20}{quantiles} ({len(values)} times)")
    key, open_ = statistics.median(painted), statistics.median(opened)
    figure = f"{key:.0f} ms from key to result, opens in {open_:.0f} ms"
    return verdict(
        "page", figure, f"< {BAR_KEY:.0f} ms, < {BAR_OPEN:.0f} ms", args.quick or (key < BAR_KEY and open_ < BAR_OPEN)
    )


def _toy(out: Path) -> Path:
    toy_export(out)
    return out


def flickr8k_captions() -> list[str]:
    lines = (Path(flickr8k()) / "Flickr8k_text" / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines()
    return [line.partition("\t")[2] for line in lines]


def write_index(folder: Path, encoders: Path, count: int, captions: Sequence[str]) -> None:
    """An index of images of noise with captions and random vectors, under the text encoder of a run or an export."""
    from itembed_tf.index.build import derive
    from itembed_tf.index.database import writing
    from itembed_tf.index.encoders import find_exports, pack_encoders
    from itembed_tf.index.generations import start_generation
    from itembed_tf.index.items import add_source, put_items
    from itembed_tf.index.records import NewItem

    random = np.random.default_rng(SEED)
    stored = pack_encoders(find_exports(encoders))
    images = [_noise(random) for _ in range(64)]
    with writing(folder, create=True) as connection:
        generation = start_generation(connection, stored)
        source = add_source(connection, "folder", "/images")
        for start in range(0, count, 500):
            vectors = random.normal(size=(min(500, count - start), stored.dimensions)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            items = [
                NewItem(
                    place=f"/images/{number % 20}/{number}.jpg",
                    kind="image",
                    content=hashlib.sha256(str(number).encode()).hexdigest(),
                    stamp="1",
                    name=f"{number}.jpg",
                    folder=f"/images/{number % 20}",
                    vector=vector,
                    captions=tuple(random.choice(captions, 5)),
                    date=f"{2000 + number % 20}-06-01T12:00:00",
                    width=320,
                    height=240,
                    thumbnail=images[number % len(images)],
                )
                for number, vector in enumerate(vectors, start)
            ]
            put_items(connection, items, source=source, generation=generation.number, dimensions=stored.dimensions)
    derive(folder)


def _noise(random: np.random.Generator) -> bytes:
    """A WebP image of the size in bytes that a photograph's thumbnail has."""
    coarse = Image.fromarray(random.integers(0, 256, (18, 24, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    coarse.resize((320, 240), Image.Resampling.BICUBIC).save(buffer, "WEBP", quality=78)
    return buffer.getvalue()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve the page of an index from a thread; yields its URL."""
    from itembed_tf.demo.access import Access
    from itembed_tf.demo.application import make_handler
    from itembed_tf.demo.page_api import PageApi
    from itembed_tf.demo.searched_index import SearchedIndex
    from itembed_tf.demo.service import search_on_one_core
    from itembed_tf.server.http_server import HttpServer
    from itembed_tf.server.limits import Limits

    search_on_one_core()  # as `serve_page` does
    with contextlib.closing(SearchedIndex(folder)) as index:
        index.warm_up()
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        server = HttpServer(make_handler(PageApi([index]), Access()), Limits())
        port = asyncio.run_coroutine_threadsafe(server.start("127.0.0.1", 0), loop).result()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            asyncio.run_coroutine_threadsafe(server.close(1.0), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


def measure(url: str, queries: Sequence[str]) -> tuple[list[float], list[dict[str, Any]], list[float]]:
    """Milliseconds of opening the page, of each keystroke, and of a bare request with the next frame."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise SystemExit("playwright is not installed; run: pip install 'itembed_tf[dev]'") from None
    chromium = os.environ.get("ITEMBED_CHROMIUM") or shutil.which("chromium")
    if not chromium:
        raise SystemExit("no Chromium on this machine: apt-get install chromium, or name it in ITEMBED_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        opened, bare = [], []
        for _ in range(5):
            context = browser.new_context(viewport={"width": 1280, "height": 800})
            tab = context.new_page()
            tab.goto(f"{url}/", wait_until="commit")
            opened.append(float(tab.wait_for_function(OPENED).json_value()))
            context.close()
        tab = browser.new_page(viewport={"width": 1280, "height": 800})
        tab.goto(f"{url}/")
        tab.wait_for_selector("html[data-ready]")
        tab.locator("#query").press_sequentially(WARM, delay=KEY_MS)
        tab.evaluate(WATCH)
        for query in queries:
            tab.locator("#query").press("Control+a")
            tab.locator("#query").press_sequentially(query, delay=KEY_MS)
            time.sleep(0.5)
            bare += [float(tab.evaluate(BARE)) for _ in range(5)]
        keys = [key for key in tab.evaluate("() => shown") if key["wanted"]]
        browser.close()
    return opened, keys, bare


if __name__ == "__main__":
    sys.exit(main())
