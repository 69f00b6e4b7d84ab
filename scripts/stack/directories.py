"""The directories of docs/architecture.md with their owners and modes; those of the node are the engine's."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from stack.settings import Stack


def prepare(stack: Stack, user: str | None) -> None:
    """Safe to repeat; also hands everything over when the service user changed since the last start."""
    for shared in (stack.data, stack.run):
        _ensure(shared, 0o711)
    _ensure(stack.logs, 0o750)
    _ensure(stack.pids, 0o755)
    # Redis binds its socket in a directory of its own: nobody but root may write into the run directory.
    for owned, mode in (
        (stack.data / "platform", 0o700),
        (stack.data / "redis", 0o700),
        (stack.run / "redis", 0o711),
    ):
        _ensure(owned, mode)
        hand_over(owned, user)
    for inner in ("keys", "tmp"):
        _ensure(stack.data / "platform" / inner, 0o700)
        hand_over(stack.data / "platform" / inner, user)
    _link(stack.redis_socket, Path("redis", "redis.sock"))


def hand_over(top: Path, user: str | None) -> None:
    """Make ``user`` (None: root) the owner of everything below ``top``, unless the top already is theirs."""
    account = pwd.getpwnam(user or "root")
    if top.stat().st_uid == account.pw_uid:
        return
    for directory, children, files in os.walk(top):
        for name in (*children, *files):
            os.chown(Path(directory, name), account.pw_uid, account.pw_gid, follow_symlinks=False)
    os.chown(top, account.pw_uid, account.pw_gid)


def _ensure(path: Path, mode: int) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)


def _link(path: Path, target: Path) -> None:
    if path.is_symlink() and path.readlink() == target:
        return
    path.unlink(missing_ok=True)
    path.symlink_to(target)
