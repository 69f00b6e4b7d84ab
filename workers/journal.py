"""The node's journal: every event, on disk before anybody acts on it, numbered without a gap.

One SQLite file, appended to by several processes and threads, each append synced before it returns.
``seq`` counts from 1 within an *epoch*, the random name of this file's history: a journal that was lost
and made anew, or set back to a backup, has another epoch, so that nobody takes its numbers for old ones.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers import crash
from workers.content import sync_directory
from workers.errors import NodeError, NoSpace
from workers.messages import Event, encode

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (seq INTEGER PRIMARY KEY, at REAL NOT NULL, event TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS state (
  id INTEGER PRIMARY KEY CHECK (id = 1), epoch TEXT NOT NULL, last INTEGER NOT NULL
);
"""


@dataclass(frozen=True)
class Entry:
    seq: int
    at: float
    """Seconds since the epoch of Unix."""
    event: str
    """As ``messages.encode`` writes it."""


class Journal:
    """``append`` from any thread of any process; ``trim`` and ``renew`` belong to the agent alone."""

    def __init__(self, path: Path, poke: Path | None = None) -> None:
        """Open or make the journal; ``poke`` is the agent's datagram socket. Raise ``NodeError``."""
        self._path = path
        self._poke = str(poke) if poke else None
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        try:
            with self._writing():
                pass
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        with self._lock:
            self._disconnect()
            self._socket.close()

    def append(self, event: Event) -> int:
        """Return the event's seq; it is on disk then. On ``NoSpace``, ``NodeError`` nothing was appended."""
        return self.append_made(lambda: event)

    def append_made(self, make: Callable[[], Event]) -> int:
        """``append`` what ``make`` returns, called while nobody else can append.

        So the event says nothing older than what the journal says before it. ``make`` must neither append
        nor wait for anybody who might.
        """
        with self._writing() as connection:
            text = encode(make())
            (seq,) = connection.execute("UPDATE state SET last = last + 1 RETURNING last").fetchone()
            connection.execute("INSERT INTO entry VALUES (?, ?, ?)", (seq, time.time(), text))
            crash.point("journal.before_commit")
        crash.point("journal.after_append")
        self._tell()
        return int(seq)

    def read(self, after: int, limit: int = 500, *, max_bytes: int | None = None) -> list[Entry]:
        """Entries with ``seq > after``, oldest first; as many as fit into ``max_bytes``, but one at least."""
        sql = "SELECT seq, at, event FROM entry WHERE seq > ? ORDER BY seq LIMIT ?"
        if max_bytes is None:
            return [Entry(*row) for row in self._select(sql, after, limit)]
        sizes = "SELECT seq, length(event) FROM entry WHERE seq > ? ORDER BY seq LIMIT ?"
        total = fitting = 0
        for _, size in self._select(sizes, after, limit):
            if fitting and total + size > max_bytes:
                break
            total, fitting = total + size, fitting + 1
        return [Entry(*row) for row in self._select(sql, after, fitting)]

    def trim(self, upto: int) -> None:
        """Forget entries with ``seq <= upto``; numbering goes on."""
        with self._writing() as connection:
            connection.execute("DELETE FROM entry WHERE seq <= ?", (upto,))

    def renew(self) -> str:
        """Begin a new epoch, in which the entries still held are numbered from 1. Return its name."""
        epoch = _new_epoch()
        with self._writing() as connection:
            rows = connection.execute("SELECT at, event FROM entry ORDER BY seq").fetchall()
            connection.execute("DELETE FROM entry")
            connection.executemany(
                "INSERT INTO entry VALUES (?, ?, ?)", [(seq, *row) for seq, row in enumerate(rows, start=1)]
            )
            connection.execute("UPDATE state SET epoch = ?, last = ?", (epoch, len(rows)))
        return epoch

    def extent(self) -> tuple[str, int, int]:
        """Epoch, first and last seq held; the first is one past the last when everything was trimmed."""
        sql = "SELECT max(epoch), coalesce(min(seq), max(last) + 1), max(last) FROM state LEFT JOIN entry"
        epoch, first, last = self._select(sql)[0]
        return str(epoch), int(first), int(last)

    @property
    def epoch(self) -> str:
        return str(self._select("SELECT epoch FROM state")[0][0])

    @property
    def last_seq(self) -> int:
        """0 when nothing was ever appended."""
        return int(self._select("SELECT last FROM state")[0][0])

    def _tell(self) -> None:
        if self._poke is None:
            return
        # Nobody listening, or a listener that has datagrams enough: it will look anyway.
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            self._socket.sendto(b"", self._poke)

    def _select(self, sql: str, *parameters: int) -> list[Any]:
        with self._lock, _explained(self._path):
            connection = self._current()
            if connection is None:
                with _locked(self._path):
                    connection = self._connect()
            return connection.execute(sql, parameters).fetchall()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction. A lock of our own makes writers queue where SQLite would have them poll."""
        with self._lock, _explained(self._path), _locked(self._path):
            connection = self._current() or self._connect()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _current(self) -> sqlite3.Connection | None:
        """The open connection if its file is still the one at our path; nobody reads an unlinked journal."""
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self._path).st_ino == self._inode:
                return self._connection
        return None

    def _connect(self) -> sqlite3.Connection:
        self._disconnect()
        is_new = not self._path.exists()
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_SCHEMA)
            connection.execute("INSERT OR IGNORE INTO state VALUES (1, ?, 0)", (_new_epoch(),))
        except BaseException:
            connection.close()
            raise
        if is_new:
            os.chmod(self._path, 0o600)
            sync_directory(self._path.parent)
        self._connection, self._inode = connection, os.stat(self._path).st_ino
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says into what the operator must do."""
    try:
        yield
    except sqlite3.Error as error:
        if error.sqlite_errorname == "SQLITE_FULL":
            raise NoSpace(
                f"No space for the journal {path}: free some on its file system; nothing is lost",
                path=str(path),
            ) from error
        if error.sqlite_errorname in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
            raise NodeError(
                f"The journal {path} is damaged ({error}). Stop worker and agent, move it away with its"
                " -wal and -shm files, start again: the inventory tells the platform what the node holds.",
                path=str(path),
            ) from error
        raise NodeError(f"The journal {path} failed: {error}", path=str(path)) from error
    except OSError as error:
        raise NodeError(f"The journal {path} cannot be used: {error.strerror}", path=str(path)) from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Held by one writer of all threads and processes; the kernel drops it when its holder dies."""
    lock = path.with_name(f"{path.name}.lock")
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _new_epoch() -> str:
    return os.urandom(8).hex()
