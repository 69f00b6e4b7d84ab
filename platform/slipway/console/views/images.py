"""Images of a project: the list, one with its layers, and the import of an archive."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotAllowed
from slipway.accounts.policy import Action, can, require
from slipway.catalog import queries, services
from slipway.catalog.models import Image
from slipway.catalog.sizes import disk_use, measure
from slipway.console.calls import Call, curls
from slipway.console.figures import size_text
from slipway.console.members import member_page
from slipway.console.stacks import Plate, plate_of
from slipway.console.views.answers import live_page
from slipway.console.views.transfers import push_target
from slipway.jobs.models import JobKind
from slipway.jobs.queries import list_jobs
from slipway.pagination import paginate
from slipway.projects.queries import get_project_by_path
from workers.errors import UserError

PAGE = 50
USERS_MAX = 20
ORIGINS_MAX = 10
BRINGING = (JobKind.IMPORT_IMAGE, JobKind.BAKE_IMAGE, JobKind.PULL_IMAGE)
"""Jobs that end with another image in the list."""


@require_safe
@member_page
def image_list(request: HttpRequest, actor: Actor, team: str, slug: str) -> HttpResponse:
    project = get_project_by_path(actor, team, slug)
    images = queries.list_images(actor, project)
    page = paginate(request, images, ["-created_at", "-id"], cursor=request.GET.get("cursor", ""), limit=PAGE)
    measure(page.items)
    counts = queries.count_containers(page.items)
    for found in page.items:
        found.containers_count = counts.get(found.pk, 0)
    jobs = list_jobs(actor, project).filter(kind__in=BRINGING)
    context = {
        "project": project,
        "page": page,
        "disk": disk_use(actor, project),
        "jobs": [job for job in jobs[:5] if job.is_active],
        "may_write": can(actor, Action.WRITE, project),
        "nav": "projects",
        "calls": curls(
            request,
            Call("Images", "GET", f"/projects/{project.path}/images"),
            Call("Pull one", "POST", f"/projects/{project.path}/images/pull", {"reference": "busybox"}),
            Call("What they take", "GET", f"/projects/{project.path}/disk"),
        ),
    }
    return live_page(request, "console/images.html", "console/_images.html", context)


@require_safe
@member_page
def image_import(request: HttpRequest, actor: Actor, team: str, slug: str) -> HttpResponse:
    """The form; the archive itself goes to the REST door, which passes it on as it comes."""
    project = get_project_by_path(actor, team, slug)
    require(actor, Action.WRITE, project)
    door = f"/projects/{project.path}/images"
    upload = ("-H 'Content-Type: application/x-tar'", "-T rootfs.tar")
    context = {
        "project": project,
        "door": f"/api/v1{door}",
        "nav": "projects",
        "calls": curls(
            request, Call("Import an archive", "POST", f"{door}?name=alpine&tag=3.22", flags=upload)
        ),
    }
    return render(request, "console/image_import.html", context)


@require_safe
@member_page
def image(request: HttpRequest, actor: Actor, team: str, slug: str, image_id: str) -> HttpResponse:
    project = get_project_by_path(actor, team, slug)
    found = queries.resolve(actor, project, image_id)
    if found.project_id != project.pk:
        return redirect("image", found.project.team.slug, found.project.slug, found.image_id)
    sharing = queries.sharing(found)
    path = f"/projects/{project.path}/images/{found.image_id}"
    config = _config(found)
    containers = found.containers.filter(removed_at=None).order_by("-created_at")
    context = {
        "project": project,
        "image": found,
        "names": found.names,
        "origins": found.origins.all()[:ORIGINS_MAX],
        "push_target": push_target(project, found.names, found.short_id),
        "plates": _plates(found, sharing),
        "sharing": sharing,
        "config": config,
        "env": "\n".join(config["env"]),
        "containers": containers[:USERS_MAX],
        "may_write": can(actor, Action.WRITE, found),
        "nav": "projects",
        "calls": curls(
            request,
            Call("This image", "GET", path),
            Call("Give it a name", "POST", f"{path}/tag", {"reference": "web:stable"}),
            Call("Push it", "POST", f"{path}/push", {"reference": "web:1"}),
            Call("Save it", "GET", f"{path}/archive", flags=("-o image.tar",)),
            Call("Remove it", "DELETE", path),
        ),
    }
    return render(request, "console/image.html", context)


def _plates(found: Image, sharing: queries.Sharing) -> list[Plate]:
    """Top of the stack first."""
    uses = {use.layer.pk: use for use in sharing.layers}
    plates = []
    for entry in reversed(queries.history(found)):
        use = uses.get(entry.layer.pk) if entry.layer else None
        if use is None:
            plates.append(plate_of(entry.created_by, entry.comment))
            continue
        layer = use.layer
        came = f"{size_text(layer.size)} as it came" if layer.size != layer.unpacked_size else ""
        plates.append(
            plate_of(
                entry.created_by,
                entry.comment,
                size=layer.unpacked_size,
                digest=layer.diff_id,
                word="diffID",
                note=came,
                shared_with=use.shared_with,
            )
        )
    return plates


def _config(found: Image) -> dict[str, Any]:
    """What a container of it is given unless it asks otherwise."""
    document = json.loads(found.config)
    inner = document.get("config")
    inner = inner if isinstance(inner, dict) else {}
    return {
        "entrypoint": inner.get("Entrypoint") or [],
        "command": inner.get("Cmd") or [],
        "env": inner.get("Env") or [],
        "working_dir": inner.get("WorkingDir") or "/",
        "user": inner.get("User") or "root",
        "ports": sorted(inner.get("ExposedPorts") or {}),
        "platform": f"{document.get('os', '')}/{document.get('architecture', '')}",
        "created": document.get("created") or "",
    }


@require_POST
@member_page
def image_remove(request: HttpRequest, actor: Actor, team: str, slug: str, image_id: str) -> HttpResponse:
    project = get_project_by_path(actor, team, slug)
    found = queries.resolve(actor, project, image_id)
    try:
        job = services.remove_image(actor, found)
    except NotAllowed:
        raise
    except UserError as error:
        context = {"project": project, "image": found, "error": error, "nav": "projects"}
        return render(request, "console/image_refused.html", context, status=409)
    return redirect("job", job.hex)
