"""A bar on a terminal, drawn by rich; nothing anywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from slipway.cli.output import clean


class Bar(Protocol):
    def show(self, title: str, done: int, total: int) -> None: ...


class NoBar:
    def show(self, title: str, done: int, total: int) -> None:
        pass


@contextmanager
def bar(title: str, *, quiet: bool = False) -> Iterator[Bar]:
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield NoBar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(clean(title), total=None)

        class Drawn:
            def show(self, title: str, done: int, total: int) -> None:
                progress.update(task, description=clean(title), completed=done, total=total or None)

        yield Drawn()
