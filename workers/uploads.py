"""Archives on their way in: blobs kept for as long as an import still wants them.

Two people may upload the same bytes, which are one blob. Each upload leaves a ticket beside it, each import
(or a withdrawn upload) takes one away; the last one takes the blob along.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from workers import crash
from workers.content import DirectoryContent, Writer, full_disk
from workers.oci.digest import Digest

FORGOTTEN = 24 * 3600.0
"""Seconds after which nobody will ask for an upload any more."""


class Uploads:
    """Safe to share between threads and processes."""

    def __init__(self, directory: Path, content: DirectoryContent) -> None:
        self._directory = directory
        self.content = content

    def keep(self, writer: Writer) -> Digest:
        """Commit the blob, with a ticket. Raises as ``Writer.commit`` does."""
        with self._locked(), full_disk(self._directory):
            digest = writer.commit()
            crash.point("upload.before_ticket")
            tickets = self._tickets(digest)
            tickets.mkdir(mode=0o700, exist_ok=True)
            (tickets / secrets.token_hex(16)).touch()
        return digest

    def keep_again(self, digest: Digest) -> int:
        """One ticket more for a blob that is there; its size. Raise ``NoSuchBlob``."""
        with self._locked(), full_disk(self._directory):
            size = self.content.size(digest)
            tickets = self._tickets(digest)
            tickets.mkdir(mode=0o700, exist_ok=True)
            (tickets / secrets.token_hex(16)).touch()
        return size

    def release(self, digest: Digest) -> None:
        """Take one ticket away, and the blob with the last. An unknown upload is none: nothing happens."""
        with self._locked():
            tickets = self._tickets(digest)
            with contextlib.suppress(FileNotFoundError):
                for ticket in list(tickets.iterdir())[:1]:
                    ticket.unlink()
                self._drop_unwanted(tickets, digest)

    def sweep(self, now: float | None = None) -> None:
        """Drop uploads whose import was never asked for, and what cut-off ones left."""
        self.content.sweep_partials()
        limit = (time.time() if now is None else now) - FORGOTTEN
        with self._locked():
            for tickets in list(self._directory.glob("sha256-*")):
                for ticket in list(tickets.iterdir()):
                    if ticket.stat().st_mtime < limit:
                        ticket.unlink()
                self._drop_unwanted(tickets, Digest.parse(tickets.name.replace("-", ":", 1)))

    def _drop_unwanted(self, tickets: Path, digest: Digest) -> None:
        if not any(tickets.iterdir()):
            # The blob first: cut off here, the next sweep finds the empty directory.
            self.content.delete(digest)
            shutil.rmtree(tickets)

    def _tickets(self, digest: Digest) -> Path:
        return self._directory / f"{digest.algorithm}-{digest.hex}"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
