"""Named contexts of a build: images, or addresses of repositories and, apart, what opens these. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from slipway.builds.errors import InvalidBuild
from workers.messages import is_repository

VALUE_MAX = 4096


def require_sound(contexts: Mapping[str, str]) -> None:
    """Raise ``InvalidBuild``.

    No digest of an upload is taken: a node keeps uploads of all projects together, and whoever knows the
    digest of another one's would read it.
    """
    for name, text in contexts.items():
        where = f"contexts.{name[:60]}"
        if not text.isprintable() or not 0 < len(text) <= VALUE_MAX or text != text.strip():
            raise InvalidBuild(f"{where}: an image or an address is needed.", field="contexts")
        if text.lower().startswith("sha256:"):
            raise InvalidBuild(
                f"{where}: an upload of the node cannot be named; an image by its id is docker-image://{text}.",
                field="contexts",
            )
        if is_address(text) and not _host(text):
            raise InvalidBuild(f"{where}: the address has no host.", field="contexts")
        if split({name: text})[1] and not is_repository(text):
            raise InvalidBuild(
                f"{where}: user names and passwords go with git repositories only.", field="contexts"
            )


def _host(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:  # brackets that do not match
        return None


def is_address(text: str) -> bool:
    """Whether it is fetched from somewhere, rather than an image."""
    return text.lower().startswith(("http://", "https://"))


def split(contexts: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The contexts without what opens them, and that by name, as it stood before the ``@``."""
    bare, accounts = dict(contexts), {}
    for name, text in contexts.items():
        if not is_address(text) or _host(text) is None:
            continue
        parts = urlsplit(text)
        if "@" in parts.netloc:
            account, _, host = parts.netloc.rpartition("@")
            bare[name] = urlunsplit(parts._replace(netloc=host))
            if account.strip(":"):
                accounts[name] = account
    return bare, accounts


def joined(contexts: Mapping[str, str], accounts: Mapping[str, str]) -> dict[str, str]:
    """The reverse of ``split``; an account of a context that is not there is none."""
    whole = dict(contexts)
    for name, account in accounts.items():
        if is_address(whole.get(name, "")):
            parts = urlsplit(whole[name])
            whole[name] = urlunsplit(parts._replace(netloc=f"{account}@{parts.netloc}"))
    return whole
