"""One line per step: a spinner with the time on a terminal, plain lines anywhere else."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
STILL_WORKING_SECONDS = 10.0


class Step:
    """What the running step says about itself; ``detail`` may be set from any thread."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.detail = ""
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def text(self) -> str:
        return f"{self.title}: {self.detail}" if self.detail else self.title


class Terminal:
    """Everything `make up` prints goes through here, so that lines never mix with the spinner."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live = sys.stdout.isatty()
        self._pending = ""

    def line(self, text: str = "") -> None:
        with self._lock:
            self._erase()
            print(text, flush=True)

    def problem(self, text: str) -> None:
        with self._lock:
            self._erase()
            print(text, file=sys.stderr, flush=True)

    def event(self, name: str, text: str) -> None:
        """Something that happened to a process, with the time of day."""
        self.line(f"{time.strftime('%H:%M:%S')}  {name:<9} {text}")

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Print how it ended and how long it took; the caller reports a failure itself."""
        step = Step(title)
        over = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(step, over), daemon=True)
        ticker.start()
        try:
            yield step
        except BaseException:
            self._finish(over, ticker, f"  ✗ {step.text()}  ({step.seconds:.1f} s)")
            raise
        self._finish(over, ticker, f"  ✓ {step.text()}  {_took(step.seconds)}".rstrip())

    def _finish(self, over: threading.Event, ticker: threading.Thread, text: str) -> None:
        over.set()
        ticker.join()
        self.line(text)

    def _tick(self, step: Step, over: threading.Event) -> None:
        pause = 0.12 if self._live else STILL_WORKING_SECONDS
        for frame in itertools.cycle(SPINNER):
            if over.wait(pause):
                return
            text = f"  {frame} {step.text()}  {step.seconds:.0f} s"
            if not self._live:
                self.line(text)
                continue
            with self._lock:
                self._erase()
                self._pending = text[:150]
                print(self._pending, end="", flush=True)

    def _erase(self) -> None:
        if self._pending:
            print("\r\033[K", end="", flush=True)
            self._pending = ""


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 0.1 else ""
