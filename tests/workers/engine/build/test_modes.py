"""--chmod, octal and symbolic, as chmod(1) has it."""

from __future__ import annotations

import pytest

from workers.engine.build.modes import parse
from workers.errors import BuildFailed


@pytest.mark.parametrize(
    ("text", "before", "directory", "after"),
    [
        ("755", 0o644, False, 0o755),
        ("0755", 0o644, False, 0o755),
        ("4755", 0o644, False, 0o4755),
        ("u+x", 0o644, False, 0o744),
        ("+x", 0o644, False, 0o755),
        ("a=r", 0o755, False, 0o444),
        ("go-w", 0o666, False, 0o644),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o700, False, 0o755),
        ("u=rwX,go=rX", 0o600, True, 0o755),
        ("u+s,g+s", 0o755, False, 0o6755),
        ("+t", 0o777, True, 0o1777),
        ("u+r-w", 0o200, False, 0o400),
        ("g=u", 0o640, False, 0o660),
        ("go=u", 0o750, True, 0o777),
        ("o=g", 0o751, False, 0o755),
        ("g+u", 0o611, False, 0o671),
        ("o-g", 0o777, False, 0o770),
        ("g=u,o=", 0o755, False, 0o770),
        ("u=rwX,g=u", 0o600, True, 0o770),
        ("g=u-w", 0o644, False, 0o644),
    ],
)
def test_a_mode_is_applied(text: str, before: int, directory: bool, after: int) -> None:
    assert parse(text).apply(before, directory=directory) == after


@pytest.mark.parametrize("text", ["", "9", "77777", "u", "z+x", "u+q", "u+x,", "rwx", "g=ur", "g=z"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(BuildFailed, match="invalid chmod parameter"):
        parse(text)
