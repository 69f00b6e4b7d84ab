"""A proposal for a project that has no Dockerfile. Pure: over names of files and the text of a few.

What is proposed is text with comments, for people to see and change; it parses, and the checks find
nothing in it.
"""

from __future__ import annotations

from collections.abc import Callable

from workers.engine.build.proposals import compiled, node, php, python, ruby, static
from workers.engine.build.proposals.project import SMALL, Project, Proposal

__all__ = ["SMALL", "WANTED", "Project", "Proposal", "detect"]

WANTED: frozenset[str] = frozenset(
    {*compiled.WANTED, *node.WANTED, *php.WANTED, *python.WANTED, *ruby.WANTED}
)
"""Files whose text helps; those beyond ``SMALL`` characters need not be read."""

# Programs in other languages often bring a package.json for their pages, and a page for their start.
_LANGUAGES: tuple[Callable[[Project], Proposal | None], ...] = (
    compiled.propose,
    ruby.propose,
    php.propose,
    python.propose,
    node.propose,
    static.propose,
)


def detect(project: Project) -> Proposal | None:
    """What fits best; None if nothing is known to fit."""
    return next((found for propose in _LANGUAGES if (found := propose(project)) is not None), None)
