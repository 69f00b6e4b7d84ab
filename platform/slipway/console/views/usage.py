"""What projects use of what they may, and the requests for more."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotAllowed, NotFound
from slipway.accounts.policy import Action, can
from slipway.console.calls import Call, curls
from slipway.console.forms import blame
from slipway.console.members import member_page
from slipway.console.quota_forms import QuotaForm
from slipway.console.views.answers import done
from slipway.pagination import paginate
from slipway.projects import quotas
from slipway.projects.models import RequestState, Resource
from slipway.projects.queries import get_project_by_path, list_projects
from slipway.projects.usage import usage as usage_of
from slipway.projects.usage import usage_of_all
from workers.errors import SlipwayError

PAGE = 25
SHOWN = (Resource.CONTAINERS, Resource.CPU, Resource.MEMORY, Resource.DISK)


@require_safe
@member_page
def usage(request: HttpRequest, actor: Actor) -> HttpResponse:
    """All projects the actor sees, a page of them at a time, and the requests that wait."""
    page = paginate(
        request,
        list_projects(actor),
        ["team__slug", "slug"],
        cursor=request.GET.get("cursor", ""),
        limit=PAGE,
    )
    uses = usage_of_all(page.items)
    pending = quotas.list_requests(actor).filter(state=RequestState.PENDING)
    context = {
        "rows": [(each, [use for use in uses[each.pk] if use.resource in SHOWN]) for each in page.items],
        "page": page,
        "requests": list(pending[:PAGE]),
        "may_decide": quotas.may_decide(actor),
        "nav": "usage",
        "calls": curls(request, Call("Requests for more", "GET", "/quota-requests")),
    }
    return render(request, "console/usage.html", context)


@require_http_methods(["GET", "POST"])
@member_page
def quota(request: HttpRequest, actor: Actor, team: str, slug: str) -> HttpResponse:
    """One project: all its limits, and the form that asks for more."""
    project = get_project_by_path(actor, team, slug)
    form = QuotaForm(request.POST or None, initial={"resource": request.GET.get("resource")})
    if request.method == "POST" and form.is_valid():
        asked = form.cleaned_data
        try:
            quotas.ask(actor, project, Resource(asked["resource"]), asked["amount"], asked["reason"])
        except (NotAllowed, NotFound):
            raise
        except SlipwayError as error:
            blame(form, error)
        else:
            url = reverse("quota", args=[project.team.slug, project.slug])
            return done(request, "The administrators are asked.", url)
    path = f"/projects/{project.path}"
    body = {"resource": "containers", "amount": 300, "reason": "a load test"}
    context = {
        "project": project,
        "uses": usage_of(project),
        "form": form,
        "requests": quotas.list_requests(actor, project)[:PAGE],
        "may_ask": can(actor, Action.WRITE, project) and not project.library,
        "may_decide": quotas.may_decide(actor),
        "nav": "usage",
        "calls": curls(
            request,
            Call("What it uses", "GET", f"{path}/usage"),
            Call("Ask for more", "POST", f"{path}/quota-requests", body),
        ),
    }
    return render(request, "console/quota.html", context, status=422 if form.errors else 200)


@require_POST
@member_page
def quota_decide(request: HttpRequest, actor: Actor, request_id: str, verdict: str) -> HttpResponse:
    if verdict not in ("approve", "decline"):
        raise Http404("A request is approved or declined.")
    asked = quotas.get_request(actor, request_id)
    note = request.POST.get("note", "")
    row = quotas.decide(actor, asked, approve=verdict == "approve", note=note)
    return done(request, f"The request of {row.project.path} is {row.state}.", reverse("usage"))
