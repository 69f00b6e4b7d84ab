"""Who looks on while a build transfers: how far it is, on a line of its record, and whether to go on."""

from __future__ import annotations

import time
from collections.abc import Callable

from workers.engine.build.progress import Note, shown_bytes
from workers.errors import BuildExceeded
from workers.messages import LayerProgress

_GRACE = 1.0


class LineWatcher:
    """A ``transfer.boards.Watcher``; ``cancelled`` raises to end the transfer."""

    def __init__(self, cancelled: Callable[[], None], note: Note) -> None:
        self.check, self._note = cancelled, note

    def layers(self, layers: tuple[LayerProgress, ...]) -> None:
        self._note(shown_bytes(sum(each.done for each in layers), sum(each.total for each in layers)))

    def say(self, line: str, done: int, total: int) -> None:
        self.check()


def timed(cancelled: Callable[[], None], deadline: float) -> Callable[[], None]:
    """Whoever asks whether the build was cancelled is told as well when its time is over."""

    def check() -> None:
        cancelled()
        # A command that runs at that moment says so itself, with its step.
        if time.monotonic() > deadline + _GRACE:
            raise BuildExceeded("build exceeded its time", limit="timeout")

    return check
