"""Root works in directories of the service user: whoever took that user over must not lead root elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def as_owner_of(directory: Path) -> Iterator[None]:
    """Act with the rights of ``directory``'s owner, so that a link planted there leads nowhere else.

    Without effect unless we are root and the owner is not.
    """
    status = directory.lstat()
    if os.geteuid() != 0 or status.st_uid == 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(status.st_gid)
    os.seteuid(status.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def own_like(file: Path, model: Path) -> None:
    """In a directory of root's, what root made anew belongs to whom the old one belonged to."""
    if os.geteuid() == 0:
        status = model.stat()
        os.chown(file, status.st_uid, status.st_gid, follow_symlinks=False)
        file.chmod(status.st_mode & 0o777)
