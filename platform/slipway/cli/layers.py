"""The layers of a pull or push on a terminal: a bar each, drawn by rich; nothing anywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from slipway.cli.output import clean

SHOWN_MAX = 12
"""More would not fit a terminal: those that are done leave first."""
_ENDED = ("done", "exists", "mounted")


class Layers(Protocol):
    def show(self, title: str, layers: Sequence[dict[str, Any]]) -> None: ...


class NoLayers:
    def show(self, title: str, layers: Sequence[dict[str, Any]]) -> None:
        pass


def pick(layers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What to show of them: all, or those under way and then those that come next."""
    if len(layers) <= SHOWN_MAX:
        return list(layers)
    under_way = [each for each in layers if each["state"] not in (*_ENDED, "waiting")]
    waiting = [each for each in layers if each["state"] == "waiting"]
    return (under_way + waiting)[:SHOWN_MAX]


def have(layer: dict[str, Any]) -> int:
    """Bytes of it that need not come any more."""
    return int(layer["total"] if layer["state"] in _ENDED else layer["done"])


def words(state: str) -> str:
    return "there already" if state == "exists" else state


def told(layers: Sequence[dict[str, Any]]) -> list[str]:
    """What came of each, to stand on the terminal afterwards."""
    return [f"{short(each['digest'])} {words(each['state'])}" for each in layers]


def short(digest: str) -> str:
    return digest.partition(":")[2][:12] or digest[:12]


def is_watched(quiet: bool) -> bool:
    """Somebody looks at a terminal."""
    return not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def layer_bars(*, quiet: bool = False) -> Iterator[Layers]:
    if not is_watched(quiet):
        yield NoLayers()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        DownloadColumn(binary_units=True),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        head = progress.add_task("", total=None)
        tasks: dict[str, Any] = {}

        class Drawn:
            def show(self, title: str, layers: Sequence[dict[str, Any]]) -> None:
                done, total = sum(map(have, layers)), sum(each["total"] for each in layers)
                progress.update(head, description=clean(title), completed=done, total=total or None)
                shown = {each["digest"]: each for each in pick(layers)}
                for digest in tasks.keys() - shown.keys():
                    progress.remove_task(tasks.pop(digest))
                for digest, each in shown.items():
                    if digest not in tasks:
                        tasks[digest] = progress.add_task("", total=None)
                    state = f"  {short(digest)} {words(each['state'])}".ljust(28)
                    total = each["total"] or None
                    progress.update(
                        tasks[digest], description=clean(state), completed=have(each), total=total
                    )

        yield Drawn()
