"""Finding images: those here, the library's, and what registries outside have that can be searched."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from slipway.accounts.actors import Actor
from slipway.catalog.asking import Refused, Registry
from slipway.catalog.models import Reference
from slipway.catalog.registries import Registries
from slipway.projects.models import Project
from slipway.projects.queries import find_library, list_projects
from slipway.repositories.access import Access
from slipway.repositories.queries import readable

PER_KIND = 25


@dataclass(frozen=True)
class Found:
    kind: str
    """``local``, ``library``, ``repository`` or ``upstream``."""
    reference: str
    """What to run or pull."""
    project: str | None = None
    """Path of the project it belongs to."""
    description: str = ""
    stars: int | None = None
    official: bool = False


@dataclass(frozen=True)
class Outcome:
    items: tuple[Found, ...]
    failures: tuple[str, ...] = ()
    """What was asked and did not answer."""


def search_lists(actor: Actor, query: str, project: Project | None = None) -> list[Found]:
    """Names in the local lists the actor may see (of ``project`` alone, if given), and in the library."""
    library = find_library()
    visible = [project] if project is not None else list_projects(actor).order_by()
    own = Reference.objects.filter(project__in=visible, image__withdrawn=False)
    found = [_local(row) for row in _fitting(own.filter(project__library=False), query)]
    if library is not None and (actor.token is None or actor.token.project_id is None or project is not None):
        found += [_local(row) for row in _fitting(Reference.objects.filter(project=library), query)]
    return found


def search_repositories(
    actor: Actor, query: str, registries: Registries, project: Project | None = None
) -> list[Found]:
    """Repositories of our registry that the actor may pull from (of ``project`` alone, if given)."""
    rows = readable(Access.of(actor))
    if project is not None:
        rows = rows.filter(project=project)
    for word in _words(query):
        rows = rows.filter(path__icontains=word)
    return [
        Found("repository", f"{registries.own[0]}/{row.path}", row.project.path, _first_line(row.readme))
        for row in rows[:PER_KIND]
    ]


def _first_line(readme: str) -> str:
    lines = (line.strip("# \t") for line in readme.splitlines())
    return next((line for line in lines if line), "")[:200]


def _words(query: str) -> list[str]:
    """A tag's colon parts words as blanks do."""
    return query.lower().replace(":", " ").split()


def _fitting(rows: Any, query: str) -> Sequence[Reference]:
    for word in _words(query):
        rows = rows.filter(Q(name__icontains=word) | Q(tag__icontains=word))
    return list(rows.select_related("project__team").order_by("name", "tag", "id")[:PER_KIND])


def _local(row: Reference) -> Found:
    return Found("library" if row.project.library else "local", str(row), row.project.path)


async def search_upstream(query: str, registries: Registries) -> Outcome:
    """What the registries that the administrator lets us search have; each has ten seconds."""
    asked = [_ask(host, query, registries) for host in registries.searched]
    outcomes = await asyncio.gather(*asked)
    return Outcome(
        tuple(item for outcome in outcomes for item in outcome.items),
        tuple(failure for outcome in outcomes for failure in outcome.failures),
    )


async def _ask(host: str, query: str, registries: Registries) -> Outcome:
    try:
        results = await Registry(host, registries).search(query, PER_KIND)
    except Refused as refusal:
        return Outcome((), (f"{refusal}.",))
    return Outcome(tuple(_upstream(host, each) for each in results[:PER_KIND] if each.get("name")))


def _upstream(host: str, result: dict[str, Any]) -> Found:
    name = str(result["name"])[:255].removeprefix("library/")
    stars = result.get("star_count")
    return Found(
        "upstream",
        name if host == "docker.io" else f"{host}/{name}",
        description=str(result.get("description") or "")[:500],
        stars=stars if isinstance(stars, int) else None,
        official=result.get("is_official") is True,
    )
