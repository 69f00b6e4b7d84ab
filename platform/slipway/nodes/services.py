"""Writes: nodes and what they are home to."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction

from slipway.nodes.errors import NoNode
from slipway.nodes.models import Node
from slipway.projects.models import Project


def register_node(name: str, public_key: str, signed_by: str) -> Node:
    """Note the keys of node ``name``; safe to repeat, a new key replaces the old one."""
    node, _ = Node.objects.update_or_create(
        name=name, defaults={"public_key": public_key, "signed_by": signed_by}
    )
    return node


def ensure_home(project: Project) -> Node:
    """The project's home node, chosen on first use: this machine's if registered, else the first.

    Call inside the transaction that needs it. Raise ``NoNode``.
    """
    if project.node is not None:
        return project.node
    with transaction.atomic():
        locked = Project.objects.select_for_update(of=("self",)).select_related("node").get(pk=project.pk)
        home = locked.node or _choose_home()
        if locked.node is None:
            Project.objects.filter(pk=project.pk).update(node=home)
    project.node = home
    return home


def _choose_home() -> Node:
    node = Node.objects.filter(name=settings.SLIPWAY_NODE).first() or Node.objects.order_by("name").first()
    if node is None:
        raise NoNode("No node is registered, so nothing can run yet. Run `manage.py register_node` on one.")
    return node
