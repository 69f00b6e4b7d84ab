"""A project's accounts at other registries."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotAllowed, NotFound
from slipway.accounts.policy import Action, can
from slipway.catalog import credentials
from slipway.catalog.asking import Registry
from slipway.catalog.credentials_api import run_test
from slipway.catalog.models import RegistryCredential
from slipway.catalog.registries import Registries
from slipway.console.calls import Call, curls
from slipway.console.forms import Styled, blame
from slipway.console.members import member_page, waiting_page
from slipway.console.views.answers import done
from slipway.projects.models import Project
from slipway.projects.queries import get_project_by_path
from slipway.threads import look
from workers.errors import UserError

registry = Registry


class AccountForm(Styled):
    host = forms.CharField(
        label="Registry",
        max_length=255,
        help_text="docker.io, registry.example.org or host:5000.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}),
    )
    username = forms.CharField(
        label="Name",
        max_length=255,
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}),
    )
    secret = forms.CharField(
        label="Password or token",
        max_length=credentials.SECRET_MAX,
        strip=False,
        help_text="Kept encrypted, used by nodes only, never shown again.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


@require_http_methods(["GET", "POST"])
@member_page
def registries(request: HttpRequest, actor: Actor, team: str, slug: str) -> HttpResponse:
    project = get_project_by_path(actor, team, slug)
    accounts = credentials.list_credentials(actor, project)
    may_manage = can(actor, Action.MANAGE, project)
    form = AccountForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        asked = form.cleaned_data
        try:
            made, _ = credentials.set_credential(
                actor, project, asked["host"], asked["username"].strip(), asked["secret"]
            )
        except (NotAllowed, NotFound):
            raise
        except UserError as error:
            named = "host" if error.code == "REGISTRY_NOT_ALLOWED" else ""
            blame(form, error, {"": named} if named else None)
        else:
            return done(request, f"The account at {made.host} is kept. Test it to be sure.", _url(project))
    path = f"/projects/{project.path}/registry-credentials"
    body = {"username": "ada", "secret": "…"}
    context = {
        "project": project,
        "accounts": accounts[: credentials.PER_PROJECT_MAX],
        "form": form,
        "may_manage": may_manage,
        "rules": Registries.of_settings(),
        "nav": "projects",
        "calls": curls(
            request,
            Call("Accounts", "GET", path),
            Call("Set one", "PUT", f"{path}/registry.example.org", body),
            Call("Test one", "POST", f"{path}/registry.example.org/test"),
            Call("Forget one", "DELETE", f"{path}/registry.example.org"),
        ),
    }
    return render(request, "console/registries.html", context, status=422 if form.errors else 200)


@require_POST
@member_page
def account_remove(request: HttpRequest, actor: Actor, team: str, slug: str, host: str) -> HttpResponse:
    project = get_project_by_path(actor, team, slug)
    credentials.remove_credential(actor, project, host)
    return done(request, f"The account at {host} is forgotten.", _url(project))


@require_POST
@waiting_page
async def account_test(request: HttpRequest, actor: Actor, team: str, slug: str, host: str) -> HttpResponse:
    project, account = await look(_find, actor, team, slug, host)
    tested = await run_test(actor, account, registry)
    return await look(_report, request, project, tested)


def _find(actor: Actor, team: str, slug: str, host: str) -> tuple[Project, RegistryCredential]:
    project = get_project_by_path(actor, team, slug)
    return project, credentials.get_credential(actor, project, host)


def _report(request: HttpRequest, project: Project, tested: RegistryCredential) -> HttpResponse:
    if tested.test_error:
        messages.error(request, tested.test_error)
        return redirect(_url(project))
    return done(request, f"{tested.host} lets {tested.username} in.", _url(project))


def _url(project: Project) -> str:
    return reverse("project-registries", args=[project.team.slug, project.slug])
