"""Writes: how much of nodes' slots a team gets beside others."""

from __future__ import annotations

from django.db import transaction

from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvalidRequest, NotAllowed
from slipway.accounts.models import Team
from slipway.audit.services import record
from slipway.jobs.fairness import WEIGHT_MAX
from slipway.jobs.models import Weight
from slipway.projects.quotas import may_decide

DEFAULT = 1


def weight_of(team: Team) -> int:
    row = Weight.objects.filter(team=team).first()
    return row.weight if row is not None else DEFAULT


def set_weight(actor: Actor, team: Team, weight: int) -> None:
    """From the next job that is let go. Administrators only. Raise ``NotAllowed``, ``InvalidRequest``."""
    if not may_decide(actor):
        raise NotAllowed("Only administrators weigh teams.")
    if not 1 <= weight <= WEIGHT_MAX:
        raise InvalidRequest(f"weight: 1 to {WEIGHT_MAX} are allowed.", field="weight")
    with transaction.atomic():
        before = weight_of(team)
        Weight.objects.update_or_create(team=team, defaults={"weight": weight})
        record(actor, "weight.set", team, before={"weight": before}, after={"weight": weight})
