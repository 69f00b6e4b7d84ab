"""The platform's database as one file: dumped while it is used, loaded where there is none.

SQLite through its backup API, PostgreSQL through pg_dump and pg_restore; both see one moment of it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from slipway.operations.errors import BackupInvalid, CannotBackUp, CannotRestore

Settings = Mapping[str, Any]
"""Of one database, as in Django's ``DATABASES``."""

FILES = {"sqlite": "db.sqlite3", "postgresql": "database.dump"}
"""Names in a backup, below ``platform/``."""


def applied_migrations() -> dict[str, list[str]]:
    """By app; empty where the database is."""
    found: dict[str, list[str]] = defaultdict(list)
    for app, name in sorted(MigrationRecorder(connection).applied_migrations()):
        found[app].append(name)
    return dict(found)


def dump(target: Path) -> None:
    """Write the database to the new file ``target``, whoever else reads and writes meanwhile."""
    target.touch(mode=0o600, exist_ok=False)
    if connection.vendor == "sqlite":
        _copy_sqlite(Path(str(connection.settings_dict["NAME"])), target)
        return
    flags = ["--format=custom", "--compress=0", "--no-owner", "--no-privileges", f"--file={target}"]
    _run(["pg_dump", *flags], connection.settings_dict, CannotBackUp)


def is_empty() -> bool:
    """No table in it; a SQLite file that is not there is empty and stays away."""
    if connection.vendor == "sqlite" and not Path(str(connection.settings_dict["NAME"])).exists():
        return True
    return not connection.introspection.table_names()


def load_postgres(source: Path, settings: Settings) -> None:
    """Into an empty database, wholly or not at all."""
    flags = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    _run(["pg_restore", *flags, f"--dbname={settings['NAME']}", str(source)], settings, CannotRestore)


def examine_sqlite(file: Path) -> None:
    """Raise ``BackupInvalid`` unless every page and every reference in it is sound."""
    try:
        with closing(sqlite3.connect(file)) as database:
            verdict = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
            broken = database.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.DatabaseError as error:
        raise BackupInvalid(f"The database in the backup does not open: {error}.") from error
    if verdict != "ok":
        raise BackupInvalid(f"The database in the backup is damaged: {verdict}.")
    if broken is not None:
        raise BackupInvalid(f"In the database of the backup, table {broken[0]} refers to rows of {broken[2]}"
                            " that are not there.")  # fmt: skip


def create_scratch(name: str, settings: Settings) -> Settings:
    """A new, empty PostgreSQL database beside ours; ``drop_scratch`` it."""
    _run(["createdb", name], settings, CannotRestore)
    return {**settings, "NAME": name}


def drop_scratch(settings: Settings) -> None:
    _run(["dropdb", "--if-exists", str(settings["NAME"])], settings, CannotRestore)


def _copy_sqlite(source: Path, target: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=30)) as live,
            closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
    except sqlite3.Error as error:
        raise CannotBackUp(f"The database {source} cannot be copied: {error}.") from error


def _run(command: Sequence[str], settings: Settings, failure: type[CannotBackUp | CannotRestore]) -> None:
    program = command[0]
    if shutil.which(program) is None:
        raise failure(f"{program} is not installed: apt-get install postgresql-client.")
    environment = _environment(settings)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        raise failure(f"{program} failed: {done.stderr.strip()[-800:]}")


def _environment(settings: Settings) -> dict[str, str]:
    """What libpq wants to know; a password in an argument could be read by everybody."""
    options = {
        f"PG{name.upper().replace('_', '')}": str(value) for name, value in settings["OPTIONS"].items()
    }
    told = {
        "PGHOST": settings["HOST"],
        "PGPORT": str(settings["PORT"]),
        "PGUSER": settings["USER"],
        "PGPASSWORD": settings["PASSWORD"],
        "PGDATABASE": settings["NAME"],
    }
    return {**os.environ, **options, **{name: value for name, value in told.items() if value}}
