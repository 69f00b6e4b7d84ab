"""The process behind ``unpacking``: the layers' extractor for archives that are no layers.

Starts in milliseconds because it imports little: keep it so.
"""

from __future__ import annotations

import errno
import os
import sys

from workers.engine.extract import Extractor
from workers.engine.splitting import Splitter
from workers.engine.tar import BadTar, Entry, TarStream, read_descriptor

_FULL = (errno.ENOSPC, errno.EDQUOT)


class NoNotes(Splitter):
    """In place of the notes that give a layer's tar back: nobody will ask for this one."""

    def __init__(self) -> None: ...

    def content(self, size: int, path: bytes) -> None: ...

    def linked(self, path: bytes) -> None: ...

    def leaving(self, name: bytes, path: bytes) -> None: ...

    def finish(self) -> None: ...


class Unpacker(Extractor):
    """Names of whiteouts are names like any other."""

    def __init__(self, tar: TarStream, max_entries: int, *, keep_owners: bool) -> None:
        super().__init__(tar, NoNotes(), max_entries)
        self._keep_owners = keep_owners

    def _place(self, entry: Entry) -> None:
        if not self._keep_owners:
            entry.uid = entry.gid = 0
        super()._place(entry)

    def _whiteout(self, entry: Entry, parts: list[bytes]) -> bool:
        return False


def main(target: str, max_entries: str, owners: str) -> None:
    os.umask(0)
    os.chroot(target)
    os.chdir("/")
    unpacker = Unpacker(TarStream(read_descriptor(0)), int(max_entries), keep_owners=owners == "keep")
    try:
        unpacker.run()
        verdict = "done"
    except BadTar as error:
        verdict = f"bad {error}"
    except RecursionError:
        verdict = "bad directories are nested too deep"
    except OSError as error:
        verdict = f"{'space' if error.errno in _FULL else 'fault'} {error}"
    sys.stdout.buffer.write(f"{verdict}\n".encode("utf-8", "backslashreplace"))
