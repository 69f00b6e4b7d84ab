"""Users and groups by name, looked up in the files of a stage; a mistyped one is told with the nearest."""

from __future__ import annotations

from workers.engine.dockerfile.errors import nearest
from workers.engine.runtime import users
from workers.engine.runtime.users import Read, User
from workers.errors import InvalidSpec

_FILES = {"user": "/etc/passwd", "group": "/etc/group"}


def resolve(user: str, read: Read, *, count: int) -> User:
    """As ``users.resolve``. Raise ``InvalidSpec`` with the nearest name as its ``suggestion``."""
    try:
        return users.resolve(user, read, count=count)
    except InvalidSpec as error:
        for kind, file in _FILES.items():
            wanted = str(error.facts.get(kind, "")).partition(":")[0]
            names = [line.partition(":")[0] for line in read(file).splitlines()]
            guess = nearest(wanted, names) if wanted and wanted not in names else ""
            if guess:
                facts = {**error.facts, "suggestion": guess}
                raise InvalidSpec(f"{error.message} (did you mean {guess}?)", **facts) from error
        raise
