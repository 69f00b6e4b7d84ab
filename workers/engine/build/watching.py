"""How far transfers of a build are, on a line of its record."""

from __future__ import annotations

from collections.abc import Callable

from workers.engine.build.progress import Note, shown_bytes
from workers.messages import LayerProgress


class LineWatcher:
    """A ``transfer.boards.Watcher``; ``cancelled`` raises to end the transfer."""

    def __init__(self, cancelled: Callable[[], None], note: Note) -> None:
        self.check, self._note = cancelled, note

    def layers(self, layers: tuple[LayerProgress, ...]) -> None:
        self._note(shown_bytes(sum(each.done for each in layers), sum(each.total for each in layers)))

    def say(self, line: str, done: int, total: int) -> None:
        self.check()
