"""How much text a plan may grow to: a few lines can double a variable until it fills the memory."""

from __future__ import annotations

from workers.engine.dockerfile.errors import Mistake
from workers.errors import DockerfileTooLarge

MAX_CHARACTERS = 64 << 20


class Budget:
    def __init__(self, characters: int = MAX_CHARACTERS) -> None:
        self._left = characters
        self._given = characters

    def spend(self, text: str) -> str:
        """``text``, paid for. Raise ``Mistake`` when there is no more."""
        self.count(len(text))
        return text

    def count(self, characters: int) -> None:
        self._left -= characters
        if self._left < 0:
            raise Mistake(
                f"the file grows to more than {self._given >> 20} MiB when its variables are put in",
                kind=DockerfileTooLarge,
            )
