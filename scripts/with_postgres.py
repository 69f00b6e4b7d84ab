#!/usr/bin/env python
"""Run a command with a PostgreSQL of its own, gone afterwards: ``with_postgres.py COMMAND…``.

The server listens on a unix socket only. Its address is in ``SLIPWAY_TEST_DATABASE_URL``; the exit code is
the command's.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

PROGRAMS = Path("/usr/lib/postgresql")
SERVER = ("-c listen_addresses=''", "-c fsync=off", "-c max_connections=500")
OWNER = "slipway"


def main() -> int:
    with server() as url:
        return subprocess.run(
            sys.argv[1:], env=os.environ | {"SLIPWAY_TEST_DATABASE_URL": url}, check=False
        ).returncode


@contextmanager
def server() -> Iterator[str]:
    """The URL of a fresh server. Raise ``FileNotFoundError`` where PostgreSQL is not installed."""
    programs = max(PROGRAMS.glob("*/bin"), key=lambda path: int(path.parent.name), default=None)
    if programs is None:
        raise FileNotFoundError(f"No PostgreSQL below {PROGRAMS}: `make setup-test` installs it.")
    directory = Path(tempfile.mkdtemp(prefix="slipway-postgres-", dir="/var/tmp"))
    identity = _identity(directory)
    try:
        _run(
            identity, programs / "initdb", "-D", directory / "data", "-U", OWNER, "--auth=trust", "--no-sync"
        )
        options = " ".join([f"-k {directory}", *SERVER])
        log = directory / "log"
        control = (programs / "pg_ctl", "-D", directory / "data", "-w", "-s")
        _run(identity, *control, "-l", log, "-o", options, "start")
        try:
            yield f"postgresql://{OWNER}@{quote(str(directory), safe='')}/postgres"
        finally:
            _run(identity, *control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory)


def _identity(directory: Path) -> dict[str, int | list[int]]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam(OWNER)
    os.chown(directory, account.pw_uid, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _run(identity: dict[str, int | list[int]], *command: str | Path) -> None:
    quiet = {"stdout": subprocess.DEVNULL, "stdin": subprocess.DEVNULL, "cwd": "/"}
    subprocess.run([str(part) for part in command], check=True, **quiet, **identity)  # type: ignore[call-overload]  # fixed shapes


if __name__ == "__main__":
    sys.exit(main())
