"""The cache of steps: what a step made, under the key of all that went into it.

Private to a project. A row says what a key stands for; the files are a snapshot (the step's upper) until
some image is made of them, and a layer of the node from then on. A row without its files is a miss.

What a running build looked up or made is pinned until the build ends: it is never swept. A row that was
not yet written to the disk for certain counts only for the boot it was made in.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from workers.content import full_disk, no_space
from workers.engine.places import Places
from workers.engine.runtime.process import boot_id
from workers.engine.trees import remove_tree
from workers.messages import LayerFacts

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    project TEXT NOT NULL, key TEXT NOT NULL, parent TEXT NOT NULL, instruction TEXT NOT NULL,
    content TEXT NOT NULL, name TEXT NOT NULL, created REAL NOT NULL, used REAL NOT NULL,
    size INTEGER NOT NULL, boot TEXT NOT NULL, layer TEXT NOT NULL DEFAULT '', PRIMARY KEY (project, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_instruction ON entries (project, instruction);
CREATE INDEX IF NOT EXISTS by_parent ON entries (project, parent);
"""
_COLUMNS = "key, parent, instruction, content, name, created, used, size, boot, layer"

_LOOK = 0.1
_NAMES = _COLUMNS.split(", ")[:-1]


@dataclass(frozen=True)
class Entry:
    key: str
    parent: str
    instruction: str
    """Digest of the step's own text, expanded."""
    content: str
    """Digest of the files that went in; empty where there are none."""
    name: str
    created: float
    used: float
    size: int
    boot: str
    """The boot it was made in; empty once it is on the disk for certain."""
    layer: LayerFacts | None


class Cache:
    """One per process and node; safe to share between threads."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._lock = threading.RLock()
        self._pins: Counter[tuple[str, str]] = Counter()
        self._sessions: set[int] = set()
        """Numbers of those that are open."""
        self._last = 0
        self._doomed: dict[Path, int] = {}
        """The number of the last session that may still read what was doomed."""
        self._working: dict[tuple[str, str], _Turn] = {}
        self._database = self._open()

    def _open(self) -> sqlite3.Connection:
        path = self._places.build_cache
        try:
            return _connected(path)
        except sqlite3.OperationalError:
            raise  # busy, or no space: it is whole
        except sqlite3.DatabaseError:
            # A cache that cannot be read is an empty one; its snapshots are rubbish.
            for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
                each.unlink(missing_ok=True)
            return _connected(path)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    # ------------------------------------------------------------------ looking up

    def find(self, session: Session, key: str) -> Entry | None:
        """The entry, pinned for the session; None when there is none that still has its files."""
        project = session.project
        with self._lock:
            row = self._row("key = ?", project, key)
            if row is None:
                return None
            if (row.boot and row.boot != boot_id()) or not self.path(project, row).is_dir():
                self._forget(project, row)
                return None
            now = time.time()
            self._database.execute(
                "UPDATE entries SET used = ? WHERE project = ? AND key = ?", (now, project, key)
            )
            self._pin(session, key)
            return replace(row, used=now)

    def path(self, project: str, entry: Entry) -> Path:
        if entry.layer is not None:
            return self._places.layer(entry.layer.diff_id)
        return self._places.build_snapshot(project, entry.key)

    def reason(self, project: str, key: str, parent: str, instruction: str, content: str) -> str:
        """Why there is no entry, for people."""
        with self._lock:
            same = self._rows("instruction = ?", project, instruction)
            if any(row.parent == parent and row.content != content for row in same):
                return "the files it reads have changed"
            if any(row.content == content for row in same):
                return "a step before it has changed"
            if same:
                return "a step before it and the files it reads have changed"
            if self._rows("parent = ?", project, parent):
                return "the instruction, or a variable it uses, has changed"
        return "it was never done here, or its result was swept"

    # ------------------------------------------------------------------ making

    @contextmanager
    def working(self, project: str, key: str, check: Callable[[], None]) -> Iterator[None]:
        """Of equal steps one is done at a time; the next finds its result. ``check`` is asked while one
        waits for its turn, and may raise."""
        with self._lock:
            turn = self._working.setdefault((project, key), _Turn())
            turn.wanted += 1
        try:
            with held(turn.lock, check):
                yield
        finally:
            with self._lock:
                turn.wanted -= 1
                if not turn.wanted:
                    del self._working[project, key]

    def commit(self, session: Session, entry: Entry, upper: Path) -> Entry:
        """The directory is the entry's snapshot from now on."""
        project = session.project
        target = self._places.build_snapshot(project, entry.key)
        with self._lock, full_disk(target):
            self._forget_key(project, entry.key)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            upper.rename(target)
            self._write(project, entry)
            self._pin(session, entry.key)
        return entry

    def adopt(self, session: Session, entry: Entry) -> None:
        """An entry from elsewhere, whose layer the node has."""
        with self._lock:
            self._write(session.project, entry)
            self._pin(session, entry.key)

    def became_layer(self, session: Session, entry: Entry, facts: LayerFacts) -> Entry:
        """Its files are a layer of the node, on the disk for certain."""
        now = replace(entry, layer=facts, boot="", size=facts.unpacked_size)
        with self._lock:
            self._write(session.project, now)
        return now

    def shared(self, session: Session, key: str) -> bool:
        """Whether another build uses the entry too."""
        with self._lock:
            return self._pins[session.project, key] > 1

    def settle(self, project: str, keys: Iterable[str]) -> None:
        """What these keys stand for is on the disk for certain."""
        with self._lock:
            self._database.executemany(
                "UPDATE entries SET boot = '' WHERE project = ? AND key = ?", [(project, key) for key in keys]
            )

    # ------------------------------------------------------------------ sweeping

    def layers(self) -> set[str]:
        """diffIDs that the cache keeps."""
        with self._lock:
            rows = self._database.execute("SELECT layer FROM entries WHERE layer != ''").fetchall()
        return {str(json.loads(row[0])["diff_id"]) for row in rows}

    def size(self, project: str | None = None) -> int:
        with self._lock:
            row = self._database.execute(
                "SELECT coalesce(sum(size), 0) FROM entries WHERE ?1 IS NULL OR project = ?1", (project,)
            ).fetchone()
        return int(row[0])

    def sweep(self, *, max_bytes: int, max_age: float, now: float | None = None) -> int:
        """Drop what was not used for ``max_age`` seconds, then what was not used for longest until the
        rest fits. Entries of running builds stay. How many went."""
        now = time.time() if now is None else now
        gone = 0
        with self._lock:
            total = self.size()
            rows = self._database.execute(
                f"SELECT project, {_COLUMNS} FROM entries ORDER BY used"  # noqa: S608 - constants
            ).fetchall()
            for project, *rest in rows:
                entry = _entry(rest)
                if now - entry.used <= max_age and total <= max_bytes:
                    break
                if self._pins[project, entry.key]:
                    continue
                self._forget(project, entry)
                total -= entry.size
                gone += 1
        self.tidy()
        return gone

    def prune(self, project: str) -> tuple[int, int]:
        """Forget what the project's next builds could use; what one uses at this moment stays. How many
        entries and bytes went."""
        gone = size = 0
        with self._lock:
            for entry in self._rows("1 = 1", project):
                if not self._pins[project, entry.key]:
                    self._forget(project, entry)
                    gone, size = gone + 1, size + entry.size
        self.tidy()
        return gone, size

    def forget(self, project: str) -> None:
        """The project is no more, and nothing of it is being built. Repeatable."""
        with self._lock:
            self._database.execute("DELETE FROM entries WHERE project = ?", (project,))
        self.tidy()

    def tidy(self) -> None:
        """Remove snapshots without a row, and what was doomed while somebody might still read it."""
        with self._lock:
            rows = self._database.execute("SELECT project, key FROM entries WHERE layer = ''")
            known = {tuple(row) for row in rows}
            for path in self._places.build_snapshots.glob("*/*"):
                place = (path.parent.name, path.name)
                if place not in known and not self._pins[place]:
                    self._doom(path)
            oldest = min(self._sessions, default=self._last + 1)
            gone = [path for path, last in self._doomed.items() if last < oldest]
            for path in gone:
                del self._doomed[path]
            if not self._sessions:  # what an earlier process left
                gone += [path for path in self._places.build_doomed.iterdir() if path not in gone]
        for path in gone:
            remove_tree(path)

    # ------------------------------------------------------------------ pins

    @contextmanager
    def session(self, project: str) -> Iterator[Session]:
        """For one build."""
        session = Session(project, set())
        with self._lock:
            self._last += 1
            number = self._last
            self._sessions.add(number)
        try:
            yield session
        finally:
            with self._lock:
                self._sessions.discard(number)
                self._pins.subtract((project, key) for key in session.keys)
                self._pins = +self._pins

    def remembered(self) -> int:
        """What of builds is kept in memory: nothing when none runs and all was tidied."""
        with self._lock:
            return len(self._pins) + len(self._working) + len(self._sessions) + len(self._doomed)

    def _pin(self, session: Session, key: str) -> None:
        if key not in session.keys:
            session.keys.add(key)
            self._pins[session.project, key] += 1

    # ------------------------------------------------------------------ rows

    def _row(self, condition: str, *values: str) -> Entry | None:
        rows = self._rows(condition, *values)
        return rows[0] if rows else None

    def _rows(self, condition: str, *values: str) -> list[Entry]:
        found = self._database.execute(
            f"SELECT {_COLUMNS} FROM entries WHERE project = ? AND {condition} LIMIT 100",  # noqa: S608 - ours
            values,
        )
        return [_entry(row) for row in found]

    def _write(self, project: str, entry: Entry) -> None:
        layer = json.dumps(vars(entry.layer)) if entry.layer is not None else ""
        with _full(self._places.build_cache):
            self._insert(project, entry, layer)

    def _insert(self, project: str, entry: Entry, layer: str) -> None:
        self._database.execute(
            f"INSERT OR REPLACE INTO entries (project, {_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
            (project, entry.key, entry.parent, entry.instruction, entry.content, entry.name, entry.created,
             entry.used, entry.size, entry.boot, layer),
        )  # fmt: skip

    def _forget_key(self, project: str, key: str) -> None:
        row = self._row("key = ?", project, key)
        if row is not None:
            self._forget(project, row)
        elif (stray := self._places.build_snapshot(project, key)).exists():
            self._doom(stray)

    def _forget(self, project: str, entry: Entry) -> None:
        self._database.execute("DELETE FROM entries WHERE project = ? AND key = ?", (project, entry.key))
        if entry.layer is None:
            self._doom(self._places.build_snapshot(project, entry.key))

    def _doom(self, path: Path) -> None:
        if path.exists():
            aside = self._places.build_doomed / secrets.token_hex(16)
            path.rename(aside)
            self._doomed[aside] = self._last


@dataclass
class _Turn:
    lock: threading.Lock = field(default_factory=threading.Lock)
    wanted: int = 0


@contextmanager
def held(lock: threading.Lock | threading.Semaphore, check: Callable[[], None]) -> Iterator[None]:
    """``check`` is asked while somebody else holds it, and may raise."""
    while not lock.acquire(timeout=_LOOK):
        check()
    try:
        yield
    finally:
        lock.release()


def cached_layers(places: Places) -> set[str]:
    """diffIDs that the cache of steps keeps, for whoever sweeps layers."""
    if not places.build_cache.exists():
        return set()
    database = sqlite3.connect(f"file:{places.build_cache}?mode=ro", uri=True, timeout=10)
    try:
        rows = database.execute("SELECT layer FROM entries WHERE layer != ''").fetchall()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        return set()  # damaged: the builder will begin a new one
    finally:
        database.close()
    return {str(json.loads(row[0])["diff_id"]) for row in rows}


@dataclass(frozen=True)
class Session:
    """What one running build uses."""

    project: str
    keys: set[str]


def _entry(row: Iterable[object]) -> Entry:
    *values, layer = row
    facts = LayerFacts(**json.loads(str(layer))) if layer else None
    return Entry(**dict(zip(_NAMES, values, strict=True)), layer=facts)  # type: ignore[arg-type]  # by the schema


@contextmanager
def _full(path: Path) -> Iterator[None]:
    """SQLite's own word for a full disk."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "full" not in str(error):
            raise
        raise no_space(path) from error


def _connected(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = OFF")  # a lost row is a miss; a broken file an empty cache
    database.executescript(_SCHEMA)
    if database.execute("PRAGMA quick_check").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("damaged")
    return database
