"""Addresses of git repositories: ``https://host/repo.git#ref:directory``, ``git@host:repo``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from workers.engine.dockerfile.errors import Mistake

_SCP = re.compile(r"([A-Za-z0-9_-]+)@([A-Za-z0-9.-]+):([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_SCHEME = re.compile(r"(https?|ssh|git)://", re.IGNORECASE)
_TRUE = frozenset({"", "1", "t", "true"})
_FALSE = frozenset({"0", "f", "false"})
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True)
class GitReference:
    remote: str
    ref: str = ""
    subdirectory: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool = True


def parse_git(text: str) -> GitReference | None:
    """None if it is no address of a repository. Over HTTP one ends in ``.git``. Raise ``Mistake``."""
    scp = _SCP.fullmatch(text)
    if scp:
        remote = f"{scp[1]}@{scp[2]}:{scp[3]}"
        return _with_query(text, remote, scp[4] or "", scp[5] or "")
    if not _SCHEME.match(text):
        return None
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise Mistake(f"{text[:80]!r} is no address: {error}", text) from None
    if parts.scheme.startswith("http") and not parts.path.endswith(".git"):
        return None
    remote = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    return _with_query(text, remote, parts.query, parts.fragment)


def _with_query(text: str, remote: str, query: str, fragment: str) -> GitReference:
    ref, _, subdirectory = fragment.partition(":")
    values: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _QUERY:
            raise Mistake(f"the address has {name[:40]!r}; it may have {', '.join(sorted(_QUERY))}", name)
        if name in values or (not value and name not in ("keep-git-dir", "submodules")):
            raise Mistake(f"the address has {name} twice or without a value", name)
        values[name] = value
    wanted = [ref] if ref else []
    for name, prefix in (("ref", ""), ("tag", "refs/tags/"), ("branch", "refs/heads/")):
        if name in values:
            wanted.append(prefix + values[name].removeprefix(prefix))
    if len(set(wanted)) > 1:
        raise Mistake(f"the address names several refs: {', '.join(wanted)[:80]}", text)
    if subdirectory and values.get("subdir", subdirectory) != subdirectory:
        raise Mistake("the address names two directories", "subdir")
    checksum = values.get("checksum", values.get("commit", ""))
    keep = _boolean("keep-git-dir", values["keep-git-dir"]) if "keep-git-dir" in values else None
    return GitReference(
        remote,
        wanted[0] if wanted else checksum,
        subdirectory or values.get("subdir", ""),
        check_commit(checksum) if checksum else "",
        keep,
        _boolean("submodules", values.get("submodules", "")),
    )


_QUERY = frozenset({"ref", "tag", "branch", "subdir", "checksum", "commit", "keep-git-dir", "submodules"})


def check_commit(text: str) -> str:
    """Raise ``Mistake``."""
    if not _COMMIT.fullmatch(text):
        raise Mistake(f"{text[:80]!r} is no commit; 7 to 64 hex digits were expected", text)
    return text


def _boolean(name: str, value: str) -> bool:
    if value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise Mistake(f"the address's {name} is true or false, not {value[:40]!r}", name)
