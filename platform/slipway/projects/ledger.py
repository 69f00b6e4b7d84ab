"""The ledger of quotas: who holds how much of what; every line begins and ends with what it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import Sum

from slipway.projects.errors import QuotaExceeded
from slipway.projects.limits import limits_of
from slipway.projects.models import Project, Reservation, Resource

Claims = Mapping[str, int]
"""Resource → amount; what is 0 or missing is not held."""


def reserve(project: Project, kind: str, holder: str, claims: Claims) -> None:
    """Let ``holder`` hold ``claims``, if the project may; call inside the transaction of what needs it.

    What the holder has already is not asked for again, so it is safe to repeat. Until the commit others who
    reserve for the project wait. Raise ``QuotaExceeded``; nothing was reserved then.
    """
    with transaction.atomic():
        # The project's row stands for its whole ledger; its key is not locked, so rows may refer to it.
        Project.objects.select_for_update(of=("self",), no_key=True).get(pk=project.pk)
        held = _held(kind, holder)
        more = {name: amount - held.get(name, 0) for name, amount in claims.items()}
        require_room(project, {name: amount for name, amount in more.items() if amount > 0})
        _write(project.pk, kind, holder, held, {**held, **_positive(claims)})


def settle(project_id: UUID, kind: str, holder: str, claims: Claims) -> bool:
    """Make the ledger say that ``holder`` holds ``claims`` and nothing else, whatever the limits: for facts.

    Safe to repeat. Whether anything changed.
    """
    held, wanted = _held(kind, holder), _positive(claims)
    if held == wanted:
        return False
    with transaction.atomic():
        _write(project_id, kind, holder, held, wanted)
    return True


def release(kind: str, holder: str) -> None:
    """The holder holds nothing any more; safe to repeat."""
    Reservation.objects.filter(holder_kind=kind, holder_id=holder).delete()


def used(project_id: UUID) -> dict[str, int]:
    """Resource → sum, of what is in use at all."""
    lines = Reservation.objects.filter(project=project_id).order_by().values_list("resource")
    return dict(lines.annotate(sum=Sum("amount")))


def used_of_all(projects: Sequence[UUID], resource: Resource) -> dict[UUID, int]:
    """Project → sum, of those that use any of it; one query."""
    lines = Reservation.objects.filter(project__in=projects, resource=resource.value).order_by()
    return dict(lines.values_list("project").annotate(sum=Sum("amount")))


def room(project: Project, resource: Resource) -> int | None:
    """How much of it is left; None if there is no limit. Others may take it the next moment."""
    limit = limits_of(project)[resource]
    if limit is None:
        return None
    mine = Reservation.objects.filter(project=project, resource=resource)
    return limit - (mine.aggregate(sum=Sum("amount"))["sum"] or 0)


def require_room(project: Project, asked: Claims) -> None:
    """Raise ``QuotaExceeded`` if ``asked`` could not be reserved now. Nothing is reserved or locked."""
    asked = _positive(asked)
    if not asked:
        return
    limits, now = limits_of(project), used(project.pk)
    for name, amount in asked.items():
        limit = limits[Resource(name)]
        if limit is not None and now.get(name, 0) + amount > limit:
            raise QuotaExceeded(project.path, Resource(name), limit, now.get(name, 0), amount)


def _held(kind: str, holder: str) -> dict[str, int]:
    return dict(
        Reservation.objects.filter(holder_kind=kind, holder_id=holder).values_list("resource", "amount")
    )


def _positive(claims: Claims) -> dict[str, int]:
    return {str(name): amount for name, amount in claims.items() if amount > 0}


def _write(project_id: UUID, kind: str, holder: str, held: Claims, wanted: Claims) -> None:
    mine = Reservation.objects.filter(holder_kind=kind, holder_id=holder)
    gone = held.keys() - wanted.keys()
    if gone:
        mine.filter(resource__in=gone).delete()
    Reservation.objects.bulk_create(
        [
            Reservation(
                project_id=project_id, resource=name, amount=amount, holder_kind=kind, holder_id=holder
            )
            for name, amount in wanted.items()
            if held.get(name) != amount
        ],
        update_conflicts=True,
        unique_fields=["holder_kind", "holder_id", "resource"],
        update_fields=["amount"],
    )
