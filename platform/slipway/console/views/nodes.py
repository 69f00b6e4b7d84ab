"""Nodes, for administrators: are they there, what do they run, what did they last say."""

from __future__ import annotations

from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from slipway.accounts.actors import Actor
from slipway.console.calls import Call, curls
from slipway.console.members import member_page, waiting_page
from slipway.console.views.answers import live_page
from slipway.containers.models import ALIVE
from slipway.jobs.queries import shares
from slipway.jobs.scheduling import slots_of
from slipway.nodes import agent
from slipway.nodes.models import Node
from slipway.nodes.queries import get_node, list_nodes
from slipway.threads import look
from workers.checks import Check, worst
from workers.errors import SlipwayError


def _facts(node: Node) -> list[tuple[str, str]]:
    """What the last heartbeat said, as far as people care."""
    said = node.facts
    counts = said.get("counts") or {}
    waiting = max(0, int(said.get("last_seq") or 0) - node.applied_seq)
    shown = [
        ("Runtime", said.get("runtime")),
        ("Slipway", said.get("version")),
        ("Kernel", said.get("kernel")),
        ("Containers held", counts.get("containers")),
        ("Events on their way", waiting),
    ]
    return [(name, str(value)) for name, value in shown if value is not None]


@require_safe
@member_page
def nodes(request: HttpRequest, actor: Actor) -> HttpResponse:
    if not actor.is_administrator:
        raise Http404("Nodes are for administrators.")
    now = timezone.now()
    found = list_nodes(actor).annotate(
        running=Count("containers", filter=Q(containers__removed_at=None, containers__observed__in=ALIVE)),
        waiting=Count(
            "containers", filter=Q(containers__removed_at=None, containers__resend_at__isnull=False)
        ),
    )
    context = {
        "nodes": [(node, node.is_live(now), _facts(node), slots_of(node), shares(node)) for node in found],
        "nav": "nodes",
        "calls": curls(
            request,
            Call("The nodes", "GET", "/nodes"),
            *(Call(f"What {node.name} offers", "GET", f"/nodes/{node.name}/checks") for node in found),
        ),
    }
    return live_page(request, "console/nodes.html", "console/_nodes.html", context)


@require_safe
@waiting_page
async def node_checks(request: HttpRequest, actor: Actor, node: str) -> HttpResponse:
    """The doctor's lines of one node, looked at now; a part of the page above."""
    found = await look(get_node, actor, node)
    context: dict[str, object] = {"node": found, "now": timezone.now()}
    try:
        lines = [Check(**line) for line in await agent.doctor(found)]
        context |= {"lines": _worst_first(lines), "verdict": worst(lines)}
    except SlipwayError as error:
        context["trouble"] = error.message
    return await look(render, request, "console/_node_checks.html", context)


def _worst_first(lines: list[Check]) -> list[Check]:
    order = {"missing": 0, "degraded": 1, "ok": 2}
    return sorted(lines, key=lambda line: order[line.status])
