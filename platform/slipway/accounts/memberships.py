"""Writes: who belongs to a team or a project, and what leaving takes along."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvalidRequest, NotAllowed, NotFound
from slipway.accounts.models import Invitation, Membership, ProjectMembership, Role, Team, Token, User
from slipway.accounts.policy import Action, can, require
from slipway.audit.services import record

if TYPE_CHECKING:
    from slipway.projects.models import Project


def set_member(actor: Actor, team: Team, username: str, role: Role) -> Membership:
    """Add the user to the team or change their role. Maintainers set developers and viewers only."""
    require(actor, Action.MANAGE, team)
    user = _get_user(username)
    with transaction.atomic():
        before = _locked_membership(team, username)
        _require_rank(actor, team, role, before)
        _keep_an_owner(team, before, role)
        member, _ = Membership.objects.update_or_create(team=team, user=user, defaults={"role": role})
        if role not in (Role.OWNER, Role.MAINTAINER):
            _withdraw_invitations(team, user.pk)
        record(actor, "member.set", team, user=username, before=_role(before), after={"role": role})
    actor.forget()
    return member


def remove_member(actor: Actor, team: Team, username: str) -> None:
    """Their roles in the team's projects, their tokens and robots there and their open invitations go along.

    Raise ``NotFound``; ``InvalidRequest`` for the last owner. Anybody may leave.
    """
    with transaction.atomic():
        before = _locked_membership(team, username)
        own = before is not None and actor.user is not None and before.user_id == actor.user.id
        # Leaving stays open to whoever is shut out for want of a second factor.
        if before is None or not (own or can(actor, Action.READ, team)):
            raise NotFound(f"{username!r} is no member here.")
        if not own or actor.token is not None:
            require(actor, Action.MANAGE, team)
            _require_rank(actor, team, Role(before.role), before)
        _keep_an_owner(team, before, None)
        before.delete()
        ProjectMembership.objects.filter(project__team=team, user_id=before.user_id).delete()
        revoked = _revoke_tokens(Q(project__team=team), before.user_id)
        _withdraw_invitations(team, before.user_id)
        record(actor, "member.remove", team, user=username, before=_role(before), tokens_revoked=revoked)
    actor.forget()


def transfer_ownership(actor: Actor, team: Team, username: str) -> None:
    """Make another member an owner and the actor a maintainer, in one step.

    Raise ``NotFound``, ``NotAllowed``, ``InvalidRequest``.
    """
    require(actor, Action.OWN, team)
    with transaction.atomic():
        heir = _locked_membership(team, username)
        if heir is None:
            raise NotFound(f"{username!r} is no member here; add them first.")
        if actor.user is not None and heir.user_id == actor.user.id:
            raise InvalidRequest("You own the team already; name another member.", field="username")
        before, after = {username: heir.role}, {username: Role.OWNER.value}
        heir.role = Role.OWNER
        heir.save(update_fields=["role"])
        mine = Membership.objects.filter(team=team, user=actor.user).first() if actor.user else None
        if mine is not None:
            before[actor.label], after[actor.label] = mine.role, Role.MAINTAINER.value
            mine.role = Role.MAINTAINER
            mine.save(update_fields=["role"])
        record(actor, "team.transfer", team, before=before, after=after, to=username)
    actor.forget()


def set_project_member(actor: Actor, project: Project, username: str, role: Role) -> ProjectMembership:
    """Give the user a role in this project, member of the team or not.

    Raise ``NotFound``, ``NotAllowed``, ``InvalidRequest`` for owner.
    """
    if actor.is_robot:
        raise NotAllowed("Robots give no roles.")
    require(actor, Action.MANAGE, project)
    if role is Role.OWNER:
        raise InvalidRequest("A project belongs to its team: make them an owner there.", field="role")
    if role is Role.MAINTAINER:
        require(actor, Action.OWN, project)
    user = _get_user(username)
    with transaction.atomic():
        members = ProjectMembership.objects.select_for_update()
        before = members.filter(project=project, user=user).first()
        if before is not None and before.role == Role.MAINTAINER:
            require(actor, Action.OWN, project)
        member, _ = ProjectMembership.objects.update_or_create(
            project=project, user=user, defaults={"role": role}
        )
        record(
            actor, "project_member.set", project, user=username, before=_role(before), after={"role": role}
        )
    actor.forget()
    return member


def remove_project_member(actor: Actor, project: Project, username: str) -> None:
    """The role in the team counts again; without one, tokens and robots of theirs here are revoked.

    Raise ``NotFound``, ``NotAllowed``. Anybody may give up their own.
    """
    with transaction.atomic():
        members = ProjectMembership.objects.select_for_update(of=("self",)).select_related("user")
        before = members.filter(project=project, user__username=username).first()
        own = before is not None and actor.user is not None and before.user_id == actor.user.id
        if before is None or not (own or can(actor, Action.READ, project)):
            raise NotFound(f"{username!r} has no role of their own here.")
        if not own or actor.token is not None:
            require(actor, Action.OWN if before.role == Role.MAINTAINER else Action.MANAGE, project)
        before.delete()
        revoked = 0
        if not Membership.objects.filter(team=project.team_id, user_id=before.user_id).exists():
            revoked = _revoke_tokens(Q(project=project), before.user_id)
        record(
            actor,
            "project_member.remove",
            project,
            user=username,
            before=_role(before),
            tokens_revoked=revoked,
        )
    actor.forget()


def set_requires_mfa(actor: Actor, team: Team, required: bool) -> Team:
    """Shut members without a second factor out, or let them in again. Owners only.

    Raise ``NotFound``, ``NotAllowed``; ``InvalidRequest`` when it would shut the actor out.
    """
    require(actor, Action.OWN, team)
    if required and actor.user is not None and not actor.is_administrator and not actor.has_second_factor:
        raise InvalidRequest(
            "Set up a second factor yourself first; you would be shut out.", field="requires_mfa"
        )
    with transaction.atomic():
        before, team.requires_mfa = team.requires_mfa, required
        team.save(update_fields=["requires_mfa"])
        if before != required:
            record(
                actor,
                "team.require_mfa",
                team,
                before={"requires_mfa": before},
                after={"requires_mfa": required},
            )
    actor.forget()
    return team


def rename_team(actor: Actor, team: Team, name: str) -> Team:
    """Raise ``NotFound``, ``NotAllowed``, ``InvalidRequest``."""
    require(actor, Action.OWN, team)
    if not 1 <= len(name.strip()) <= 100:
        raise InvalidRequest("name: 1 to 100 characters are needed.", field="name")
    with transaction.atomic():
        before, team.name = team.name, name.strip()
        team.save(update_fields=["name"])
        record(actor, "team.rename", team, before={"name": before}, after={"name": team.name})
    return team


def _get_user(username: str) -> User:
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise NotFound(f"There is no user {username[:150]!r}.")
    return user


def _locked_membership(team: Team, username: str) -> Membership | None:
    # The team's row first: two owners stepping down at once must not both find the other still there.
    Team.objects.select_for_update().get(pk=team.pk)
    return Membership.objects.filter(team=team, user__username=username).first()


def _revoke_tokens(where: Q, user_id: UUID) -> int:
    """Personal tokens bound there, and robots the user made there."""
    theirs = Q(user=user_id) | Q(user=None, created_by=user_id)
    found = Token.objects.filter(where & theirs, revoked_at=None)
    return found.update(revoked_at=timezone.now())


def _withdraw_invitations(team: Team, user_id: UUID) -> None:
    """Or somebody who was shown out would come in again by a link of their own."""
    theirs = Invitation.objects.filter(team=team, created_by=user_id, accepted_at=None, revoked_at=None)
    theirs.update(revoked_at=timezone.now())


def _require_rank(actor: Actor, team: Team, role: Role, before: Membership | None) -> None:
    ranks = {role, Role(before.role) if before else role}
    if ranks & {Role.OWNER, Role.MAINTAINER}:
        require(actor, Action.OWN, team)


def _keep_an_owner(team: Team, before: Membership | None, role: Role | None) -> None:
    if before is None or before.role != Role.OWNER or role == Role.OWNER:
        return
    if not Membership.objects.filter(team=team, role=Role.OWNER).exclude(pk=before.pk).exists():
        raise InvalidRequest("A team needs an owner: make somebody else one first.", field="role")


def _role(member: Membership | ProjectMembership | None) -> dict[str, str] | None:
    return {"role": member.role} if member else None
