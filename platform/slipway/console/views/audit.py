"""The audit log: what happened, who did it, from where; filtered, and taken away as a file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_safe

from slipway.accounts.actors import Actor
from slipway.accounts.models import Team
from slipway.accounts.queries import get_team
from slipway.audit.api import export_response
from slipway.audit.exports import TYPES
from slipway.audit.queries import Search, in_order, list_entries, managed_teams, sees_all
from slipway.console.calls import Call, curls
from slipway.console.members import member_page
from slipway.pagination import paginate

PAGE = 50
FILTERS = ("actor", "action", "object", "since", "until")


@require_safe
@member_page
def audit(request: HttpRequest, actor: Actor) -> HttpResponse:
    team, search = _team(request, actor), _search(request)
    teams = managed_teams(actor)
    if not teams and not sees_all(actor):
        return render(request, "console/audit.html", {"closed": True, "nav": "audit"}, status=403)
    page = paginate(
        request,
        list_entries(actor, team, search),
        ["-seq"],
        cursor=request.GET.get("cursor", ""),
        limit=PAGE,
    )
    given = {name: request.GET.get(name, "") for name in FILTERS}
    path = f"/teams/{team.slug}/audit" if team else "/audit"
    context: dict[str, Any] = {
        "page": page,
        "teams": teams,
        "team": team,
        "given": given,
        "filtered": any(given.values()),
        "query": request.GET.urlencode(),
        "nav": "audit",
        "calls": curls(
            request, Call("The log", "GET", path), Call("As a file", "GET", f"{path}/export?format=csv")
        ),
    }
    return render(request, "console/audit.html", context)


@require_safe
@member_page  # type: ignore[arg-type]  # a stream is a response all the same
def audit_export(request: HttpRequest, actor: Actor, kind: str) -> StreamingHttpResponse:
    if kind not in TYPES:
        raise Http404(f"There is no export as {kind}.")
    team = _team(request, actor)
    entries = in_order(list_entries(actor, team, _search(request)))
    return export_response(kind, entries, team.slug if team else "all")


def _team(request: HttpRequest, actor: Actor) -> Team | None:
    slug = request.GET.get("team", "")
    return get_team(actor, slug) if slug else None


def _search(request: HttpRequest) -> Search:
    words = {name: request.GET.get(name, "").strip()[:200] for name in ("actor", "action", "object")}
    until = _day(request.GET.get("until", ""))
    return Search(
        **words,
        since=_day(request.GET.get("since", "")),
        until=until + timedelta(days=1) if until else None,
    )


def _day(text: str) -> datetime | None:
    """The beginning of a day as date fields write it; None for anything else."""
    try:
        day = parse_date(text)
    except ValueError:
        return None
    return datetime(day.year, day.month, day.day, tzinfo=UTC) if day else None
