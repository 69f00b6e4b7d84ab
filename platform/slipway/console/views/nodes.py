"""Nodes, for administrators: are they there, what do they run, what did they last say."""

from __future__ import annotations

from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from slipway.accounts.actors import Actor
from slipway.console.members import member_page
from slipway.console.views.answers import live_page
from slipway.containers.models import ALIVE
from slipway.nodes.models import Node
from slipway.nodes.queries import list_nodes


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
        "nodes": [(node, node.is_live(now), _facts(node)) for node in found],
        "nav": "nodes",
    }
    return live_page(request, "console/nodes.html", "console/_nodes.html", context)
