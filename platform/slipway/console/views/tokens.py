"""Access tokens: made, shown once, revoked."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from slipway.accounts import queries, services
from slipway.accounts.actors import Actor
from slipway.accounts.models import Token
from slipway.console.calls import Call, curls
from slipway.console.forms import TokenForm, blame
from slipway.console.members import member_page
from slipway.console.views.answers import done
from slipway.projects.queries import list_projects
from workers.errors import UserError

SHOWN_MAX = 100


@require_http_methods(["GET", "POST"])
@member_page
def tokens(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The secret is part of this one answer and of nothing else: no redirect carries it, nothing keeps it."""
    projects = list(list_projects(actor))
    form = TokenForm(request.POST or None, projects=projects)
    made: tuple[Token, str] | None = None
    if request.method == "POST" and form.is_valid():
        project = next((each for each in projects if each.hex == form.cleaned_data["project"]), None)
        try:
            made = services.issue_token(
                actor,
                form.cleaned_data["name"],
                scopes=[form.cleaned_data["scope"]],
                project=project,
                expires_at=form.expiry(),
            )
        except UserError as error:
            blame(form, error)
        else:
            form = TokenForm(projects=projects)
    response = render(
        request, "console/tokens.html", _context(request, actor, form, made), status=_status(form, made)
    )
    response["Cache-Control"] = "no-store"
    return response


def _status(form: TokenForm, made: object) -> int:
    return 201 if made else 422 if form.errors else 200


def _context(
    request: HttpRequest, actor: Actor, form: TokenForm, made: tuple[Token, str] | None
) -> dict[str, Any]:
    now = timezone.now()
    found = list(queries.list_tokens(actor)[:SHOWN_MAX])
    return {
        "form": form,
        "made": made[0] if made else None,
        "secret": made[1] if made else "",
        "tokens": [each for each in found if each.revoked_at is None],
        "revoked": [each for each in found if each.revoked_at is not None],
        "now": now,
        "nav": "tokens",
        "calls": curls(
            request,
            Call("My tokens", "GET", "/tokens"),
            Call("Make one", "POST", "/tokens", {"name": "laptop", "scopes": ["read"]}),
        ),
    }


@require_POST
@member_page
def token_revoke(request: HttpRequest, actor: Actor, token_id: str) -> HttpResponse:
    token = queries.get_token(actor, token_id)
    services.revoke_token(actor, token)
    return done(request, f"{token.name} opens nothing any more.", reverse("tokens"))
