"""Images in and out of a project's list: pulled, pushed, found, named."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotAllowed, NotFound
from slipway.accounts.policy import Action, require
from slipway.catalog import queries, tagging
from slipway.catalog.models import Image
from slipway.catalog.pulls import pull_image
from slipway.catalog.pushes import push_image
from slipway.catalog.registries import Registries
from slipway.catalog.search import Found, search_lists, search_repositories, search_upstream
from slipway.console.calls import Call, curls
from slipway.console.forms import Styled, blame
from slipway.console.members import member_page, waiting_page
from slipway.console.views.answers import done
from slipway.projects.models import Project
from slipway.projects.queries import get_project_by_path
from slipway.threads import look
from workers.errors import UserError

QUERY_MAX = 200


def _mono(placeholder: str) -> forms.TextInput:
    return forms.TextInput(
        attrs={
            "class": "form-control mono",
            "autocomplete": "off",
            "autocapitalize": "off",
            "spellcheck": "false",
            "placeholder": placeholder,
        }
    )


class PullForm(Styled):
    reference = forms.CharField(
        label="Image",
        max_length=400,
        widget=_mono("python:3.12-slim"),
        help_text="As for docker pull: a name with a tag or a digest, with the registry's host in front.",
    )
    platform = forms.CharField(
        label="Platform",
        max_length=60,
        required=False,
        widget=_mono("linux/amd64"),
        help_text="Empty: the node's.",
    )
    refresh = forms.BooleanField(label="Ask the registry even if it was asked a moment ago", required=False)


@require_http_methods(["GET", "POST"])
@member_page
def image_pull(request: HttpRequest, actor: Actor, team: str, slug: str) -> HttpResponse:
    """The form, with what a search for ``?q=`` finds below it."""
    project = get_project_by_path(actor, team, slug)
    require(actor, Action.WRITE, project)
    form = PullForm(request.POST or None, initial={"reference": request.GET.get("reference", "")[:400]})
    if request.method == "POST" and form.is_valid():
        asked = form.cleaned_data
        try:
            job = pull_image(
                actor,
                project,
                asked["reference"].strip(),
                platform=asked["platform"].strip() or None,
                refresh=asked["refresh"],
            )
        except (NotAllowed, NotFound):
            raise
        except UserError as error:
            named = "reference" if error.code in ("REFERENCE_INVALID", "REGISTRY_NOT_ALLOWED") else ""
            blame(form, error, {"": named} if named else None)
        else:
            return redirect("job", job.hex)
    words = request.GET.get("q", "").strip()[:QUERY_MAX]
    context = {
        "project": project,
        "form": form,
        "words": words,
        "found": _found_here(actor, words, project) if words else [],
        "searched": Registries.of_settings().searched,
        "nav": "projects",
        "calls": curls(
            request,
            Call("Pull", "POST", f"/projects/{project.path}/images/pull", {"reference": "busybox:latest"}),
            Call("Search", "GET", "/images/search?q=busybox"),
        ),
    }
    return render(request, "console/image_pull.html", context, status=422 if form.errors else 200)


def _found_here(actor: Actor, words: str, project: Project) -> list[Found]:
    registries = Registries.of_settings()
    return search_lists(actor, words, project) + search_repositories(actor, words, registries)


@require_safe
@waiting_page
async def images_upstream(request: HttpRequest, actor: Actor, team: str, slug: str) -> HttpResponse:
    """What registries outside find for ``?q=``: they may take their time."""
    project = await look(_writable, actor, team, slug)
    words = request.GET.get("q", "").strip()[:QUERY_MAX]
    outcome = await search_upstream(words, Registries.of_settings()) if words else None
    context = {"project": project, "outcome": outcome}
    return await look(render, request, "console/_found_upstream.html", context)


def _writable(actor: Actor, team: str, slug: str) -> Project:
    project = get_project_by_path(actor, team, slug)
    require(actor, Action.WRITE, project)
    return project


# --------------------------------------------------------------------------- of one image


@require_POST
@member_page
def image_push(request: HttpRequest, actor: Actor, team: str, slug: str, image_id: str) -> HttpResponse:
    project, image = _found(actor, team, slug, image_id)
    asked = request.POST.get("reference", "").strip()
    compression = "zstd" if request.POST.get("compression") == "zstd" else "gzip"
    try:
        job = push_image(actor, project, image, asked, compression=compression)
    except (NotAllowed, NotFound):
        raise
    except UserError as error:
        return _told(request, project, image, error)
    return redirect("job", job.hex)


@require_POST
@member_page
def image_tag(request: HttpRequest, actor: Actor, team: str, slug: str, image_id: str) -> HttpResponse:
    project, image = _found(actor, team, slug, image_id)
    try:
        reference = tagging.tag_image(actor, project, image, request.POST.get("reference", "").strip())
    except (NotAllowed, NotFound):
        raise
    except UserError as error:
        return _told(request, project, image, error)
    return done(request, f"{reference} means this image now.", _url(project, image))


@require_POST
@member_page
def image_untag(request: HttpRequest, actor: Actor, team: str, slug: str, image_id: str) -> HttpResponse:
    project, image = _found(actor, team, slug, image_id)
    name = request.POST.get("reference", "").strip()
    try:
        tagging.untag_image(actor, project, name, image)
    except (NotAllowed, NotFound):
        raise
    except UserError as error:
        return _told(request, project, image, error)
    return done(request, f"{name} means nothing any more.", _url(project, image))


def _found(actor: Actor, team: str, slug: str, image_id: str) -> tuple[Project, Image]:
    project = get_project_by_path(actor, team, slug)
    return project, queries.resolve(actor, project, image_id)


def _url(project: Project, image: Image) -> str:
    return reverse("image", args=[project.team.slug, project.slug, image.image_id])


def _told(request: HttpRequest, project: Project, image: Image, error: UserError) -> HttpResponse:
    messages.error(request, error.message)
    return redirect(_url(project, image))


def push_target(project: Project, names: list[str], short_id: str) -> str:
    """What the form to push proposes: the project's own repository, under the image's name."""
    last = names[0].rpartition("/")[2] if names else f"{project.slug}:{short_id}"
    return f"{Registries.of_settings().own[0]}/{project.path}/{last}"
