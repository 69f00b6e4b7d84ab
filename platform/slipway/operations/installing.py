"""Install the units: files in place, systemd told; nothing is started."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings
from django.db import connection

from slipway.operations.errors import CannotInstall
from slipway.operations.units import Installation, environment, units

SYSTEMD = Path("/etc/systemd/system")
CONFIGURATION = Path("/etc/slipway")
_NO_SERVICES = ("SLIPWAY_TEST_", "SLIPWAY_SETUP_", "SLIPWAY_MOUNT_")
_PATH = re.compile(r"/[A-Za-z0-9_./-]+")


def here(user: str) -> Installation:
    """The units' view of this checkout and its settings. Raise ``CannotInstall``."""
    found = Installation(
        root=settings.ROOT,
        python=Path(sys.executable),
        data=settings.SLIPWAY_DATA,
        run=settings.SLIPWAY_RUN,
        instance=settings.SLIPWAY_INSTANCE,
        node=settings.SLIPWAY_NODE,
        port=settings.SLIPWAY_PORT,
        user=user,
        environment_file=CONFIGURATION / f"{settings.SLIPWAY_INSTANCE}.env",
        local_postgres=_is_local(connection.settings_dict) if connection.vendor == "postgresql" else False,
    )
    for path in (found.root, found.python, found.data, found.run):
        if not _PATH.fullmatch(str(path)):
            raise CannotInstall(f"{path}: services need paths of letters, digits, '.', '_', '-' alone.")
    return found


def _is_local(database: Mapping[str, object]) -> bool:
    host = str(database.get("HOST", ""))
    return host in ("", "localhost", "127.0.0.1", "::1") or host.startswith("/")


def variables() -> dict[str, str]:
    """What the services are to know: every ``SLIPWAY_`` variable of ours, and where things lie."""
    given = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("SLIPWAY_") and not name.startswith(_NO_SERVICES)
    }
    return given | {
        "SLIPWAY_DATA": str(settings.SLIPWAY_DATA),
        "SLIPWAY_RUN": str(settings.SLIPWAY_RUN),
        "SLIPWAY_NODE": settings.SLIPWAY_NODE,
        "SLIPWAY_INSTANCE": settings.SLIPWAY_INSTANCE,
        "SLIPWAY_PORT": str(settings.SLIPWAY_PORT),
    }


def require_user(user: str) -> None:
    try:
        pwd.getpwnam(user)
    except KeyError as error:
        raise CannotInstall(f"There is no user {user}: `make setup` makes it.") from error


def install(of: Installation, directory: Path) -> list[Path]:
    """Write the files (the environment 0600: it may hold a password) and let systemd read them."""
    if os.geteuid() != 0:
        raise CannotInstall(
            "Units are root's: run install-service with sudo, or look at them with --dry-run."
        )
    require_user(of.user)
    written = [_write(of.environment_file, environment(variables()), 0o600)]
    written += [_write(directory / name, text, 0o644) for name, text in units(of).items()]
    if directory == SYSTEMD and Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "daemon-reload"], check=False)
    return written


def _write(path: Path, text: str, mode: int) -> Path:
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
        aside.replace(path)
    except OSError as error:
        raise CannotInstall(f"Cannot write {path}: {error.strerror}.") from error
    return path
