"""Lessons that are given on the page: one at a time for each index, in a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itembed_tf.errors import UserError

Request = dict[str, Any]  # as `itembed_tf.demo.lesson_process` reads it
_STEP = re.compile(r"\[\d+/\d+\] (.+?)(?:   \(.*)?")


class Busy(UserError):
    """A lesson is being learned; there is one at a time."""


@dataclass
class Running:
    """A lesson in progress: what is done to which name, since when, and the current step."""

    name: str
    undo: bool
    begun: float
    step: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a lesson ended.

    Attributes:
        number: counts the outcomes of this server.
        name: of the lesson.
        undo: whether it was undone.
        lesson: as `itembed_tf.index.lessons.lesson_json` has it; None where it was refused.
        error: why it was refused, a sentence; "" where it was not.
    """

    number: int
    name: str
    undo: bool
    lesson: dict[str, Any] | None
    error: str


class Lessons:
    """Gives lessons to one index; safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._running: Running | None = None
        self._outcome: Outcome | None = None
        self._process = LessonProcess()

    def teach(self, name: str, items: list[int]) -> None:
        """Begin a lesson; Busy while another one is learned."""
        self._start(name, {"index": str(self._folder), "name": name, "items": items})

    def undo(self, number: int, name: str) -> None:
        """Begin to undo a lesson; Busy while another one is learned."""
        self._start(name, {"index": str(self._folder), "undo": number})

    def progress(self) -> tuple[Running | None, Outcome | None]:
        """The lesson in progress, and how the last one ended."""
        with self._lock:
            return self._running, self._outcome

    def close(self) -> None:
        """End a lesson in progress; the index is then as before it."""
        self._process.end()

    def _start(self, name: str, request: Request) -> None:
        with self._lock:
            if self._running:
                seconds = time.monotonic() - self._running.begun
                what = "undone" if self._running.undo else "learned"
                raise Busy(
                    f"{self._running.name!r} is being {what}, since {seconds:.0f} s: one lesson at a time; wait for it"
                )
            self._running = Running(name, "undo" in request, time.monotonic())
        threading.Thread(target=self._run, args=(self._running, request), daemon=True).start()

    def _run(self, running: Running, request: Request) -> None:
        def step(title: str) -> None:
            running.step = title

        try:
            result = self._process.run(request, step)
        except Exception as error:  # whatever it is, the next lesson must be possible
            result = {"error": f"the lesson ended early: {error}"}
        reason = " ".join(str(result.get("error", "")).split())
        with self._lock:
            number = self._outcome.number + 1 if self._outcome else 1
            self._outcome = Outcome(number, running.name, running.undo, result.get("lesson"), reason)
            self._running = None


class LessonProcess:
    """`itembed_tf.demo.lesson_process`, one at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, request: Request, step: Callable[[str], None]) -> dict[str, Any]:
        """What the process answers; `step` is called with the title of each step."""
        command = [sys.executable, "-m", "itembed_tf.demo.lesson_process"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, encoding="utf-8", stdin=pipe, stdout=pipe, stderr=pipe) as process:
            self._process = process
            assert process.stdin and process.stdout and process.stderr
            with process.stdin:
                json.dump(request, process.stdin)
            last = ""
            for line in process.stderr:  # the answer on stdout is shorter than the buffer of a pipe
                if title := _STEP.fullmatch(line.strip()):
                    step(title[1])
                last = line.strip() or last
            lines = process.stdout.read().splitlines()
        self._process = None
        if not lines:
            raise RuntimeError(last or f"exit code {process.returncode}")
        return dict(json.loads(lines[-1]))

    def end(self) -> None:
        """Kill a running process; what it had not committed is lost."""
        if self._process is not None:
            self._process.kill()
