"""What a node says of itself every few seconds, noted on its row."""

from __future__ import annotations

import json

import structlog
from django.utils import timezone

from slipway.nodes.models import Node

log = structlog.get_logger(__name__)
TEXT_MAX = 16_384


def key(node: str) -> str:
    return f"slipway:heartbeat:{node}"


def note(node: Node, value: bytes | str | None) -> bool:
    """Note the heartbeat if it is another than the last; True if so. The platform's clock dates it."""
    facts = _parse(node, value)
    if facts is None or (facts.get("at") == node.facts.get("at") and node.heartbeat_at is not None):
        return False
    Node.objects.filter(pk=node.pk).update(facts=facts, heartbeat_at=timezone.now())
    return True


def _parse(node: Node, value: bytes | str | None) -> dict[str, object] | None:
    if value is None or len(value) > TEXT_MAX:
        return None
    try:
        facts = json.loads(value)
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        log.warning("heartbeat_refused", node=node.name)
        return None
    return facts
