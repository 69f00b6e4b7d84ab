"""Writes: teams, members, tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.accounts.credentials import Credential
from slipway.accounts.errors import (
    ExpiredToken,
    InvalidName,
    InvalidRequest,
    InvalidToken,
    NameTaken,
    NotAllowed,
    NotFound,
    RevokedToken,
    ScopeMissing,
)
from slipway.accounts.models import Membership, Role, Team, Token, TokenScope, User
from slipway.accounts.policy import Action, can, require
from slipway.accounts.slugs import parse_slug
from slipway.audit.services import record

if TYPE_CHECKING:
    from slipway.projects.models import Project

LAST_USED_STEP = timedelta(seconds=60)
"""How exact ``last_used_at`` is: a write per request would cost more than it tells."""


def create_user(
    actor: Actor, username: str, password: str, *, email: str = "", is_staff: bool = False
) -> User:
    """Administrators only. Raise ``NameTaken``, ``InvalidName``, ``InvalidRequest`` (password)."""
    if not actor.is_administrator or actor.token is not None:
        raise NotAllowed("Only an administrator, signed in, makes accounts.")
    user = User(username=username, email=email, is_staff=is_staff, is_superuser=is_staff)
    try:
        user.full_clean(exclude=["password"], validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        raise InvalidName("; ".join(error.messages), field="username") from error
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise InvalidRequest("; ".join(error.messages), field="password") from error
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save()
    except IntegrityError as error:
        raise NameTaken(
            f"An account with the name {username!r} or this e-mail exists.", name=username
        ) from error
    return user


def rename_user(actor: Actor, name: str) -> None:
    """How others see the actor. Raise ``NotAllowed`` for tokens."""
    if actor.user is None or actor.token is not None:
        raise NotAllowed("Only somebody signed in changes their name.")
    before, actor.user.name = actor.user.name, name.strip()[:150]
    with transaction.atomic():
        actor.user.save(update_fields=["name"])
        record(actor, "user.rename", actor.user, before=before, after=actor.user.name)


def create_team(actor: Actor, slug: str, name: str = "", *, allow_reserved: bool = False) -> Team:
    """A team with ``actor`` as its owner. Raise ``InvalidName``, ``NameTaken``, ``NotAllowed``.

    ``allow_reserved`` is for the installation's own team, ``library``.
    """
    if actor.token is not None:
        _require_admin_scope(actor.token, "making teams")
        if actor.token.project_id is not None:
            raise NotAllowed("A token of one project does not allow making teams.")
    slug = parse_slug(slug, what="Team", allow_reserved=allow_reserved)
    try:
        with transaction.atomic():
            team = Team.objects.create(slug=slug, name=(name or slug)[:100])
            if actor.user is not None:
                Membership.objects.create(team=team, user=actor.user, role=Role.OWNER)
            record(actor, "team.create", team)
    except IntegrityError as error:
        raise NameTaken(f"A team named {slug!r} exists.", name=slug) from error
    actor.forget()
    return team


def set_member(actor: Actor, team: Team, username: str, role: Role) -> Membership:
    """Add the user to the team or change their role. Maintainers set developers and viewers only."""
    require(actor, Action.MANAGE, team)
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise NotFound(f"There is no user {username!r}.")
    with transaction.atomic():
        before = Membership.objects.select_for_update().filter(team=team, user=user).first()
        _require_rank(actor, team, role, before)
        _keep_an_owner(team, before, role)
        member, _ = Membership.objects.update_or_create(team=team, user=user, defaults={"role": role})
        record(actor, "member.set", team, user=user.username, role=role)
    return member


def remove_member(actor: Actor, team: Team, username: str) -> None:
    """Raise ``NotFound``; ``InvalidRequest`` for the last owner. Anybody may leave."""
    with transaction.atomic():
        before = Membership.objects.select_for_update().filter(team=team, user__username=username).first()
        if before is None or not can(actor, Action.READ, team):
            raise NotFound(f"{username!r} is no member here.")
        if actor.user is None or before.user_id != actor.user.id:
            require(actor, Action.MANAGE, team)
            _require_rank(actor, team, Role(before.role), before)
        _keep_an_owner(team, before, None)
        before.delete()
        record(actor, "member.remove", team, user=username)


def _require_rank(actor: Actor, team: Team, role: Role, before: Membership | None) -> None:
    ranks = {role, Role(before.role) if before else role}
    if ranks & {Role.OWNER, Role.MAINTAINER}:
        require(actor, Action.OWN, team)


def _keep_an_owner(team: Team, before: Membership | None, role: Role | None) -> None:
    if before is None or before.role != Role.OWNER or role == Role.OWNER:
        return
    if not Membership.objects.filter(team=team, role=Role.OWNER).exclude(pk=before.pk).exists():
        raise InvalidRequest("A team needs an owner: make somebody else one first.", field="role")


def issue_token(
    actor: Actor,
    name: str,
    *,
    scopes: Sequence[str] = (TokenScope.READ,),
    project: Project | None = None,
    expires_at: datetime | None = None,
    user: User | None = None,
) -> tuple[Token, str]:
    """A new token of ``actor`` (of ``user``, for the operator) and its text, which is shown this once.

    A token makes no token that may more than itself. Raise ``InvalidRequest``, ``NotAllowed``, ``NotFound``.
    """
    owner = actor.user if not actor.is_operator else user
    if owner is None:
        raise InvalidRequest("A token belongs to a user.", field="user")
    wanted = _token_scopes(scopes)
    if actor.token is not None:
        _require_narrower(actor.token, wanted, project)
    if project is not None:
        require(actor, Action.READ, project)
    if not 1 <= len(name.strip()) <= 100:
        raise InvalidRequest("A token needs a name of 1 to 100 characters.", field="name")
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidRequest("The time of expiry lies in the past.", field="expires_at")
    credential = Credential.generate()
    token = Token(
        user=owner,
        name=name.strip(),
        prefix=credential.prefix,
        digest=credential.digest,
        scopes=wanted,
        project=project,
        expires_at=expires_at,
    )
    with transaction.atomic():
        token.save()
        record(actor, "token.issue", token, scopes=wanted)
    return token, str(credential)


def _token_scopes(scopes: Sequence[str]) -> list[str]:
    known = [each for each in TokenScope if each in set(scopes)]
    if not known or len(known) != len(set(scopes)):
        raise InvalidRequest("scopes: one or more of read, write, admin is needed.", field="scopes")
    return [each.value for each in known]


def _require_narrower(mine: Token, wanted: list[str], project: Project | None) -> None:
    _require_admin_scope(mine, "making or revoking tokens")
    if mine.project_id is not None and (project is None or project.id != mine.project_id):
        raise NotAllowed("A token of one project makes tokens of that project only.")


def _require_admin_scope(token: Token, what: str) -> None:
    if TokenScope.ADMIN not in token.scopes:
        raise ScopeMissing(
            f"This token does not allow {what}; one with the scope admin does.", needed=TokenScope.ADMIN.value
        )


def revoke_token(actor: Actor, token: Token) -> None:
    """From now on the token opens nothing; safe to repeat. Raise ``NotFound`` for other people's."""
    own = actor.user is not None and token.user_id == actor.user.id
    if not own and not actor.is_administrator:
        raise NotFound
    if actor.token is not None and actor.token.pk != token.pk:
        # The check of reach: a token may always withdraw itself.
        _require_narrower(actor.token, token.scopes, token.project)
    with transaction.atomic():
        changed = Token.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
        if changed:
            record(actor, "token.revoke", token)


def authenticate_token(text: str, *, origin: str = "", now: datetime | None = None) -> Actor:
    """The actor behind a token. Raise ``InvalidToken``, ``ExpiredToken``, ``RevokedToken``."""
    credential = Credential.parse(text)
    now = now or timezone.now()
    token = Token.objects.select_related("user").filter(prefix=credential.prefix).first()
    # The digest is compared before anything else is told about the token.
    if token is None or token.digest != credential.digest or not token.user.is_active:
        raise InvalidToken("This token is unknown here.")
    if token.revoked_at is not None:
        raise RevokedToken(f"The token {token.name!r} was revoked at {token.revoked_at:%Y-%m-%d %H:%M} UTC.")
    if token.expires_at is not None and token.expires_at <= now:
        raise ExpiredToken(
            f"The token {token.name!r} expired at {token.expires_at:%Y-%m-%d %H:%M} UTC; issue a new one."
        )
    if token.last_used_at is None or now - token.last_used_at > LAST_USED_STEP:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_STEP)
        Token.objects.filter(stale, pk=token.pk).update(last_used_at=now)
    return Actor(user=token.user, token=token, origin=origin)
