"""Watching a build: its steps and what they write, in plain lines or on a terminal; how it ended."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from slipway.cli.client import Client
from slipway.cli.errors import CliError, Exit, Problem, Unreachable
from slipway.cli.following import Entry, Following
from slipway.cli.output import clean, is_colourful

ENDED = ("succeeded", "failed", "cancelled")
PAUSES = (0.15, 0.25, 0.4, 0.6, 0.8)
ATTEMPTS = 60
CANCEL_PATIENCE = 15.0
TAIL = 8
PROGRESS_EVERY = 2.0
Build = dict[str, Any]


class View(Protocol):
    def show(self, build: Build, entries: list[Entry]) -> None: ...


class Quiet:
    def show(self, build: Build, entries: list[Entry]) -> None:
        pass


class Plain:
    """Lines for a build server's log: ``#3 [web 1/2] RUN make``, ``#3 1.2 text``, ``#3 DONE 4.1s``."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._progress: dict[int, tuple[float, str]] = {}
        """When we last told how far a step is, and what."""
        self._states: dict[int, str] = {}
        self._started: dict[int, float] = {}
        self._torn: dict[str, str] = {}
        self._held: dict[int, list[str]] = {}
        """Lines of steps that we have not been told of yet."""
        self._waiting = ""

    def show(self, build: Build, entries: list[Entry]) -> None:
        self._queue(build)
        for step in build["steps"]:
            if step["state"] not in ("waiting", "skipped"):
                self._begin(step)
                self._go_on(step)
        for entry in entries:
            self._line(entry)
        for step in build["steps"]:
            self._end(step)
        if build["state"] in ENDED:
            if cut := steps_cut(build):
                self._write(cut)
            for lines in self._held.values():
                for line in lines:
                    self._write(line)
            self._held.clear()

    def _queue(self, build: Build) -> None:
        waiting = describe_wait(build)
        if waiting and waiting != self._waiting:
            self._write(waiting)
        self._waiting = waiting

    def _begin(self, step: dict[str, Any]) -> None:
        number = step["id"]
        if number in self._states:
            return
        self._states[number] = "running"
        self._write(f"#{number} {clean(step['name'])}")
        if step["reason"]:
            self._write(f"#{number} {clean(step['reason'])}")
        for line in self._held.pop(number, []):
            self._write(line)

    def _go_on(self, step: dict[str, Any]) -> None:
        """How far a transfer is, now and then."""
        number, progress, now = step["id"], clean(step["progress"]), self._clock()
        since, before = self._progress.get(number, (float("-inf"), ""))
        if step["state"] == "running" and progress not in ("", before) and now - since >= PROGRESS_EVERY:
            self._progress[number] = now, progress
            self._write(f"#{number} {progress}")

    def _line(self, entry: Entry) -> None:
        step, _, _ = entry.stream.partition(":")
        text = self._torn.pop(entry.stream, "") + entry.text
        if not entry.whole:
            self._torn[entry.stream] = text
            return
        line, number = f"#{step} {clean(strip(text))}", int(step) if step.isdigit() else 0
        if number in self._states:
            self._write(line)
        else:
            self._held.setdefault(number, []).append(line)

    def _end(self, step: dict[str, Any]) -> None:
        number, state = step["id"], step["state"]
        if state not in ("cached", "done", "failed", "cancelled") or self._states.get(number) == state:
            return
        self._states[number] = state
        seconds = f" {step['seconds']:.1f}s" if step["seconds"] is not None and state != "cached" else ""
        self._write(f"#{number} {state.upper()}{seconds}")


def steps_cut(build: Build) -> str:
    """Empty when all of its steps are kept."""
    cut = build.get("steps_total", 0) - len(build["steps"])
    return f"… and {cut} steps more, which are not kept" if cut > 0 else ""


def describe_wait(build: Build) -> str:
    """Empty when it does not wait."""
    if build["state"] != "queued":
        return ""
    place = f"number {build['position']} in the queue" if build["position"] else "queued"
    reasons = {
        "quota": "another build of the project must end first",
        "lock": "the build of its group that runs must end first",
        "node": "its node is away",
        "slot": "a slot must become free",
    }
    reason = reasons.get(build["waits_for"], "")
    return f"Waiting: {place}{'; ' + reason if reason and build['position'] else ''}"


def strip(text: str) -> str:
    """Without terminal colours; of a line that was written over, what was written last."""
    import re

    text = text.removesuffix("\r").rpartition("\r")[2]
    return re.sub(r"\x1b\[[0-9;:]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)|\x1b.", "", text)


@contextmanager
def view(progress: str, *, quiet: bool) -> Iterator[View]:
    """``progress``: ``plain``, ``tty``, ``quiet``, or ``auto``: a terminal gets one."""
    if progress == "auto":
        is_dumb = os.environ.get("TERM") == "dumb" or not sys.stderr.isatty()
        progress = "plain" if is_dumb else "tty"
    if quiet or progress == "quiet":
        yield Quiet()
    elif progress == "plain":
        yield Plain(lambda line: print(line, file=sys.stderr, flush=True))
    else:
        from slipway.cli.screen import screen

        with screen() as shown:
            yield shown


def watch(client: Client, path: str, shown: View) -> Build:
    """The build once it has ended, with its steps. A server away for a moment is waited for."""
    looks = failures = 0
    position: int | None = 0
    while True:
        try:
            build: Build = client.get(path)
            following = Following(client, f"{path}/logs", position=position)
            entries = _written(following) if build["started_at"] else []
            position = following.position if following.position is not None else position
            failures = 0
        except Unreachable:
            failures += 1
            if failures > ATTEMPTS:
                raise
        else:
            shown.show(build, entries)
            if build["state"] in ENDED and not entries:
                return build
        time.sleep(PAUSES[min(looks, len(PAUSES) - 1)])
        looks += 1


def _written(following: Following) -> list[Entry]:
    try:
        return [entry for batch in following.batches() for entry in batch]
    except Problem as error:
        if error.status in (404, 410):
            return []
        raise


def watch_or_cancel(client: Client, path: str, shown: View) -> Build:
    """As ``watch``; Ctrl-C cancels the build and waits for its end, a second one does not."""
    try:
        return watch(client, path, shown)
    except KeyboardInterrupt:
        print("\nCancelling the build…", file=sys.stderr, flush=True)
        client.post(f"{path}/cancel")
        deadline = time.monotonic() + CANCEL_PATIENCE
        while time.monotonic() < deadline:
            if client.get(path)["state"] in ENDED:
                break
            time.sleep(0.2)
        raise CliError(
            "The build was cancelled.", code="BUILD_CANCELLED", exit_code=Exit.INTERRUPTED
        ) from None


def check(build: Build, dockerfile: str | None = None) -> None:
    """Raise ``CliError`` unless it succeeded; of the Dockerfile's text the guilty lines are shown."""
    if build["state"] == "succeeded":
        return
    cause = build["cause"] or {}
    facts = cause.get("facts") or {}
    if build["state"] == "failed":
        excerpt = _excerpt(dockerfile, facts)
        where = f"{facts.get('file') or build['dockerfile']}:{facts['line']}\n" if facts.get("line") else ""
        if where or excerpt:
            print(f"{clean_lines(where)}{excerpt}", file=sys.stderr, end="")
        told = clean(cause.get("message") or "The build failed.")
        guess = clean(str(facts.get("suggestion") or ""))
        hint = f"Did you mean {guess}?" if guess and guess not in told else ""
        raise CliError(told, code=cause.get("code") or "BUILD_FAILED", hint=hint)
    message = cause.get("message") or f"The build #{build['number']} was cancelled."
    raise CliError(clean(message), code=cause.get("code") or "BUILD_CANCELLED")


def clean_lines(text: str) -> str:
    return "\n".join(clean(line) for line in text.split("\n"))


def _excerpt(text: str | None, facts: dict[str, Any]) -> str:
    """The line at fault with those around it, as BuildKit shows them, and a marker below the spot.

    Without the text, or where it has changed since, what the node says of the line.
    """
    line, said, marker = facts.get("line"), facts.get("text"), facts.get("marker")
    lines = dict(enumerate((text or "").splitlines(), 1))
    if not isinstance(line, int) or (line not in lines and not isinstance(said, str)):
        return ""
    if isinstance(said, str) and said.strip() not in lines.get(line, ""):
        lines = {line: said}
    bold, off = ("\x1b[1m", "\x1b[0m") if is_colourful(sys.stderr) else ("", "")
    rows = ["--------------------"]
    for number in range(line - 2, line + 3):
        if number not in lines:
            continue
        is_guilty = number == line
        shown = said if is_guilty and isinstance(said, str) else lines[number]
        row = f"{number:4} | {'>>>' if is_guilty else '   '} {_spaced(shown)}"
        rows.append(f"{bold}{row}{off}" if is_guilty else row)
        if is_guilty and isinstance(said, str) and isinstance(marker, str):
            rows.append(f"     |     {_spaced(marker)}")
    return "\n".join([*rows, rows[0], ""])


def _spaced(text: str) -> str:
    """A tab is a blank here and in the marker: both stay below each other."""
    return clean(text.replace("\t", " "))


def tail_of(entries: deque[str]) -> list[str]:
    return list(entries)[-TAIL:]
