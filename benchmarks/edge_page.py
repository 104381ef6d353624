"""The search page of export/edge in a browser without a network: time to the first answer, and time of a query.

    python -m benchmarks.edge_page [TEXT_ENCODER.tflite] [--items 1000] [--quick]

Serves the folder that export/edge/make_page.py writes from this machine, and opens it in Chromium (headless; all
other addresses are blocked). The gallery has random embeddings and drawn thumbnails. Without a file it takes a small
untrained encoder. "first answer": from the end of loading to the results of the first query. "query": from a keystroke
to the changed results, median. Needs `npm ci` in export/edge/node, and Chromium (apt-get install chromium; or
ITEMBED_CHROMIUM).
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.runner import print_versions, verdict
from benchmarks.served import toy_export

FIRST, QUERY = 1000.0, 30.0  # bars, ms
EDGE = Path(__file__).parents[1] / "export" / "edge"
TIMED = """async (text) => {
  const field = document.querySelector("#query"), results = document.querySelector("#results");
  const changed = new Promise((resolve) => {
    const watch = new MutationObserver(() => { watch.disconnect(); resolve(performance.now()); });
    watch.observe(results, { childList: true });
  });
  const started = performance.now();
  field.value = text;
  field.dispatchEvent(new Event("input"));
  return await changed - started;
}"""


def write_page(folder: Path, encoder: Path, items: int) -> Path:
    """The page of an encoder with a gallery of random embeddings."""
    gallery = folder / "gallery"
    (gallery / "thumbnails").mkdir(parents=True)
    with zipfile.ZipFile(encoder) as inside:
        about = json.loads(inside.read("text_encoder.json"))
    rows = np.random.default_rng(0).normal(size=(items, about["output"]["embedding"]["shape"][1])).astype("<f4")
    (rows / np.linalg.norm(rows, axis=1, keepdims=True)).tofile(gallery / "embeddings.f32")
    (gallery / "names.txt").write_text("".join(f"{number}.jpg\n" for number in range(items)), encoding="utf-8")
    written = {"contract": about["contract"], "thumbnails": True}
    (gallery / "gallery.json").write_text(json.dumps(written), encoding="utf-8")
    for number in range(items):
        colour = (number % 251, 80, 11 * number % 256)
        Image.new("RGB", (256, 256), colour).save(gallery / "thumbnails" / f"{number}.jpg")
    command = [sys.executable, str(EDGE / "make_page.py"), str(encoder), str(gallery), str(folder / "page")]
    subprocess.run(command, check=True)
    return folder / "page"


@contextmanager
def served(page: Path) -> Iterator[str]:
    """The address of a folder that Python's web server serves on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Requests are not printed."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(page)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()


def measure(page: Path, texts: Sequence[str], rounds: int) -> tuple[float, list[float]]:
    """Milliseconds from the end of loading to the first answer, and of each further query."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("ITEMBED_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        raise SystemExit("error: there is no Chromium; run: apt-get install chromium, or set ITEMBED_CHROMIUM")
    with served(page) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page()
        elsewhere: list[str] = []
        tab.on("request", lambda request: elsewhere.append(request.url) if address not in request.url else None)
        tab.route(lambda url: not url.startswith(address), lambda route: route.abort())
        tab.goto(address)
        tab.wait_for_function("() => !document.querySelector('#query').disabled", timeout=60_000)
        first = tab.evaluate(TIMED, texts[0])
        taken = [tab.evaluate(TIMED, text) for _ in range(rounds) for text in (*texts[1:], texts[0])]
        loaded = tab.evaluate("() => performance.now()")
        browser.close()
    if outside := [url for url in elsewhere if not url.startswith("data:")]:
        raise SystemExit(f"error: the page asked for {outside[0]}")
    print(f"first answer {first:.1f} ms; {len(taken)} queries, median {statistics.median(taken):.1f} ms, ", end="")
    print(f"highest {max(taken):.1f} ms; the tab was open for {loaded:.0f} ms")
    return first, taken


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text_encoder", nargs="?", type=Path, help="a .tflite file of itembed export")
    parser.add_argument("--items", type=int, default=1000, help="images of the gallery (default: 1000)")
    parser.add_argument("--quick", action="store_true", help="one round; its bars are ten times as high")
    args = parser.parse_args(argv)
    print_versions()
    with tempfile.TemporaryDirectory() as folder:
        encoder = args.text_encoder or next(toy_export(Path(folder) / "toy").rglob("text_encoder.float32.tflite"))
        print(f"{encoder.name}: {encoder.stat().st_size / 1e6:.1f} MB, {args.items:,} images")
        first, taken = measure(
            write_page(Path(folder), encoder, args.items), texts_of(encoder), 1 if args.quick else 10
        )
    slack = 10.0 if args.quick else 1.0
    median = statistics.median(taken)
    figure = f"first answer {first:.0f} ms, query {median:.1f} ms"
    ok = first <= slack * FIRST and median <= slack * QUERY
    return verdict("edge_page", figure, f"{slack * FIRST:.0f} ms, {slack * QUERY:.0f} ms", ok)


def texts_of(encoder: Path) -> list[str]:
    """Four texts of words that the encoder knows."""
    with zipfile.ZipFile(encoder) as inside:
        words = inside.read("vocabulary.txt").decode("utf-8").split()
    return [" ".join(np.random.default_rng(seed).choice(words, 5)) for seed in range(4)]


if __name__ == "__main__":
    sys.exit(main())
