"""The directories of docs/architecture.md with their owners and modes; those of the node are the engine's.

Root works here in directories that belong to the service user. Whoever took that user over must not lead
root elsewhere by a symbolic link: every step goes through a descriptor of the directory it is about.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.settings import Stack

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def prepare(stack: Stack, user: str | None) -> None:
    """Safe to repeat; also hands everything over when the service user changed since the last start.

    Raise ``NotADirectoryError`` where a directory was replaced by something else.
    """
    for shared in (stack.data, stack.run):
        shared.mkdir(parents=True, exist_ok=True)
        shared.chmod(0o711)
    _ensure(stack.logs, 0o750)
    _ensure(stack.pids, 0o755)
    _ensure(stack.work, 0o700)
    # Redis binds its socket in a directory of its own: nobody but root may write into the run directory.
    for owned, mode, inner in (
        (stack.data / "platform", 0o700, ("keys", "tmp")),
        (stack.data / "redis", 0o700, ()),
        (stack.run / "redis", 0o711, ()),
    ):
        _ensure(owned, mode, inner)
        hand_over(owned, user)
    _link(stack.redis_socket, Path("redis", "redis.sock"))


def hand_over(top: Path, user: str | None) -> None:
    """Make ``user`` (None: root) the owner of ``top`` and what lies in it.

    Nothing below is looked at while the directory that holds it already is theirs.
    """
    account = pwd.getpwnam(user or "root")
    with _opened(top) as directory:
        _hand_over(directory, account)


def _hand_over(directory: int, account: pwd.struct_passwd) -> None:
    if os.fstat(directory).st_uid != account.pw_uid:
        for name in os.listdir(directory):
            if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                os.chown(name, account.pw_uid, account.pw_gid, dir_fd=directory, follow_symlinks=False)
    for name in os.listdir(directory):
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            with _opened(Path(name), directory) as child:
                if os.fstat(child).st_uid != account.pw_uid:
                    _hand_over(child, account)
    # Last: were this cut off, the next start would begin again.
    os.chown(directory, account.pw_uid, account.pw_gid)


def _ensure(path: Path, mode: int, inner: tuple[str, ...] = ()) -> None:
    """The directory, and ``inner`` directories only its owner may look into."""
    path.mkdir(parents=True, exist_ok=True)
    with _opened(path) as directory:
        os.fchmod(directory, mode)
        for name in inner:
            if name not in os.listdir(directory):
                os.mkdir(name, 0o700, dir_fd=directory)
            with _opened(Path(name), directory) as child:
                os.fchmod(child, 0o700)


@contextmanager
def _opened(path: Path, at: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, _DIRECTORY, dir_fd=at)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _link(path: Path, target: Path) -> None:
    if path.is_symlink() and path.readlink() == target:
        return
    path.unlink(missing_ok=True)
    path.symlink_to(target)
