"""Make a backup while everything runs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from django.conf import settings
from django.db import connection

from slipway import keys
from slipway.operations import archives, databases, formats
from slipway.operations.errors import CannotBackUp
from slipway.operations.owners import as_owner_of
from workers import __version__

NEVER = (
    "containers' writable layers, and so what they wrote into their file systems",
    "containers' logs",
    "uploads and jobs under way",
    "the registry's blobs: save where SLIPWAY_BLOBS keeps them beside the backup",
    "Redis, which holds nothing that must survive",
)
LAYERS = "the layers of images (made again by importing them, or kept by --with-images)"


def backup(target: Path, *, with_images: bool) -> archives.Facts:
    """Write ``target``, mode 0600. Raise ``CannotBackUp``; then nothing of it stays."""
    has_node = (Path(settings.SLIPWAY_DATA) / "node").exists()
    if has_node and os.geteuid() != 0:
        raise CannotBackUp("This machine is a node, whose keys are root's: run the backup with sudo.")
    if not Path(settings.SLIPWAY_SECRET_KEY_FILE).is_file():
        raise CannotBackUp(f"There is nothing to back up: no key at {settings.SLIPWAY_SECRET_KEY_FILE}.")
    facts = describe(with_layers=with_images and has_node)
    try:
        with archives.writing(target) as writer:
            _add_database(writer, target.parent)
            _add_keys(writer)
            if has_node:
                _add_node(writer, with_images=with_images)
            writer.finish(facts)
    except OSError as error:
        raise CannotBackUp(f"Cannot write {target}: {error.strerror or error}.") from error
    return facts


def describe(*, with_layers: bool) -> archives.Facts:
    """This installation as it is."""
    return archives.Facts(
        version=__version__,
        format=formats.read() or formats.FORMAT,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        database=connection.vendor,
        migrations=databases.applied_migrations(),
        settings={
            "SLIPWAY_NODE": settings.SLIPWAY_NODE,
            "SLIPWAY_UID_BASE": str(settings.SLIPWAY_UID_BASE),
            "SLIPWAY_SUBNETS": str(settings.SLIPWAY_SUBNETS),
            "SLIPWAY_INSTANCE": settings.SLIPWAY_INSTANCE,
            "SLIPWAY_HOSTS": ",".join(settings.ALLOWED_HOSTS),
            "SLIPWAY_TLS": "on" if settings.SLIPWAY_TLS else "off",
        },
        layers=with_layers,
        absent=[*NEVER, *([] if with_layers else [LAYERS])],
    )


def _add_database(writer: archives.Writer, beside: Path) -> None:
    """The copy lies beside the target for a moment, in a directory nobody else can look into."""
    with tempfile.TemporaryDirectory(prefix=".slipway-backup-", dir=beside) as directory:
        copy = Path(directory) / "database"
        databases.dump(copy)
        writer.add_file(f"platform/{databases.FILES[connection.vendor]}", copy)


def _add_keys(writer: archives.Writer) -> None:
    """Django's secrets under names of their own, wherever their files lie."""
    for name, content in sorted(_key_files().items()):
        writer.add(f"platform/{name}", io.BytesIO(content), len(content))


def _key_files() -> dict[str, bytes]:
    secret, former = Path(settings.SLIPWAY_SECRET_KEY_FILE), keys.former_secrets_file()
    found = {}
    with as_owner_of(secret.parent):
        found["keys/django"] = secret.read_bytes()
        if former.exists():
            found["keys/django.former"] = former.read_bytes()
    with as_owner_of(Path(settings.SLIPWAY_KEYS)):
        for path in Path(settings.SLIPWAY_KEYS).iterdir():
            if path.is_file() and not path.name.startswith("."):
                found.setdefault(f"keys/{path.name}", path.read_bytes())
        if formats.file().exists():
            found["format"] = formats.file().read_bytes()
    return found


def _add_node(writer: archives.Writer, *, with_images: bool) -> None:
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            keeping("save", Path(settings.SLIPWAY_DATA), *(["--with-layers"] if with_images else [])),
            cwd=settings.ROOT,
            stdout=subprocess.PIPE,
            stderr=complaints,
        )
        source = cast(BinaryIO, process.stdout)
        try:
            with tarfile.open(fileobj=source, mode="r|") as members:
                for member in members:
                    content = cast(BinaryIO, members.extractfile(member))
                    writer.add(f"node/{member.name}", content, member.size)
            source.read()
        except tarfile.TarError:
            process.wait()  # its own words say more
            if process.returncode == 0:
                raise
        finally:
            source.close()
            process.wait()
        if process.returncode != 0:
            complaints.seek(0)
            said = complaints.read().decode(errors="replace").strip()
            raise CannotBackUp(f"The node's part cannot be read: {said[-800:]}")


def keeping(action: str, data: Path, *arguments: str) -> list[str]:
    """A process of its own: the platform imports nothing of the engine."""
    return [sys.executable, "-m", "workers.engine.keeping", action, "--data", str(data), *arguments]
