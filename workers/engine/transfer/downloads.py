"""A layer on its way in: its bytes as a file, however often the connection breaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workers.engine.transfer.connections import Answer, Broken
from workers.engine.transfer.registry import Repository
from workers.errors import DigestMismatch, RegistryError, SlipwayError
from workers.oci.descriptor import Descriptor

STEP = 256 << 10
"""Bytes read at once at most: so often it is seen whether a slow registry gets on at all."""


class Download:
    """``read`` as a file's. Goes on where a broken connection stopped; gives no byte more than promised.

    ``repositories`` are tried in their order. Close it.
    """

    def __init__(
        self, repositories: Sequence[Repository], blob: Descriptor, seen: Callable[[int], None]
    ) -> None:
        self._repositories, self._blob, self._seen = list(repositories), blob, seen
        self._answer: Answer | None = None
        self._at = 0
        self._breaks = 0
        self._broken_at = -1

    def read(self, count: int = -1) -> bytes:
        """Raise what ``Repository.open_blob`` raises, ``DigestMismatch`` when there are more bytes."""
        left = self._blob.size - self._at
        if not left:
            self._require_end()
            return b""
        while True:
            self._repositories[0].client.require_wanted()
            try:
                if self._answer is None:
                    self._answer = self._open()
                piece = self._answer.read(min(left, STEP, count if count > 0 else STEP))
                if not piece:
                    raise Broken("the connection ended within a layer")
            except Broken as error:
                self._recover(str(error))
                continue
            self._at += len(piece)
            self._seen(self._at)
            return piece

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def _open(self) -> Answer:
        while True:
            try:
                answer = self._repositories[0].open_blob(self._blob.digest, self._at)
                break
            except SlipwayError:
                if len(self._repositories) == 1:
                    raise
                self._repositories.pop(0)  # a mirror need not have everything
        if answer.status == 206:
            self._require_range(answer)
        elif self._at:
            self._skip(answer)
        return answer

    def _require_range(self, answer: Answer) -> None:
        told = answer.headers.get("Content-Range") or ""
        if not told.startswith(f"bytes {self._at}-"):
            answer.close(whole=False)
            raise RegistryError(
                f"{self._repositories[0].host} was asked for a blob from byte {self._at} on and sent {told!r}"
            )

    def _skip(self, answer: Answer) -> None:
        """It does not know ranges: what we have already comes again."""
        left = self._at
        while left:
            piece = answer.read(min(left, 1 << 20))
            if not piece:
                answer.close(whole=False)
                raise Broken("the connection ended within a layer")
            left -= len(piece)

    def _recover(self, why: str) -> None:
        """Pause before the next attempt; bytes that came since the last one make us patient again."""
        if self._answer is not None:
            self._answer.close(whole=False)
            self._answer = None
        repository = self._repositories[0]
        self._breaks = 1 if self._at > self._broken_at else self._breaks + 1
        self._broken_at = self._at
        pauses = repository.client.patience.outages
        if self._breaks > len(pauses):
            if len(self._repositories) == 1:
                raise repository.unreachable(why)
            self._repositories.pop(0)
            self._breaks = 1
        repository.client.pause(pauses[self._breaks - 1] if pauses else 0.0)

    def _require_end(self) -> None:
        if self._answer is None:
            return
        try:
            more = self._answer.read(1)
        except Broken:
            more = b""
        self.close()
        if more:
            raise DigestMismatch(
                f"Layer {self._blob.digest} is longer than the {self._blob.size} bytes its manifest says",
                layer=str(self._blob.digest),
            )
