"""Reads: nodes, for everybody who may see that they exist."""

from __future__ import annotations

from django.db.models import QuerySet

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotFound
from slipway.nodes.models import Node


def list_nodes(actor: Actor) -> QuerySet[Node]:
    """Administrators see the nodes; for everybody else there are none."""
    nodes = Node.objects.order_by("name")
    bound = actor.token is not None and actor.token.project_id is not None
    return nodes if actor.is_administrator and not bound else nodes.none()


def get_node(actor: Actor, name: str) -> Node:
    """Raise ``NotFound``."""
    node = list_nodes(actor).filter(name=name).first()
    if node is None:
        raise NotFound(f"There is no node {name[:63]!r} that you can see.")
    return node
