"""Layers as they are drawn, of images on a node and in a repository alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_KEYWORDS = frozenset(
    {"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN"}
    | {"SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}
)


@dataclass(frozen=True)
class Plate:
    """One layer, or one line of history without a layer."""

    keyword: str
    """The Dockerfile instruction, where one can be told."""
    rest: str
    size: int | None = None
    """None: it made no layer."""
    digest: str = ""
    word: str = "digest"
    """What kind of digest it is."""
    note: str = ""
    shared_with: tuple[str, ...] = ()


def plate_of(
    created_by: str,
    comment: str = "",
    *,
    size: int | None = None,
    digest: str = "",
    word: str = "digest",
    note: str = "",
    shared_with: Sequence[str] = (),
) -> Plate:
    keyword, rest = _instruction(created_by)
    return Plate(keyword, rest or comment, size, digest, word, note, tuple(shared_with))


def _instruction(created_by: str) -> tuple[str, str]:
    """Keyword and the rest of a history line, whichever builder wrote it."""
    text = created_by.strip()
    for noise in ("/bin/sh -c #(nop)", "|0 "):
        text = text.removeprefix(noise).strip()
    if text.startswith("/bin/sh -c "):
        return "RUN", text.removeprefix("/bin/sh -c ").strip()
    word, _, rest = text.partition(" ")
    return (word, rest.removesuffix("# buildkit").strip()) if word in _KEYWORDS else ("", text)
