"""Progress of long commands on standard error: numbered steps, and a running clock for what has no progress bar."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

TERMINAL_SECONDS, FILE_SECONDS = 1.0, 4.0  # between two updates of a running clock


class Steps:
    """The steps of a command: each prints ``[3/6] train stage I   (1:12 elapsed, about 6 min left)`` when it starts.

    Args:
        titles: all steps in order.
        weights: expected duration of each step, in any unit. The time left is estimated from the time that the
            finished steps took; without weights there is no estimate.

    A step may be left out; it then takes no part in the estimate. The clock starts with the first step.
    """

    def __init__(self, titles: Sequence[str], weights: Sequence[float] | None = None) -> None:
        if weights is not None and len(weights) != len(titles):
            raise ValueError(f"{len(weights)} weights for {len(titles)} steps")
        self.titles = list(titles)
        self.weights = None if weights is None else list(weights)
        self._begun: float | None = None
        self._current: int | None = None
        self._weight_done = 0.0

    def start(self, title: str, *, seconds_left: float | None = None) -> None:
        """Print the line of a step. `seconds_left`, where known, replaces the estimate for it and all later steps.

        Raises:
            ValueError: no step has this title.
        """
        if title not in self.titles:
            raise ValueError(f"no step {title!r}; the steps are: {', '.join(self.titles)}")
        number = self.titles.index(title)
        if self._begun is None:
            self._begun = time.monotonic()
        if self.weights is not None and self._current is not None:
            self._weight_done += self.weights[self._current]
        self._current = number
        left = self._estimate(number) if seconds_left is None else seconds_left
        facts = [f"{clock(self.elapsed)} elapsed"] if number else []
        facts += [] if left is None else [f"about {rounded_duration(left)} left"]
        suffix = f"   ({', '.join(facts)})" if facts else ""
        print(f"[{number + 1}/{len(self.titles)}] {title}{suffix}", file=sys.stderr, flush=True)

    @property
    def elapsed(self) -> float:
        """Seconds since the first step started."""
        return 0.0 if self._begun is None else time.monotonic() - self._begun

    def _estimate(self, number: int) -> float | None:
        if self.weights is None or not self._weight_done:
            return None
        return self.elapsed / self._weight_done * sum(self.weights[number:])


def clock(seconds: float) -> str:
    """A duration as minutes:seconds, ``1:12``, or hours:minutes:seconds, ``2:01:12``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def rounded_duration(seconds: float) -> str:
    """A duration as coarse as an estimate is: ``20 s``, ``6 min``, ``2 h 10 min``."""
    if seconds < 55:
        return f"{max(5, 5 * round(seconds / 5))} s"
    if seconds < 59.5 * 60:
        return f"{max(1, round(seconds / 60))} min"
    hours, tens = divmod(round(seconds / 600), 6)
    return f"{hours} h {10 * tens} min" if tens else f"{hours} h"


@contextmanager
def running_clock(title: str) -> Iterator[None]:
    """Show on standard error how long the block has been running, for work that cannot show a progress bar.

    Nothing is shown for a block that ends within a second (four seconds where standard error is not a terminal), nor
    while a progress bar is open: both would write on one line.
    """
    begun, finished = time.monotonic(), threading.Event()
    terminal = sys.stderr.isatty()
    shown = False

    def show() -> None:
        nonlocal shown
        while not finished.wait(TERMINAL_SECONDS if terminal else FILE_SECONDS):
            if _bar_is_open():
                continue
            shown = True
            text = f"  {title}: {clock(time.monotonic() - begun)}"
            print(f"\r{text}" if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)

    thread = threading.Thread(target=show, name="running_clock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
        if shown and terminal:
            print(file=sys.stderr, flush=True)


def _bar_is_open() -> bool:
    """Whether tqdm shows a bar. Not imported here: commands that show no bar start without it."""
    tqdm = sys.modules.get("tqdm")
    # tqdm has no public list of its open bars.
    return tqdm is not None and any(not bar.disable for bar in list(tqdm.tqdm._instances))
