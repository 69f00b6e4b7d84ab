"""Named contexts of a build: an image, or the address of a repository. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from slipway.builds.errors import InvalidBuild

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
        if is_address(text) and not urlsplit(text).hostname:
            raise InvalidBuild(f"{where}: the address has no host.", field="contexts")


def is_address(text: str) -> bool:
    """Whether it is fetched from somewhere, rather than an image."""
    return text.lower().startswith(("http://", "https://"))
