"""The catalog: what there is to run, and the repositories behind it."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from slipway.accounts.actors import Actor
from slipway.console.calls import Call, curls
from slipway.console.members import member_page
from slipway.console.views.answers import live_page
from slipway.console.views.templates import runnable_projects
from slipway.pagination import paginate
from slipway.repositories.access import Access
from slipway.repositories.models import Visibility
from slipway.repositories.search import KINDS, PLACES, Wanted, cards, search
from slipway.templates.queries import list_templates, may_edit

QUERY_MAX = 200
PAGE = 24
TABS = (
    ("public", "Public", "network"),
    ("team", "Team", "users"),
    ("mine", "Mine", "user"),
    ("templates", "Templates", "package"),
)
AGES = (("7", "in a week"), ("30", "in a month"), ("365", "in a year"))
ARCHITECTURES = ("amd64", "arm64", "arm", "386", "riscv64", "s390x", "ppc64le")


@require_safe
@member_page
def catalog(request: HttpRequest, actor: Actor) -> HttpResponse:
    """``?tab=``, ``?q=`` and facets; ``?project=`` is where a button runs something."""
    asked = request.GET.get("tab", "")
    tab = asked if asked in [name for name, _, _ in TABS] else "templates"
    return _templates(request, actor, tab) if tab == "templates" else _repositories(request, actor, tab)


def _templates(request: HttpRequest, actor: Actor, tab: str) -> HttpResponse:
    query = request.GET.get("q", "")[:QUERY_MAX]
    templates = list(list_templates(actor, query=query))
    categories: dict[str, list[object]] = {}
    for template in templates:
        categories.setdefault(template.category or "Others", []).append(template)
    context = {
        "tab": tab,
        "tabs": TABS,
        "query": query,
        "categories": categories.items(),
        "projects": runnable_projects(actor),
        "chosen": request.GET.get("project", ""),
        "may_edit": may_edit(actor),
        "nav": "catalog",
        "calls": curls(
            request,
            Call("Templates", "GET", "/templates"),
            Call("Run one", "POST", "/projects/acme/shop/templates/redis/run", {"values": {}}),
        ),
    }
    return live_page(request, "console/catalog.html", "console/_templates.html", context)


def _repositories(request: HttpRequest, actor: Actor, tab: str) -> HttpResponse:
    wanted = wanted_of(request, tab)
    context = found_repositories(request, Access.of(actor), wanted) | {
        "tab": tab,
        "tabs": TABS,
        "query": wanted.words,
        "wanted": wanted,
        "kinds": KINDS,
        "ages": AGES,
        "architectures": ARCHITECTURES,
        "visibilities": Visibility.choices if tab != "public" else (),
        "host": request.get_host(),
        "nav": "catalog",
        "calls": curls(
            request, Call("Search", "GET", f"/repositories?{urlencode({'place': tab, 'q': wanted.words})}")
        ),
    }
    return live_page(request, "console/catalog.html", "console/_repositories.html", context)


def found_repositories(request: HttpRequest, access: Access, wanted: Wanted) -> dict[str, Any]:
    rows = search(access, wanted, timezone.now())
    page = paginate(request, rows, ["-sorted_at", "-id"], cursor=request.GET.get("cursor", ""), limit=PAGE)
    return {"page": page, "cards": cards(page.items)}


def wanted_of(request: HttpRequest, place: str) -> Wanted:
    """What is no facet of ours means any."""
    given = request.GET

    def one_of(name: str, known: Any) -> str:
        value = given.get(name, "")
        return value if value in known else ""

    days = one_of("days", [number for number, _ in AGES])
    return Wanted(
        words=given.get("q", "")[:QUERY_MAX],
        place=place if place in PLACES else "",
        visibility=one_of("visibility", Visibility.values),
        kind=one_of("kind", KINDS),
        architecture=one_of("architecture", ARCHITECTURES),
        days=int(days) if days else None,
    )
