"""Paths in a stage's filesystem, as text. Pure."""

from __future__ import annotations

import posixpath


def absolute(directory: str, path: str) -> str:
    """Without ``.``, ``..`` and slashes too many; a relative path is below ``directory``."""
    return "/" + posixpath.normpath(posixpath.join("/", directory, path)).lstrip("/")


def destination(directory: str, path: str) -> str:
    """As ``absolute``; a slash at the end stays, for it says that this is a directory."""
    whole = absolute(directory, path)
    is_directory = path in ("", ".") or path.endswith(("/", "/."))
    return f"{whole}/" if is_directory and whole != "/" else whole
