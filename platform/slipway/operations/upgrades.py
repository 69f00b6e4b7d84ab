"""What stands between this checkout and the data it would run on, before anything is stopped or changed."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from slipway import doctor, keys
from slipway.operations import databases, formats
from workers import __version__
from workers.checks import Check
from workers.errors import UserError

_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)([^\\]*)", re.MULTILINE)
_RUNNING = ("agent", "heartbeat")
"""Lines about processes, which need not run."""


def checks() -> list[Check]:
    """``missing``: the upgrade would fail. ``degraded``: the next start does something, named here."""
    return [_version(), _format(), _keys(), *_migrations(), *_packages(), *_node()]


def _version() -> Check:
    return Check("Slipway", "ok", f"this checkout is version {__version__}, data format {formats.FORMAT}")


def _format() -> Check:
    try:
        found = formats.read()
    except UserError as error:
        return Check("data format", "missing", error.message, "restore the file from a backup")
    if found is None:
        return Check("data format", "ok", f"no data in {settings.SLIPWAY_DATA} yet")
    if found > formats.FORMAT:
        why = f"the data is of format {found}, which a newer Slipway wrote; this one knows {formats.FORMAT}"
        return Check("data format", "missing", why, "use the newer checkout, or restore a backup of before")
    return Check("data format", "ok", str(found))


def _keys() -> Check:
    try:
        keys.require()
    except ImproperlyConfigured as error:
        return Check("keys", "missing", str(error), "restore them from a backup")
    return Check("keys", "ok", str(settings.SLIPWAY_KEYS))


def _migrations() -> list[Check]:
    try:
        if databases.is_empty():
            return [Check("migrations", "degraded", "the database is empty", "`make up` makes its tables")]
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
        ours = executor.loader.disk_migrations.keys()
        foreign = sorted(set(executor.loader.applied_migrations) - set(ours))
    except DatabaseError as error:
        why = f"the database does not answer: {error}"
        return [Check("migrations", "missing", why, "see SLIPWAY_DATABASE_URL")]
    foreign = [each for each in foreign if _is_ours(each[0])]
    if foreign:
        why = f"{len(foreign)} in the database are unknown to this checkout, first {'.'.join(foreign[0])}"
        return [Check("migrations", "missing", why, "use the newer checkout, or restore a backup of before")]
    if pending:
        names = ", ".join(f"{each.app_label}.{each.name}" for each, _ in pending[:5])
        why = f"{len(pending)} to apply: {names}{' …' if len(pending) > 5 else ''}"
        return [Check("migrations", "degraded", why, "back up; `make up` applies them")]
    return [Check("migrations", "ok", "all applied")]


def _is_ours(app: str) -> bool:
    """Apps that were taken out leave their rows; only what we wrote ourselves tells of a newer Slipway."""
    return (Path(settings.ROOT) / "platform" / "slipway" / app).is_dir()


def _packages() -> list[Check]:
    """Installed versions against the lock."""
    lock = Path(settings.ROOT) / "requirements" / "run.txt"
    wrong = []
    for name, version, _marker in _PIN.findall(lock.read_text(encoding="utf-8")):
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = "not installed"
        if found != version:
            wrong.append(f"{name} {found}, wanted {version}")
    if wrong:
        why = f"{len(wrong)} differ from requirements/run.txt: {'; '.join(wrong[:3])}"
        return [Check("packages", "missing", why, "`make setup` installs them")]
    return [Check("packages", "ok", "as requirements/run.txt says")]


def _node() -> list[Check]:
    """Kernel and programs, as the doctor sees them: only what is missing can stop an upgrade."""
    lines = [line for line in doctor.node_checks() if line.name not in _RUNNING]
    missing = [line for line in lines if line.status == "missing"]
    return missing or [Check("kernel, programs", "ok", f"{len(lines)} things looked at, none missing")]
