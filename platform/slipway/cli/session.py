"""What this one command works with: the context, the project, and whether to answer in JSON."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from slipway.cli import config as stored
from slipway.cli.errors import Misused, NotSignedIn

if TYPE_CHECKING:
    from slipway.cli.client import Client


@dataclass
class Session:
    """``--context``, ``--project`` and ``--json`` count wherever on the line they stand; the last wins."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    context: str = ""
    project: str = ""
    json: bool = False

    def heed(self, *, project: str | None = None, json: bool = False) -> Session:
        self.project = project or self.project
        self.json = json or self.json
        return self

    @property
    def config_path(self) -> Any:
        return stored.location(self.environ)

    @cached_property
    def config(self) -> stored.Config:
        return stored.read(self.config_path)

    @property
    def context_name(self) -> str:
        """Empty while nobody has signed in."""
        return self.context or self.environ.get("SLIPWAY_CONTEXT", "") or self.config.current

    @cached_property
    def place(self) -> stored.Context:
        """Server and token; ``SLIPWAY_URL`` with ``SLIPWAY_TOKEN`` spare scripts the file."""
        url, token = self.environ.get("SLIPWAY_URL", ""), self.environ.get("SLIPWAY_TOKEN", "")
        if url and token and not self.context:
            from slipway.cli.addresses import parse_url

            return stored.Context(parse_url(url), token)
        if url and not token and not self.context:
            raise NotSignedIn("SLIPWAY_URL is set, but SLIPWAY_TOKEN is not.")
        if not self.context_name:
            raise NotSignedIn("You have not signed in to a server.")
        return self.config.get(self.context_name)

    @cached_property
    def client(self) -> Client:
        from slipway.cli.client import Client

        return Client(self.place.url, self.place.token)

    @cached_property
    def project_path(self) -> str:
        """As asked for, else as set, else the only one there is. Raise ``Misused`` where that is open."""
        asked = self.project or self.environ.get("SLIPWAY_PROJECT", "") or self.place.project
        return stored.check_project(asked) if asked else self._only_project()

    def _only_project(self) -> str:
        paths = [each["path"] for each in self.client.items("/projects") if not each["library"]]
        if len(paths) == 1:
            return str(paths[0])
        if not paths:
            raise Misused("You have no project yet.", "`slipway projects create TEAM/PROJECT` makes one.")
        shown = ", ".join(paths[:8]) + (" …" if len(paths) > 8 else "")
        raise Misused(
            f"Which project? There are {shown}.",
            "Name it with --project, or `slipway projects use TEAM/PROJECT`.",
        )

    def below(self, *parts: str) -> str:
        """A path of the API in the project."""
        from slipway.cli.client import at

        return at("projects", *self.project_path.split("/"), *parts)


def session_of(ctx: typer.Context) -> Session:
    return cast(Session, ctx.obj)


def guessing(ctx: typer.Context) -> Session:
    """A session for completion, when no command has run yet: patience is short and the options are raw."""
    session = Session()
    each: Any = ctx
    while each is not None:
        session.heed(project=each.params.get("project"))
        session.context = session.context or each.params.get("context") or ""
        each = each.parent
    from slipway.cli.client import Client

    session.client = Client(session.place.url, session.place.token, timeout=2.0)
    return session


Look = Callable[[Session], list[str]]


def _complete(look: Look) -> Callable[[typer.Context, str], list[str]]:
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            return [name for name in look(guessing(ctx)) if name.startswith(incomplete)]
        except Exception:  # noqa: BLE001  # a failing completion completes nothing, and says nothing
            return []

    return complete


def _containers(session: Session) -> list[str]:
    page = session.client.get(session.below("containers"), {"all": True, "limit": 200})
    return [each["name"] for each in page["items"]]


def _jobs(session: Session) -> list[str]:
    return [each["id"] for each in session.client.get(session.below("jobs"))["items"]]


def _images(session: Session) -> list[str]:
    page = session.client.get(session.below("images"), {"limit": 200})
    return [name for each in page["items"] for name in each["references"]]


def _projects(session: Session) -> list[str]:
    return [each["path"] for each in session.client.get("/projects", {"limit": 200})["items"]]


complete_containers = _complete(_containers)
complete_jobs = _complete(_jobs)
complete_images = _complete(_images)
complete_projects = _complete(_projects)
complete_contexts = _complete(lambda session: list(session.config.contexts))

ProjectOption = Annotated[
    str | None,
    typer.Option(
        "--project",
        metavar="TEAM/PROJECT",
        help="Else SLIPWAY_PROJECT, the context's, or the only one.",
        autocompletion=complete_projects,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Go on until it has ended.")]
TailOption = Annotated[
    int | None, typer.Option("--tail", "-n", metavar="LINES", help="Only the last so many.")
]
TimestampsOption = Annotated[bool, typer.Option("--timestamps", "-t", help="Before each line.")]
