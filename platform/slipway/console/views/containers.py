"""One container: its facts, its log, what can be done to it; and the form that makes one."""

from __future__ import annotations

import json
import shlex
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotAllowed, NotFound
from slipway.accounts.policy import Action, can, require
from slipway.catalog.models import Image
from slipway.catalog.queries import list_images
from slipway.console.calls import Call, curls
from slipway.console.forms import RunForm, blame
from slipway.console.looks import container_cause
from slipway.console.members import member_page
from slipway.console.views.answers import done, live_page
from slipway.containers import services
from slipway.containers.models import Container, State
from slipway.containers.queries import get_container
from slipway.projects.models import Project
from slipway.projects.queries import find_library, get_project_by_path
from slipway.projects.usage import usage
from workers.errors import SlipwayError
from workers.oci.reference import Reference

IMAGES_MAX = 50
PICKED_MAX = 12


@require_safe
@member_page
def container(request: HttpRequest, actor: Actor, container_id: str) -> HttpResponse:
    return show(request, actor, get_container(actor, container_id))


def show(
    request: HttpRequest, actor: Actor, found: Container, error: SlipwayError | None = None, status: int = 200
) -> HttpResponse:
    context = {
        "container": found,
        "project": found.project,
        "cause": container_cause(found, timezone.now()),
        "command": _command(found),
        "limits": found.spec.get("limits", {}),
        "may_write": can(actor, Action.WRITE, found),
        "may_start": not found.is_alive and not found.pending and found.removed_at is None,
        "may_stop": found.is_alive or (found.pending and found.desired == State.RUNNING),
        "may_remove": found.removed_at is None and found.state != State.REMOVING,
        "error": error,
        "nav": "projects",
        "calls": _calls(request, found),
    }
    return live_page(request, "console/container.html", "console/_container.html", context, status)


def _command(found: Container) -> str:
    """Entrypoint and command as they are run, as told to a shell: as asked for, else the image's."""
    inner: dict[str, Any] = (json.loads(found.image.config).get("config") or {}) if found.image else {}
    entrypoint, command = found.spec.get("entrypoint"), found.spec.get("command")
    if command is None and entrypoint is None:
        command = inner.get("Cmd")
    if entrypoint is None:
        entrypoint = inner.get("Entrypoint")
    return shlex.join([*(entrypoint or []), *(command or [])])


def _calls(request: HttpRequest, found: Container) -> Any:
    path = f"/projects/{found.project.path}/containers/{found.id[:12]}"
    return curls(
        request,
        Call("Inspect", "GET", path),
        Call("Follow the log", "GET", f"{path}/logs?follow=true"),
        Call("Start", "POST", f"{path}/start"),
        Call("Stop", "POST", f"{path}/stop", {"timeout": 10}),
        Call("Wait for the exit code", "POST", f"{path}/wait"),
        Call("Remove", "DELETE", path),
    )


# --------------------------------------------------------------------------- actions

DONE = {
    "start": "{} is being started.",
    "stop": "{} is being stopped.",
    "kill": "SIGKILL was sent to {}.",
    "remove": "{} is being removed; its log stays.",
}


@require_POST
@member_page
def container_act(request: HttpRequest, actor: Actor, container_id: str, action: str) -> HttpResponse:
    """Start, stop, kill or remove; what went wrong is told on the page itself."""
    found = get_container(actor, container_id)
    try:
        _act(actor, found, action)
    except (NotAllowed, NotFound):
        raise
    except SlipwayError as error:
        found = get_container(actor, container_id)
        return show(request, actor, found, error, status=409)
    return done(request, DONE[action].format(found.name), reverse("container", args=[found.id]))


def _act(actor: Actor, found: Container, action: str) -> None:
    match action:
        case "start":
            services.start(actor, found)
        case "stop":
            services.stop(actor, found)
        case "kill":
            services.kill(actor, found)
        case "remove":
            services.remove(actor, found, force=True)


# --------------------------------------------------------------------------- running one


@require_http_methods(["GET", "POST"])
@member_page
def run(request: HttpRequest, actor: Actor, team: str, slug: str) -> HttpResponse:
    project = get_project_by_path(actor, team, slug)
    require(actor, Action.WRITE, project)
    images = _runnable(actor, project)
    initial = {"image": request.GET.get("image") or (images[0][0] if images else "")}
    form = RunForm(request.POST or None, project=project, initial=initial)
    pullable = ""
    if request.method == "POST" and form.is_valid():
        try:
            made = services.create_container(actor, project, form.request())
        except SlipwayError as error:
            blame(form, error, _fields_of(error))
            pullable = str(error.facts.get("pull") or "")
        else:
            return redirect("container", made.id)
    path = f"/projects/{project.path}/containers"
    body = {"image": "busybox", "command": ["sh", "-c", "echo hello; exit 3"], "start": True}
    context = {
        "project": project,
        "form": form,
        "images": images,
        "picked": images[:PICKED_MAX],
        "pullable": pullable and Reference.parse(pullable).familiar,
        "uses": usage(project),
        "nav": "projects",
        "calls": curls(request, Call("Create and start", "POST", path, body)),
    }
    return render(request, "console/run.html", context, status=422 if form.errors else 200)


def _fields_of(error: SlipwayError) -> dict[str, str]:
    # An unknown image or a malformed reference carries no field: the only name in the form is the image's.
    if error.code in ("IMAGE_UNKNOWN", "REFERENCE_INVALID", "IMAGE_AMBIGUOUS"):
        return {"": "image"}
    return RunForm.NAMES


def _runnable(actor: Actor, project: Project) -> list[tuple[str, Image]]:
    """Names that can be run here, the project's before the library's, each once."""
    library = find_library()
    places = [project] if library is None or library.pk == project.pk else [project, library]
    found: dict[str, Image] = {}
    for place in places:
        for image in list_images(actor, place)[:IMAGES_MAX]:
            for reference in image.references.all():
                found.setdefault(str(reference), image)
    return list(found.items())
