"""Invitations: a link with a secret, good once and until it expires."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvalidRequest, InvitationGone, NotAllowed, NotFound
from slipway.accounts.models import Invitation, Membership, ProjectMembership, Role, Team
from slipway.accounts.policy import Action, require
from slipway.audit.services import record
from slipway.ids import parse_id

if TYPE_CHECKING:
    from slipway.projects.models import Project

DAYS_MAX = 30
_SECRET = re.compile(r"slpi_[A-Za-z0-9_-]{43}")
_STRENGTH = [Role.VIEWER, Role.DEVELOPER, Role.MAINTAINER, Role.OWNER]


def invite(
    actor: Actor,
    team: Team,
    role: Role,
    *,
    project: Project | None = None,
    email: str = "",
    days: int = 7,
) -> tuple[Invitation, str]:
    """An invitation and the secret of its link, which is shown this once.

    Maintainers invite developers and viewers; more takes an owner. Raise ``NotFound``, ``NotAllowed``,
    ``InvalidRequest``.
    """
    if actor.is_robot:
        raise NotAllowed("Robots invite nobody.")
    require(actor, Action.MANAGE, project or team)
    if project is not None and (project.team_id != team.id or role is Role.OWNER):
        raise InvalidRequest("A project of this team, and no owner of it, is needed.", field="role")
    if role in (Role.OWNER, Role.MAINTAINER):
        require(actor, Action.OWN, team)
    if not 1 <= days <= DAYS_MAX:
        raise InvalidRequest(f"days: 1 to {DAYS_MAX} are allowed.", field="days")
    _require_address(email)
    secret = f"slpi_{secrets.token_urlsafe(32)}"
    with transaction.atomic():
        invitation = Invitation.objects.create(
            team=team,
            project=project,
            role=role,
            email=email,
            digest=_digest(secret),
            created_by=actor.user,
            expires_at=timezone.now() + timedelta(days=days),
        )
        record(actor, "invitation.make", invitation, after=_offer(invitation))
    return invitation, secret


def _offer(invitation: Invitation) -> dict[str, str | None]:
    """What the audit log says of an invitation; its secret is no part of it."""
    return {
        "role": invitation.role,
        "project": invitation.project.path if invitation.project is not None else None,
        "email": invitation.email,
        "expires_at": invitation.expires_at.isoformat(),
    }


def _require_address(email: str) -> None:
    """An e-mail address, or none."""
    if not email:
        return
    try:
        validate_email(email)
    except ValidationError as error:
        raise InvalidRequest("email: that is no e-mail address.", field="email") from error


def list_invitations(actor: Actor, team: Team) -> QuerySet[Invitation]:
    """Those that can still be accepted, newest first. Raise ``NotFound``, ``NotAllowed``."""
    require(actor, Action.MANAGE, team)
    waiting = Q(accepted_at=None, revoked_at=None, expires_at__gt=timezone.now())
    found = Invitation.objects.filter(waiting, team=team)
    return found.select_related("project__team", "created_by", "team").order_by("-created_at", "-id")


def get_invitation(actor: Actor, team: Team, invitation_id: str) -> Invitation:
    """Raise ``NotFound``, ``NotAllowed``."""
    key = parse_id(invitation_id)
    found = list_invitations(actor, team).filter(pk=key).first() if key else None
    if found is None:
        raise NotFound(f"There is no open invitation {invitation_id[:60]!r} that you can see.")
    return found


def withdraw(actor: Actor, invitation: Invitation) -> None:
    """Its link opens nothing any more; safe to repeat. Raise ``NotFound``, ``NotAllowed``."""
    require(actor, Action.MANAGE, invitation.team)
    with transaction.atomic():
        open_ones = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None)
        if open_ones.update(revoked_at=timezone.now()):
            record(actor, "invitation.withdraw", invitation, before=_offer(invitation))


def open_invitation(secret: str) -> Invitation:
    """The invitation behind a link's secret. Raise ``InvitationGone``."""
    found = None
    if _SECRET.fullmatch(secret):
        rows = Invitation.objects.select_related("team", "project__team", "created_by")
        found = rows.filter(digest=_digest(secret)).first()
    if found is None or not found.is_open:
        raise InvitationGone(
            "This invitation is unknown, used up, withdrawn or expired. Ask for another one."
        )
    return found


def accept(actor: Actor, invitation: Invitation) -> None:
    """Make the actor a member; a stronger role they have already stays. Works once.

    Raise ``InvitationGone``; ``NotAllowed`` for tokens.
    """
    if actor.user is None or actor.token is not None:
        raise NotAllowed("Invitations are accepted by people, signed in.")
    with transaction.atomic():
        row = Invitation.objects.select_for_update(of=("self",)).filter(pk=invitation.pk).first()
        if row is None or not row.is_open:
            raise InvitationGone("This invitation was used, withdrawn or has expired. Ask for another one.")
        row.accepted_at, row.accepted_by = timezone.now(), actor.user
        row.save(update_fields=["accepted_at", "accepted_by"])
        before, after = _join(actor, row)
        record(actor, "invitation.accept", row, before={"role": before}, after={"role": after})
    actor.forget()


def _join(actor: Actor, invitation: Invitation) -> tuple[str | None, str]:
    """The role before, if there was one, and the role now."""
    member: Membership | ProjectMembership
    if invitation.project_id is None:
        member, made = Membership.objects.select_for_update().get_or_create(
            team_id=invitation.team_id, user=actor.user, defaults={"role": invitation.role}
        )
    else:
        member, made = ProjectMembership.objects.select_for_update().get_or_create(
            project_id=invitation.project_id, user=actor.user, defaults={"role": invitation.role}
        )
    before = None if made else member.role
    if not made and _STRENGTH.index(Role(member.role)) < _STRENGTH.index(Role(invitation.role)):
        member.role = invitation.role
        member.save(update_fields=["role"])
    return before, member.role


def _digest(secret: str) -> str:
    """No slow hash: the secret is 256 random bits, not a password."""
    return hashlib.sha256(secret.encode()).hexdigest()
