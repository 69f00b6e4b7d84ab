"""Prove that an unpacked backup would work: keys that fit each other, a database that is sound and opens."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

from django.conf import settings
from django.db import connection

from slipway.operations import archives, databases
from slipway.operations.errors import BackupInvalid, CannotRestore
from workers import sealing
from workers.errors import NodeError

Say = Callable[[str], None]
_SECRET_LENGTH = 50
# Printed by a process of its own, whose settings are the backup's.
_LOOK = """
from django.contrib.auth import get_user_model
from django.core.management import call_command
from slipway.nodes.models import Node
from slipway.operations.databases import applied_migrations
import json
call_command("check", verbosity=0)
applied = applied_migrations()
columns = ("name", "public_key", "signed_by")
print(json.dumps([applied, [list(row) for row in Node.objects.values_list(*columns)] if applied else []]))
"""


def verify(staging: Path, facts: archives.Facts, say: Say) -> None:
    """Raise ``BackupInvalid``; ``staging`` is laid out like a data directory."""
    public, node_public = _keys(staging)
    say("the keys load, and node and platform fit each other" if node_public else "the keys load")
    if facts.database == "sqlite":
        databases.examine_sqlite(staging / "platform" / databases.FILES["sqlite"])
    with _scratch_database(staging, facts) as url:
        applied, nodes = _look(staging, url)
    say("the database is sound, opens, and passes `manage.py check`")
    if applied != facts.migrations:
        raise BackupInvalid("The database's migrations are not those that the manifest names.")
    here = [each for each in nodes if each[0] == settings.SLIPWAY_NODE]
    if node_public and here and here[0][1:] != [node_public, public]:
        raise BackupInvalid(
            f"The keys of node {settings.SLIPWAY_NODE!r} are not those the database knows: the backup was"
            " made amid a rotation of keys. Restore it without --verify and run `manage.py register_node`."
        )
    say(f"{sum(map(len, applied.values()))} migrations match")


def _keys(staging: Path) -> tuple[str, str]:
    """The platform's public key and the node's, empty where the backup has no node."""
    directory = staging / "platform" / "keys"
    secret = directory / "django"
    if not secret.is_file() or len(secret.read_text(encoding="ascii").strip()) < _SECRET_LENGTH:
        raise BackupInvalid("The backup lacks Django's secret key, or it is too short.")
    try:
        public = sealing.public_text(sealing.load_signing_key(directory / "signing").public_key())
        node = staging / "node" / "keys"
        if not node.is_dir():
            return public, ""
        node_key = sealing.load_node_key(node / "node")
        if sealing.public_text(sealing.load_platform_key(node / "platform")) != public:
            raise BackupInvalid("The node's keys name another platform than the one in the backup.")
    except NodeError as error:
        raise BackupInvalid(f"A key in the backup does not load: {error}") from error
    return public, sealing.public_text(node_key.public_key())


@contextmanager
def _scratch_database(staging: Path, facts: archives.Facts) -> Iterator[str]:
    """The URL of a database with the backup's content, gone afterwards."""
    if facts.database == "sqlite":
        yield f"sqlite://{quote(str(staging / 'platform' / databases.FILES['sqlite']))}"
        return
    name = f"slipway_verify_{secrets.token_hex(4)}"
    scratch = databases.create_scratch(name, connection.settings_dict)
    try:
        databases.load_postgres(staging / "platform" / databases.FILES["postgresql"], scratch)
        yield postgres_url(scratch)
    finally:
        databases.drop_scratch(scratch)


def postgres_url(described: databases.Settings) -> str:
    """What ``environment.database`` makes ``described`` of."""
    who = ":".join(quote(str(described[name]), safe="") for name in ("USER", "PASSWORD") if described[name])
    where = f"{quote(str(described['HOST']), safe='')}{':' if described['PORT'] else ''}{described['PORT']}"
    options = urlencode(dict(described["OPTIONS"]))
    at = f"{who}@" if who else ""
    return f"postgresql://{at}{where}/{quote(str(described['NAME']))}?{options}"


def _look(staging: Path, url: str) -> tuple[dict[str, list[str]], list[list[str]]]:
    """The migrations and nodes that a process with the backup's settings finds."""
    done = subprocess.run(
        [sys.executable, str(settings.ROOT / "manage.py"), "shell", "--no-imports", "--command", _LOOK],
        cwd=settings.ROOT,
        env=_environment(staging, url),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        last = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise BackupInvalid(f"The platform does not start with the backup's database and keys: {last}")
    try:
        applied, nodes = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise CannotRestore(f"The check of the database said nothing usable: {done.stdout[-300:]}") from error
    return applied, nodes


def _environment(staging: Path, url: str) -> Mapping[str, str]:
    return {
        **os.environ,
        "SLIPWAY_DATA": str(staging),
        "SLIPWAY_DATABASE_URL": url,
        "SLIPWAY_SECRET_KEY_FILE": str(staging / "platform" / "keys" / "django"),
    }
