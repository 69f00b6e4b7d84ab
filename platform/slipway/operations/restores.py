"""Put a backup in place where there is nothing yet: examined first, then named, mixed with nothing."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from slipway import keys
from slipway.operations import archives, databases, formats, verification
from slipway.operations.backups import keeping
from slipway.operations.errors import CannotRestore
from workers import sealing

Say = Callable[[str], None]
STAGING = ".restoring"
SERVICE_USER = "slipway"
_LOCKS = ("up.lock", "agent.lock", "worker.lock")


@dataclass
class Restored:
    facts: archives.Facts
    notices: list[str] = field(default_factory=list)
    """What is otherwise than where the backup was made, for people."""


def restore(source: Path, *, verify: bool, say: Say) -> Restored:
    """Raise ``BackupInvalid`` or ``CannotRestore``; then this machine is as empty as before."""
    require_nothing_here()
    data = Path(settings.SLIPWAY_DATA)
    with _staging(data, f"{STAGING}-") as staging:
        manifest = _examined(source, staging, verify=verify, say=say)
        notices = _notices(manifest.facts, staging)
        _prepare_layers(staging, say)
        _place(staging, manifest.facts)
    return Restored(manifest.facts, notices)


def examine(source: Path, *, say: Say) -> archives.Facts:
    """Prove that ``source`` could be restored, beside whatever is here; nothing of it stays."""
    with _staging(Path(tempfile.gettempdir()), "slipway-verify-") as staging:
        return _examined(source, staging, verify=True, say=say).facts


def _examined(source: Path, staging: Path, *, verify: bool, say: Say) -> archives.Manifest:
    try:
        manifest = archives.unpack(source, staging)
    except OSError as error:
        raise CannotRestore(f"Cannot unpack {source} to {staging}: {error.strerror or error}.") from error
    say(f"{len(manifest.members)} files are what the manifest of {manifest.facts.made_at} says")
    _require_fit(manifest.facts)
    (staging / "platform" / "tmp").mkdir(mode=0o700)
    if verify:
        verification.verify(staging, manifest.facts, say)
    return manifest


# --------------------------------------------------------------------------- what must be so


def require_nothing_here() -> None:
    """Raise ``CannotRestore`` when a process runs or anything is in the way."""
    for name in _LOCKS:
        if _is_held(Path(settings.SLIPWAY_RUN) / name):
            raise CannotRestore(
                f"Slipway runs on this machine ({name} in {settings.SLIPWAY_RUN} is held): `make down` first,"
                " or give the restored one its own SLIPWAY_RUN."
            )
    data = Path(settings.SLIPWAY_DATA)
    found = sorted(path.name for path in data.iterdir()) if data.is_dir() else []
    found = [name for name in found if name != "lost+found"]
    if found:
        some = f"{', '.join(found[:5])}{' …' if len(found) > 5 else ''}"
        raise CannotRestore(
            f"{data} is not empty ({some}), and a restore never"
            " writes over data. Move it away, or point SLIPWAY_DATA at an empty directory."
        )
    if not databases.is_empty():
        raise CannotRestore(
            f"The database {connection.settings_dict['NAME']} has tables already, and a restore never writes"
            " over data. Point SLIPWAY_DATABASE_URL at an empty one."
        )


def _is_held(lock: Path) -> bool:
    try:
        fd = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _require_fit(facts: archives.Facts) -> None:
    """The backup is of a kind this checkout and this configuration can use."""
    if facts.format > formats.FORMAT:
        raise CannotRestore(
            f"The backup's data is of format {facts.format}; this Slipway knows up to {formats.FORMAT}."
            f" Use a checkout of {facts.version} or newer."
        )
    known = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    applied = [(app, name) for app, names in facts.migrations.items() for name in names]
    unknown = [each for each in applied if each not in known]
    if unknown:
        raise CannotRestore(
            f"The backup was made by a newer Slipway ({facts.version}): its migration"
            f" {'.'.join(unknown[0])} is unknown here. Use a checkout of that version."
        )
    if facts.database != connection.vendor:
        raise CannotRestore(
            f"The backup holds a {facts.database} database and SLIPWAY_DATABASE_URL names a"
            f" {connection.vendor} one: they must be of one kind."
        )
    node = facts.settings.get("SLIPWAY_NODE", settings.SLIPWAY_NODE)
    if node != settings.SLIPWAY_NODE:
        raise CannotRestore(f"The backup is of node {node!r}: set SLIPWAY_NODE={node}, here and for good.")


def _notices(facts: archives.Facts, staging: Path) -> list[str]:
    notices = []
    for name in ("SLIPWAY_UID_BASE", "SLIPWAY_SUBNETS"):
        here = str(getattr(settings, name))
        if facts.settings.get(name, here) != here:
            notices.append(f"{name} was {facts.settings[name]}, here it is {here}: for new projects only.")
    notices += [
        f"{name} was {facts.settings[name]}, here it is {_here(name)}."
        for name in ("SLIPWAY_HOSTS", "SLIPWAY_TLS")
        if facts.settings.get(name, "") not in ("", _here(name))
    ]
    done = subprocess.run(
        keeping("missing", staging), cwd=settings.ROOT, capture_output=True, text=True, check=False
    )
    if lacking := done.stdout.split():
        notices.append(f"{len(lacking)} layers are not in the backup: import their images again to run them.")
    return notices


def _here(name: str) -> str:
    known: dict[str, Any] = {
        "SLIPWAY_HOSTS": ",".join(settings.ALLOWED_HOSTS),
        "SLIPWAY_TLS": "on" if settings.SLIPWAY_TLS else "off",
    }
    return str(known[name])


# --------------------------------------------------------------------------- putting it in place


@contextmanager
def _staging(parent: Path, prefix: str) -> Iterator[Path]:
    """A directory of root's own, gone afterwards with whatever is still in it."""
    made = not parent.exists()
    parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield directory
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        if made:
            parent.rmdir()
        raise
    shutil.rmtree(directory, ignore_errors=True)


def _prepare_layers(staging: Path, say: Say) -> None:
    if not (staging / "node" / "layers").is_dir():
        return
    done = subprocess.run(
        keeping("unpack", staging), cwd=settings.ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise CannotRestore(f"The layers cannot be unpacked: {done.stderr.strip()[-800:]}")
    say(f"{done.stdout.strip()} layers are unpacked")


def _place(staging: Path, facts: archives.Facts) -> None:
    """The database first: a server's is outside of what a rename covers."""
    platform, data = staging / "platform", Path(settings.SLIPWAY_DATA)
    owner = _owner()
    _place_secret(platform / "keys" / "django")
    _place_secret(platform / "keys" / "django.former")
    if facts.database == "postgresql":
        dump = platform / databases.FILES["postgresql"]
        databases.load_postgres(dump, connection.settings_dict)
        dump.unlink()
    else:
        _place_sqlite(platform / databases.FILES["sqlite"])
    for path in (platform, *platform.rglob("*")):
        os.chown(path, *owner)
    os.sync()
    for name in ("node", "platform"):  # the platform last: with it, the data counts as there
        if (staging / name).is_dir():
            (staging / name).rename(data / name)
    data.chmod(0o711)


def _place_sqlite(kept: Path) -> None:
    """Where SLIPWAY_DATABASE_URL says, if that is not in the data directory."""
    home = Path(str(connection.settings_dict["NAME"]))
    if home != Path(settings.SLIPWAY_PLATFORM_DATA) / kept.name:
        home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.move(kept, home)
        os.chown(home, *_owner())


def _place_secret(kept: Path) -> None:
    """Django's secret and its former ones, where their files lie elsewhere."""
    home = keys.former_secrets_file() if kept.suffix else Path(settings.SLIPWAY_SECRET_KEY_FILE)
    if home.parent == Path(settings.SLIPWAY_KEYS) or not kept.exists():
        return
    if not home.exists():
        sealing.write_secretly(home, kept.read_text(encoding="ascii").rstrip("\n"))
        os.chown(home, *_owner())
    kept.unlink()


def _owner() -> tuple[int, int]:
    """Whose the platform's files are: the service user's where there is one, as `make up` has it."""
    try:
        account = pwd.getpwnam(SERVICE_USER) if os.geteuid() == 0 else None
    except KeyError:
        account = None
    return (account.pw_uid, account.pw_gid) if account else (os.geteuid(), os.getegid())
