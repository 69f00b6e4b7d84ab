"""Repositories: one with its tags and layers, for whoever may pull; its settings; a project's list."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from slipway import keeping
from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotFound
from slipway.accounts.models import User
from slipway.accounts.policy import Action, can
from slipway.blobs.opening import blob_store
from slipway.console.calls import Call, curls
from slipway.console.figures import size_text
from slipway.console.forms import blame
from slipway.console.markdown import render_markdown
from slipway.console.members import actor_of, member_page
from slipway.console.repository_forms import ReadmeForm, RulesForm, VisibilityForm, initial_rules
from slipway.console.stacks import Plate, plate_of
from slipway.console.templatetags.console import repository_key
from slipway.console.views.answers import done
from slipway.console.views.templates import runnable_projects
from slipway.ids import parse_id
from slipway.pagination import InvalidCursor, paginate
from slipway.projects.queries import get_project_by_path
from slipway.repositories import manifests, queries, services
from slipway.repositories.access import Access, require_manage
from slipway.repositories.errors import NoSuchManifest
from slipway.repositories.models import Manifest, Repository, Visibility
from slipway.repositories.search import cards, kind_of
from slipway.repositories.stacks import stack_of
from workers.errors import SlipwayError, UserError
from workers.oci.digest import Digest

TAGS = 30
REFERRERS_MAX = 50


def address_of(repository: Repository, view: str = "repository") -> str:
    team, slug = repository.path.split("/")[:2]
    return reverse(view, args=[team, slug, repository_key(repository)])


@require_safe
def repository(request: HttpRequest, team: str, slug: str, repository: str) -> HttpResponse:
    """``?tag=`` or ``?digest=`` chooses what of it is shown. Public ones are shown to everybody."""
    actor = actor_of(request) if isinstance(request.user, User) else None
    access = Access.of(actor) if actor else Access()
    try:
        found = _find(actor, access, team, slug, repository)
        shown = _chosen(request, found)
    except (NotFound, UserError) as error:
        raise Http404(error.message) from error
    try:
        page = paginate(
            request,
            queries.newest_tags(found),
            ["-updated_at", "-id"],
            cursor=request.GET.get("cursor", ""),
            limit=TAGS,
        )
    except InvalidCursor as error:
        raise BadRequest(error.message) from error
    context = {
        "repository": found,
        "project": found.project,
        "key": repository_key(found),
        "page": page,
        "figures": queries.with_figures(found),
        "readme": render_markdown(found.readme) if found.readme else "",
        "pull": f"{request.get_host()}/{found.path}",
        "may_manage": actor is not None and can(actor, Action.MANAGE, found.project),
        "may_write": actor is not None and can(actor, Action.WRITE, found.project),
        "projects": runnable_projects(actor) if actor else [],
        "layout": "member.html" if actor else "visitor.html",
        "nav": "catalog",
        "calls": _calls(request, found) if actor else None,
        **(_about(request, access, found, shown) if shown else {}),
    }
    return render(request, "console/repository.html", context)


def _find(actor: Actor | None, access: Access, team: str, slug: str, key: str) -> Repository:
    if actor is not None:
        return queries.get_repository_in(actor, team, slug, key)
    rows = queries.readable(access).filter(project__team__slug=team, project__slug=slug)
    found = rows.filter(name=key).first()
    if found is None and (row_id := parse_id(key)) is not None:
        found = rows.filter(pk=row_id).first()
    if found is None:
        raise NotFound(f"There is no repository {team}/{slug}/{key[:80]}.")
    return found


def _chosen(request: HttpRequest, found: Repository) -> Manifest | None:
    reference = request.GET.get("digest") or request.GET.get("tag") or ""
    if not reference:
        newest = queries.newest_tags(found).first()
        if newest is None:
            return None
        reference = newest.manifest.digest
    return queries.show_manifest(found, reference[:300])


def _about(request: HttpRequest, access: Access, found: Repository, manifest: Manifest) -> dict[str, Any]:
    stack = stack_of(access, manifest, blob_store())
    kind = kind_of(manifest)
    names = queries.some_tags(manifest, TAGS)
    chosen = request.GET.get("tag") or (names.items[0] if names.items else "")
    said = queries.list_referrers(found, Digest.parse(manifest.digest))
    referrers = queries.some(said, REFERRERS_MAX)
    layers = sum(line.layer.size for line in stack.lines if line.layer)
    return {
        "manifest": manifest,
        "kind": kind,
        "tag": chosen,
        "tag_names": names,
        "platform": stack.platform,
        "plates": _plates(stack.lines) if kind == "image" else [],
        "whole": layers,
        "shared_size": stack.shared_size,
        "children": manifest.children.all(),
        "blobs": [] if kind == "image" else manifest.references.all(),
        "referrers": referrers,
        "frees": manifests.frees(manifest),
        "reference": _reference(request, found, manifest, chosen),
    }


def _reference(request: HttpRequest, found: Repository, manifest: Manifest, tag: str) -> str:
    return f"{request.get_host()}/{found.path}" + (f":{tag}" if tag else f"@{manifest.digest}")


def _plates(lines: Any) -> list[Plate]:
    """Top of the stack first."""
    plates = []
    for line in reversed(lines):
        if line.layer is None:
            plates.append(plate_of(line.created_by))
        else:
            shared = line.layer.shared_with
            plates.append(
                plate_of(line.created_by, size=line.layer.size, digest=line.layer.digest, shared_with=shared)
            )
    return plates


def _calls(request: HttpRequest, found: Repository) -> Any:
    path = f"/projects/{found.project.path}/repositories/{repository_key(found)}"
    return curls(
        request,
        Call("This repository", "GET", path),
        Call("Its tags", "GET", f"{path}/tags"),
        Call("One manifest", "GET", f"{path}/manifests/latest"),
        Call("Make it public", "PATCH", path, {"visibility": "public"}),
        Call("Delete a tag", "DELETE", f"{path}/tags/old"),
    )


# --------------------------------------------------------------------------- what is done to one


@require_safe
@member_page
def repository_run(request: HttpRequest, actor: Actor, team: str, slug: str, repository: str) -> HttpResponse:
    """To the run form of ``?project=``, with the image ``?image=``; there what is missing is pulled."""
    queries.get_repository_in(actor, team, slug, repository)
    project = get_project_by_path(actor, *_two(request.GET.get("project", "")))
    where = reverse("run", args=[project.team.slug, project.slug])
    return redirect(f"{where}?{urlencode({'image': request.GET.get('image', '')[:400]})}")


def _two(path: str) -> tuple[str, str]:
    team, _, slug = path.partition("/")
    return team, slug


@require_POST
@member_page
def repository_delete_tag(
    request: HttpRequest, actor: Actor, team: str, slug: str, repository: str
) -> HttpResponse:
    """The tag of the form, with its manifest if nothing else names it; without one, the manifest."""
    found = queries.get_repository_in(actor, team, slug, repository)
    access = Access.of(actor)
    tag, digest = request.POST.get("tag", ""), request.POST.get("digest", "")
    if tag:
        freed = manifests.delete_tag(access, found.path, tag, with_manifest=True)
    elif digest:
        freed = manifests.delete_manifest(access, found.path, digest)
    else:
        raise NoSuchManifest(found.path, "")
    what = tag or digest[:19]
    return done(request, f"{what} is deleted; {size_text(freed.size)} are freed.", address_of(found))


@require_http_methods(["GET", "HEAD", "POST"])
@member_page
def repository_settings(
    request: HttpRequest, actor: Actor, team: str, slug: str, repository: str
) -> HttpResponse:
    """What the button says: visibility, readme, rules, or a dry run of the rules as they are typed.

    Developers see and change the readme alone.
    """
    found = queries.get_repository_in(actor, team, slug, repository)
    act = request.POST.get("act", "") if request.method == "POST" else ""
    may_manage = can(actor, Action.MANAGE, found.project)
    if not may_manage and (act not in ("", "readme") or not can(actor, Action.WRITE, found.project)):
        raise Http404("These settings of a repository are its project's maintainers'.")
    forms = _settings_forms(request, found, act)
    plan = None
    form = forms.get("rules" if act == "try" else act)
    if form is not None and form.is_valid():
        try:
            if act != "try":
                return _changed(request, actor, found, act, form)
            plan = keeping.dry_run(actor, found, form.rules())
        except SlipwayError as error:
            blame(form, error)
    context = {
        "repository": found,
        "project": found.project,
        "key": repository_key(found),
        "forms": forms,
        "plan": plan,
        "may_manage": may_manage,
        "going": [verdict for verdict in plan.verdicts if not verdict.kept] if plan else [],
        "usage": queries.usage_of(found),
        "nav": "catalog",
        "calls": _settings_calls(request, found),
    }
    failed = act and plan is None
    return render(request, "console/repository_settings.html", context, status=422 if failed else 200)


def _settings_forms(request: HttpRequest, found: Repository, act: str) -> dict[str, Any]:
    """By what their buttons say; the one that was sent holds what was typed."""
    return {
        "visibility": VisibilityForm(
            request.POST if act == "visibility" else None, initial={"visibility": found.visibility}
        ),
        "readme": ReadmeForm(request.POST if act == "readme" else None, initial={"readme": found.readme}),
        "rules": RulesForm(request.POST if act in ("rules", "try") else None, initial=initial_rules(found)),
    }


def _changed(request: HttpRequest, actor: Actor, found: Repository, act: str, form: Any) -> HttpResponse:
    said = form.cleaned_data
    match act:
        case "visibility":
            services.set_visibility(actor, found, Visibility(said["visibility"]))
        case "readme":
            services.set_readme(actor, found, said["readme"].replace("\r\n", "\n"))
        case "rules":
            services.set_rules(actor, found, immutable_tags=form.immutable_tags(), retention=form.rules())
    return done(request, "It is changed.", address_of(found, "repository-settings"))


def _settings_calls(request: HttpRequest, found: Repository) -> Any:
    path = f"/projects/{found.project.path}/repositories/{repository_key(found)}"
    return curls(
        request,
        Call("Change it", "PATCH", path, {"retention": {"keep_last": 20}, "immutable_tags": ["v*"]}),
        Call("What rules would delete", "PUT", f"{path}/retention", {"keep_last": 20}),
        Call("Delete it", "DELETE", f"{path}?confirm={found.path}"),
    )


@require_POST
@member_page
def repository_delete(
    request: HttpRequest, actor: Actor, team: str, slug: str, repository: str
) -> HttpResponse:
    found = queries.get_repository_in(actor, team, slug, repository)
    require_manage(actor, found)
    if request.POST.get("confirm") != found.path:
        return done(
            request,
            f"Nothing was deleted: {found.path} was to be typed.",
            address_of(found, "repository-settings"),
        )
    freed = services.delete_repository(actor, found)
    where = reverse("repositories", args=[found.project.team.slug, found.project.slug])
    return done(request, f"{found.path} is deleted; {size_text(freed.size)} are freed.", where)


@require_safe
@member_page
def repository_list(request: HttpRequest, actor: Actor, team: str, slug: str) -> HttpResponse:
    project = get_project_by_path(actor, team, slug)
    rows = queries.list_repositories(actor, project)
    page = paginate(request, rows, ["name", "id"], cursor=request.GET.get("cursor", ""), limit=TAGS)
    context = {
        "project": project,
        "page": page,
        "cards": cards(page.items),
        "host": request.get_host(),
        "nav": "projects",
        "calls": curls(request, Call("Repositories", "GET", f"/projects/{project.path}/repositories")),
    }
    return render(request, "console/repositories.html", context)
