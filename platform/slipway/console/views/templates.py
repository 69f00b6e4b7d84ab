"""Templates: filled in and run by members, kept by administrators."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_http_methods, require_POST

from slipway.accounts.actors import Actor
from slipway.accounts.policy import Action, can
from slipway.console.calls import Call, curls
from slipway.console.forms import blame
from slipway.console.members import member_page
from slipway.console.template_forms import (
    FieldForms,
    TemplateForm,
    TemplateRunForm,
    initial_fields,
    initial_of,
)
from slipway.console.views.answers import done
from slipway.projects.models import Project
from slipway.projects.queries import get_project_by_path, list_projects
from slipway.templates import services
from slipway.templates.models import Template
from slipway.templates.queries import fields_of, get_template, may_edit
from workers.errors import SlipwayError

PROJECTS_MAX = 200
OF_IMAGE = ("IMAGE_UNKNOWN", "REFERENCE_INVALID", "IMAGE_AMBIGUOUS")


def runnable_projects(actor: Actor) -> list[Project]:
    """Where the actor may run something."""
    found = [project for project in list_projects(actor)[:PROJECTS_MAX] if not project.library]
    return [project for project in found if can(actor, Action.WRITE, project)]


@require_http_methods(["GET", "HEAD", "POST"])
@member_page
def template(request: HttpRequest, actor: Actor, template: str) -> HttpResponse:
    """The form; filled in, the container. Secrets made for it are on the answer and nowhere else."""
    found = get_template(actor, template)
    projects = runnable_projects(actor)
    # A button of the catalog says where, and nothing else: what is left out has its default.
    given = _with_defaults(request, found) if request.method == "POST" else None
    initial = {"project": request.GET.get("project", "")}
    form = TemplateRunForm(given, projects=projects, fields=fields_of(found), initial=initial)
    error: SlipwayError | None = None
    if request.method == "POST" and form.is_valid():
        project = get_project_by_path(actor, *form.cleaned_data["project"].split("/"))
        name = form.cleaned_data["name"] or None
        try:
            launched = services.run_template(actor, project, found, form.values(), name=name)
        except SlipwayError as raised:
            error = raised if raised.code in OF_IMAGE else None
            if error is None:
                blame(form, raised, {field.name: f"v-{field.name}" for field in fields_of(found)})
        else:
            return _launched(request, found, launched)
    return _page(request, actor, found, form, error)


def _with_defaults(request: HttpRequest, found: Template) -> Any:
    if "direct" not in request.POST:
        return request.POST
    given = request.POST.copy()
    for field in fields_of(found):
        given.setdefault(f"v-{field.name}", field.default)
    return given


def _page(
    request: HttpRequest, actor: Actor, found: Template, form: TemplateRunForm, error: SlipwayError | None
) -> HttpResponse:
    values = {field.name: field.default or "…" for field in fields_of(found) if field.kind != "secret"}
    run = Call("Run it", "POST", f"/projects/acme/shop/templates/{found.slug}/run", {"values": values})
    context = {
        "template": found,
        "form": form,
        "error": error,
        "may_edit": may_edit(actor),
        "nav": "catalog",
        "calls": curls(request, Call("This template", "GET", f"/templates/{found.slug}"), run),
    }
    return render(request, "console/template.html", context, status=422 if form.errors or error else 200)


def _launched(request: HttpRequest, found: Template, launched: services.Launched) -> HttpResponse:
    if not launched.generated:
        return redirect("container", launched.container.id)
    context = {"template": found, "launched": launched, "container": launched.container, "nav": "catalog"}
    response = render(request, "console/template_launched.html", context)
    patch_cache_control(response, no_store=True)
    return response


# --------------------------------------------------------------------------- keeping them


@require_http_methods(["GET", "HEAD", "POST"])
@member_page
def template_new(request: HttpRequest, actor: Actor) -> HttpResponse:
    return _edit(request, actor, None)


@require_http_methods(["GET", "HEAD", "POST"])
@member_page
def template_edit(request: HttpRequest, actor: Actor, template: str) -> HttpResponse:
    return _edit(request, actor, get_template(actor, template))


def _edit(request: HttpRequest, actor: Actor, found: Template | None) -> HttpResponse:
    if not may_edit(actor):
        raise Http404("Templates are kept by administrators.")
    initial = initial_of(found) if found else {"icon": "package"}
    given = request.POST if request.method == "POST" else None
    form = TemplateForm(given, initial=initial)
    fields = FieldForms(
        given,
        prefix="field",
        initial=initial_fields(fields_of(found)) if found else [],
    )
    if request.method == "POST" and form.is_valid() and fields.is_valid():
        draft = form.draft([each.stored() for each in fields if each.cleaned_data.get("name")])
        try:
            if found is None:
                made = services.create_template(actor, draft)
            else:
                made = services.change_template(actor, found, draft)
        except SlipwayError as error:
            names = {"name": "slug"} if error.code == "NAME_TAKEN" else {}
            blame(form, error, TemplateForm.NAMES | names)
        else:
            return done(request, f"{made.name} is in the catalog.", reverse("template", args=[made.slug]))
    path = f"/templates/{found.slug}" if found else "/templates"
    body = {"slug": "redis", "name": "Redis", "image": "redis:latest"}
    call = Call("Change it" if found else "Make it", "PUT" if found else "POST", path, body)
    context = {
        "template": found,
        "form": form,
        "fields": fields,
        "nav": "catalog",
        "calls": curls(request, call),
    }
    return render(
        request, "console/template_edit.html", context, status=422 if form.errors or fields.is_bound else 200
    )


@require_POST
@member_page
def template_remove(request: HttpRequest, actor: Actor, template: str) -> HttpResponse:
    found = get_template(actor, template)
    services.remove_template(actor, found)
    return done(request, f"{found.name} is no longer in the catalog.", f"{reverse('catalog')}?tab=templates")
