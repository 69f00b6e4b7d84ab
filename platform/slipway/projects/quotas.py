"""Writes: limits, and the requests for higher ones."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvalidRequest, NotAllowed, NotFound
from slipway.accounts.models import Team, TokenScope
from slipway.accounts.policy import Action, can, require
from slipway.audit.services import record
from slipway.ids import parse_id
from slipway.projects.errors import RequestDecided, RequestPending
from slipway.projects.limits import limits_of
from slipway.projects.models import Project, QuotaLimit, QuotaRequest, RequestState, Resource
from slipway.projects.queries import list_projects

AMOUNT_MAX = 1 << 60


def set_limit(actor: Actor, owner: Project | Team, resource: Resource, amount: int | None) -> None:
    """Set the limit of a project, or the default of a team's projects; None gives it up.

    Administrators only. What is in use beyond it stays; nothing is added. Raise ``NotAllowed``,
    ``InvalidRequest``.
    """
    _require_administrator(actor)
    with transaction.atomic():
        _set_limit(actor, owner, resource, amount)


def _set_limit(actor: Actor, owner: Project | Team, resource: Resource, amount: int | None) -> None:
    if amount is not None and not 0 <= amount <= AMOUNT_MAX:
        raise InvalidRequest(f"amount: 0 to {AMOUNT_MAX} are allowed.", field="amount")
    key = {"project": owner} if isinstance(owner, Project) else {"team": owner}
    before = QuotaLimit.objects.select_for_update().filter(**key, resource=resource).first()
    if amount is None:
        QuotaLimit.objects.filter(**key, resource=resource).delete()
    else:
        QuotaLimit.objects.update_or_create(**key, resource=resource, defaults={"amount": amount})
    record(
        actor,
        "limit.set",
        owner,
        before={resource.value: before.amount if before else None},
        after={resource.value: amount},
    )


def ask(actor: Actor, project: Project, resource: Resource, amount: int, reason: str = "") -> QuotaRequest:
    """Ask the administrators for the limit ``amount``.

    Raise ``NotFound``, ``NotAllowed``, ``InvalidRequest``, ``RequestPending``.
    """
    require(actor, Action.WRITE, project)
    limit = limits_of(project)[resource]
    if limit is None or not limit < amount <= AMOUNT_MAX:
        raise InvalidRequest(
            f"amount: more than the {'unlimited' if limit is None else limit} of now is to be asked for.",
            field="amount",
        )
    asked = QuotaRequest(
        project=project,
        resource=resource,
        amount=amount,
        reason=reason.strip()[:500],
        requested_by_name=actor.label[:200],
    )
    try:
        with transaction.atomic():
            asked.save(force_insert=True)
            record(actor, "quota.request", project, resource=resource.value, limit=limit, asked=amount)
    except IntegrityError as error:
        raise RequestPending(
            f"A request for more {resource.value} of {project.path} is waiting for a decision.",
            resource=resource.value,
        ) from error
    return asked


def decide(actor: Actor, asked: QuotaRequest, *, approve: bool, note: str = "") -> QuotaRequest:
    """Approve the request, which sets the limit, or decline it. Administrators only.

    Raise ``NotAllowed``, ``RequestDecided``.
    """
    _require_administrator(actor)
    with transaction.atomic():
        row = (
            QuotaRequest.objects.select_for_update(of=("self",))
            .select_related("project__team")
            .get(pk=asked.pk)
        )
        if row.state != RequestState.PENDING:
            raise RequestDecided(f"{row.decided_by_name} has {row.state} it already.", state=row.state)
        row.state = RequestState.APPROVED if approve else RequestState.DECLINED
        row.decided_by_name, row.decided_at, row.note = actor.label[:200], timezone.now(), note.strip()[:500]
        row.save(update_fields=["state", "decided_by_name", "decided_at", "note"])
        if approve:
            _set_limit(actor, row.project, Resource(row.resource), row.amount)
        action = "quota.approve" if approve else "quota.decline"
        record(
            actor,
            action,
            row.project,
            before={"state": RequestState.PENDING.value},
            after={"state": row.state},
            resource=row.resource,
            asked=row.amount,
            note=row.note,
        )
    return row


def list_requests(actor: Actor, project: Project | None = None) -> QuerySet[QuotaRequest]:
    """Of the project, or of all the actor sees; newest first. Raise ``NotFound``."""
    found = QuotaRequest.objects.select_related("project__team")
    if project is not None:
        require(actor, Action.READ, project)
        found = found.filter(project=project)
    elif not may_decide(actor):
        found = found.filter(project__in=list_projects(actor).order_by().values("pk"))
    return found.order_by("-created_at", "-id")


def get_request(actor: Actor, request_id: str) -> QuotaRequest:
    """Raise ``NotFound``."""
    key = parse_id(request_id)
    found = QuotaRequest.objects.select_related("project__team").filter(pk=key).first() if key else None
    if found is None or not can(actor, Action.READ, found):
        raise NotFound(f"There is no quota request {request_id[:60]!r} that you can see.")
    return found


def may_decide(actor: Actor) -> bool:
    """Administrators, in person or by a token that may administer and is bound to no project."""
    if not actor.is_administrator:
        return False
    token = actor.token
    return token is None or (TokenScope.ADMIN in token.scopes and token.project_id is None)


def _require_administrator(actor: Actor) -> None:
    if not may_decide(actor):
        raise NotAllowed("Only administrators set limits; ask for one with a quota request.")
