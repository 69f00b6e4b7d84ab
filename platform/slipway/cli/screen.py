"""A build on a terminal: its steps with their times, and the last lines of those that run."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from slipway.cli.building import TAIL, Build, describe_wait, steps_cut, strip
from slipway.cli.following import Entry
from slipway.cli.output import clean

_LOOKS = {
    "waiting": ("·", "dim"),
    "running": ("▸", "cyan"),
    "cached": ("✓", "blue"),
    "done": ("✓", "green"),
    "failed": ("✗", "red"),
    "cancelled": ("■", "yellow"),
    "skipped": ("·", "dim"),
}
ROWS_KEPT = 3
"""Of ended steps on a small terminal, besides those that run."""


class Screen:
    def __init__(self, live: Live, console: Console) -> None:
        self._live, self._console = live, console
        self._tails: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=200))
        self._torn: dict[str, str] = {}
        self._seen = time.monotonic()

    def show(self, build: Build, entries: list[Entry]) -> None:
        for entry in entries:
            self._take(entry)
        self._live.update(self._render(build), refresh=True)

    def _take(self, entry: Entry) -> None:
        text = self._torn.pop(entry.stream, "") + entry.text
        if entry.whole:
            self._tails[entry.stream.partition(":")[0]].append(clean(strip(text)))
        else:
            self._torn[entry.stream] = text

    def _render(self, build: Build) -> Group:
        steps = [step for step in build["steps"] if step["state"] != "skipped"]
        ended = len([step for step in steps if step["state"] in ("cached", "done")])
        title = Text(f"Build #{build['number']} {clean(build['title'])}  ", style="bold", no_wrap=True)
        title.append(describe_wait(build) or f"{build['state']} {ended}/{len(steps)}", style="not bold")
        rows: list[Text] = [title]
        for step in self._fitting(steps):
            rows.append(self._step(step))
            if step["state"] in ("running", "failed"):
                tail = list(self._tails[str(step["id"])])[-TAIL if step["state"] == "running" else -20 :]
                rows += [Text(f"    {line}", style="dim", no_wrap=True, overflow="ellipsis") for line in tail]
        if cut := steps_cut(build):
            rows.append(Text(f"   {cut}", style="dim"))
        return Group(*rows)

    def _fitting(self, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """All of them, or those that matter now, where the terminal is too low."""
        busy = [step for step in steps if step["state"] in ("running", "failed")]
        room = self._console.height - 3 - (TAIL + 1) * max(1, len(busy))
        if len(steps) <= max(room, 4):
            return steps
        first = next((at for at, step in enumerate(steps) if step in busy), len(steps))
        return steps[max(0, first - ROWS_KEPT) : first] + busy

    def _step(self, step: dict[str, Any]) -> Text:
        mark, style = _LOOKS.get(step["state"], ("·", "dim"))
        row = Text(no_wrap=True, overflow="ellipsis")
        row.append(f" {mark} ", style=style)
        row.append(clean(step["name"].replace("\n", " ")), style="dim" if step["state"] == "waiting" else "")
        if step["state"] == "cached":
            row.append("  cached", style="blue")
        elif step["seconds"] is not None:
            row.append(f"  {step['seconds']:.1f} s", style="dim")
        if step["progress"] and step["state"] == "running":
            row.append(f"  {clean(step['progress'])}", style="dim")
        return row


@contextmanager
def screen() -> Iterator[Screen]:
    console = Console(stderr=True, highlight=False)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        yield Screen(live, console)
