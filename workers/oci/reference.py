"""References: what people type to name an image, in Docker's grammar."""

from __future__ import annotations

import re
from dataclasses import dataclass

from workers.errors import InvalidDigest, InvalidReference
from workers.oci.digest import Digest

DEFAULT_REGISTRY = "docker.io"
OFFICIAL = "library/"
DEFAULT_TAG = "latest"
_MAX_NAME = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[A-Fa-f0-9:]+\])(?::[0-9]{{1,5}})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_BARE_ID = re.compile(r"[a-f0-9]{64}")


@dataclass(frozen=True)
class Reference:
    """Registry, repository, and tag or digest or both; ``parse`` fills in what Docker fills in."""

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Normalised: ``busybox`` is ``docker.io/library/busybox:latest``. Raise ``InvalidReference``."""
        name, digest = _split_digest(text)
        name, tag = _split_tag(name)
        registry, repository = _split_registry(name)
        if len(registry) + 1 + len(repository) > _MAX_NAME:
            raise _invalid(text, f"a name has at most {_MAX_NAME} characters")
        if _BARE_ID.fullmatch(name):
            raise _invalid(text, "64 hex digits would be taken for an image id")
        if not _REGISTRY.fullmatch(registry):
            raise _invalid(text, f"{registry!r} is no registry's host name")
        if not _PATH.fullmatch(repository):
            raise _invalid(text, _hint(repository))
        if tag is not None and not _TAG.fullmatch(tag):
            raise _invalid(text, f"the tag {tag[:140]!r} needs 1 to 128 letters, digits, '_', '.', '-'")
        if tag is None and digest is None:
            tag = DEFAULT_TAG
        return cls(registry, repository, tag, digest)

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar_name(self) -> str:
        """The name as short as people write it: ``busybox``, ``team/web``, ``example.org/web``."""
        # Shortened, library/a/b would read as a/b, and docker.io/a.b/c as a registry's own.
        for short in (self.repository.removeprefix(OFFICIAL), self.repository):
            if _split_registry(short) == (self.registry, self.repository):
                return short
        return self.name

    @property
    def familiar(self) -> str:
        return self.familiar_name + self._suffix

    def __str__(self) -> str:
        return self.name + self._suffix

    @property
    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return tag + digest


def _split_digest(text: str) -> tuple[str, Digest | None]:
    name, at, digest = text.partition("@")
    if not at:
        return name, None
    try:
        return name, Digest.parse(digest)
    except InvalidDigest as error:
        raise _invalid(text, error.message) from error


def _split_tag(name: str) -> tuple[str, str | None]:
    """A colon before the last slash belongs to a port."""
    head, colon, tail = name.rpartition(":")
    if not colon or "/" in tail:
        return name, None
    return head, tail


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or any(c in first for c in ".:") or first.lower() != first):
        registry, repository = first, rest
    else:
        registry, repository = DEFAULT_REGISTRY, name
    if registry == "index.docker.io":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = OFFICIAL + repository
    return registry, repository


def _hint(repository: str) -> str:
    shown = repository.removeprefix(OFFICIAL)[:80]
    if shown.lower() != shown:
        return f"the repository {shown!r} must be in lower case"
    return f"the repository {shown!r} needs lower-case letters and digits, joined by '.', '_', '__', '-', '/'"


def _invalid(text: str, why: str) -> InvalidReference:
    return InvalidReference(f"{text[:160]!r} is no image reference: {why}", reference=text[:160])
