"""The catalog: what there is to run, and the repositories behind it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from slipway.accounts.actors import Actor
from slipway.console.calls import Call, curls
from slipway.console.members import member_page
from slipway.console.views.answers import live_page
from slipway.console.views.templates import runnable_projects
from slipway.templates.queries import list_templates, may_edit

QUERY_MAX = 200
TABS = (("templates", "Templates", "package"),)


@require_safe
@member_page
def catalog(request: HttpRequest, actor: Actor) -> HttpResponse:
    """``?tab=`` and ``?q=``; ``?project=`` is where a button runs something."""
    asked = request.GET.get("tab", "")
    tab = asked if asked in [name for name, _, _ in TABS] else TABS[0][0]
    return _templates(request, actor, tab)


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
