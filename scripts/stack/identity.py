"""Which user the unprivileged processes run as."""

from __future__ import annotations

import pwd
import subprocess
from pathlib import Path

from stack.settings import ROOT, SERVICE_USER

PROBE = "import os, sys, django, workers.messages; os.listdir('platform/slipway'); os.listdir('templates')"


def service_user(python: Path, name: str = SERVICE_USER) -> tuple[str | None, str]:
    """The user's name and an empty text; or None (stay root) and one sentence that says why."""
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        return None, f"there is no user {name} (`make setup` makes it)"
    try:
        done = subprocess.run(
            [str(python), "-c", PROBE],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except OSError as error:
        return None, f"the user {name} cannot run {python} ({(error.strerror or '').lower()})"
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return None, f"the user {name} cannot use this checkout ({reason})"
    return name, ""
