"""The environment every test process starts from, loaded before Django reads its settings.

Nothing of a running Slipway on the same machine is in reach: data, run directory, instance name and
Redis are this process's own.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

for source in (ROOT / "scripts", ROOT / "platform", ROOT):
    if str(source) not in sys.path:
        sys.path.insert(0, str(source))


_numbers = itertools.count(1)


def instance() -> str:
    """A name for an instance nobody else uses, on this machine or in this process."""
    return f"swt{os.getpid()}x{next(_numbers)}"


def scratch() -> Path:
    """A directory below /var/tmp that other users may pass through, removed when this process ends."""
    directory = Path(tempfile.mkdtemp(prefix=f"slipway-test-{os.getpid()}-", dir="/var/tmp"))
    directory.chmod(0o711)
    atexit.register(_discard, directory, os.getpid())
    return directory


def _discard(directory: Path, owner: int) -> None:
    """Only in the process that made it: forked children run exit handlers too."""
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)


def isolate(directory: Path) -> None:
    """Point every variable Slipway reads at ``directory``; idempotent."""
    for name in [name for name in os.environ if name.startswith("SLIPWAY_")]:
        if not name.startswith("SLIPWAY_TEST_"):
            del os.environ[name]
    os.environ["SLIPWAY_DATA"] = str(directory / "data")
    os.environ["SLIPWAY_RUN"] = str(directory / "run")
    os.environ["SLIPWAY_INSTANCE"] = instance()
    os.environ["SLIPWAY_HOSTS"] = "localhost,127.0.0.1,[::1],testserver"
    # For a run of the platform's tests on PostgreSQL.
    if url := os.environ.get("SLIPWAY_TEST_DATABASE_URL"):
        os.environ["SLIPWAY_DATABASE_URL"] = url
    for part in ("data/platform/keys", "data/platform/tmp", "data/platform/static", "data/node", "run"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    secret = directory / "data/platform/keys/django"
    if not secret.exists():
        secret.write_text("secret-of-the-tests-" * 4, encoding="ascii")


isolate(scratch())
