"""Writes: teams, members, tokens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

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
        record(actor, "user.rename", actor.user, before={"name": before}, after={"name": actor.user.name})


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
            record(actor, "team.create", team, after={"name": team.name})
    except IntegrityError as error:
        raise NameTaken(f"A team named {slug!r} exists.", name=slug) from error
    actor.forget()
    return team


def issue_token(
    actor: Actor,
    name: str,
    *,
    scopes: Sequence[str] = (TokenScope.READ,),
    project: Project | None = None,
    expires_at: datetime | None = None,
    user: User | None = None,
    robot: bool = False,
) -> tuple[Token, str]:
    """A new token of ``actor`` (of ``user``, for the operator) and its text, which is shown this once.

    A ``robot`` belongs to ``project`` instead and stays when its maker leaves. A token makes no token that
    may more than itself. Raise ``InvalidRequest``, ``NotAllowed``, ``NotFound``.
    """
    owner = _owner(actor, user, project, robot)
    wanted = _token_scopes(scopes)
    if actor.token is not None:
        _require_narrower(actor.token, wanted, project)
        expires_at = _not_after(actor.token, expires_at)
    if project is not None:
        require(actor, Action.READ, project)
    _check_token(name, expires_at)
    credential = Credential.generate()
    token = Token(
        user=owner,
        # A robot's robot goes with whoever made the first.
        created_by=actor.user or (actor.token.created_by if actor.token else None),
        name=name.strip(),
        prefix=credential.prefix,
        digest=credential.digest,
        scopes=wanted,
        project=project,
        expires_at=expires_at,
    )
    with transaction.atomic():
        token.save()
        record(actor, "token.issue", token, after=_may(token))
    return token, str(credential)


def _may(token: Token) -> dict[str, object]:
    """What the audit log says of a token: whose it is and how far it reaches, never what it is."""
    return {
        "scopes": list(token.scopes),
        "project": token.project.path if token.project is not None else None,
        "robot": token.user_id is None,
        "expires_at": token.expires_at.isoformat() if token.expires_at is not None else None,
    }


def _owner(actor: Actor, user: User | None, project: Project | None, robot: bool) -> User | None:
    """Whose the token will be; nobody's, if a robot's."""
    if robot:
        if project is None:
            raise InvalidRequest("A robot belongs to a project.", field="project")
        require(actor, Action.MANAGE, project)
        return None
    if actor.is_robot:
        raise NotAllowed("A robot makes no personal tokens.")
    owner = user if actor.is_operator else actor.user
    if owner is None:
        raise InvalidRequest("A token belongs to a user.", field="user")
    return owner


def _check_token(name: str, expires_at: datetime | None) -> None:
    if not 1 <= len(name.strip()) <= 100:
        raise InvalidRequest("A token needs a name of 1 to 100 characters.", field="name")
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidRequest("The time of expiry lies in the past.", field="expires_at")


def _token_scopes(scopes: Sequence[str]) -> list[str]:
    known = [each for each in TokenScope if each in set(scopes)]
    if not known or len(known) != len(set(scopes)):
        raise InvalidRequest("scopes: one or more of read, write, admin is needed.", field="scopes")
    return [each.value for each in known]


def _require_narrower(mine: Token, wanted: list[str], project: Project | None) -> None:
    _require_admin_scope(mine, "making or revoking tokens")
    if mine.project_id is not None and (project is None or project.id != mine.project_id):
        raise NotAllowed("A token of one project makes tokens of that project only.")


def _not_after(mine: Token, wanted: datetime | None) -> datetime | None:
    """When a token made by ``mine`` expires: at the latest with it, or a stolen one would live for ever."""
    if mine.expires_at is None or wanted is None:
        return wanted or mine.expires_at
    if wanted > mine.expires_at:
        raise NotAllowed(
            f"A token makes none that outlives it; it expires at {mine.expires_at:%Y-%m-%d %H:%M} UTC."
        )
    return wanted


def _require_admin_scope(token: Token, what: str) -> None:
    if TokenScope.ADMIN not in token.scopes:
        raise ScopeMissing(
            f"This token does not allow {what}; one with the scope admin does.", needed=TokenScope.ADMIN.value
        )


def revoke_token(actor: Actor, token: Token) -> None:
    """From now on the token opens nothing; safe to repeat. Whoever manages its project may do it, too.

    Raise ``NotFound`` for other people's.
    """
    own = actor.user is not None and token.user_id == actor.user.id
    itself = actor.token is not None and actor.token.pk == token.pk
    managed = token.project is not None and can(actor, Action.MANAGE, token.project)
    if not (own or itself or managed or actor.is_administrator):
        raise NotFound
    if actor.token is not None and not itself:
        # The check of reach: a token may always withdraw itself.
        _require_narrower(actor.token, token.scopes, token.project)
    with transaction.atomic():
        changed = Token.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
        if changed:
            record(actor, "token.revoke", token, before=_may(token))


def authenticate_token(text: str, *, origin: str = "", now: datetime | None = None) -> Actor:
    """The actor behind a token. Raise ``InvalidToken``, ``ExpiredToken``, ``RevokedToken``."""
    credential = Credential.parse(text)
    now = now or timezone.now()
    token = (
        Token.objects.select_related("user", "created_by", "project__team")
        .filter(prefix=credential.prefix)
        .first()
    )
    # The digest is compared before anything else is told about the token.
    if (
        token is None
        or token.digest != credential.digest
        or (token.user is not None and not token.user.is_active)
    ):
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


def introspect(actor: Actor, text: str | None = None) -> dict[str, Any]:
    """What the actor's own token, or another of theirs given as ``text``, may do; after RFC 7662.

    Unknown, expired, revoked and other people's tokens are all just not active.
    """
    token = actor.token
    if text is not None:
        try:
            found = authenticate_token(text).token
        except (InvalidToken, ExpiredToken, RevokedToken):
            return {"active": False}
        mine = found is not None and actor.user is not None and found.user_id == actor.user.pk
        token = found if found is not None and (mine or found == actor.token) else None
    if token is None:
        return {"active": False}
    answer: dict[str, Any] = {
        "active": True,
        "scope": " ".join(token.scopes),
        "token_type": "Bearer",
        "sub": token.user.hex if token.user else token.hex,
        "iat": int(token.created_at.timestamp()),
        "robot": token.is_robot,
    }
    if token.user is not None:
        answer["username"] = token.user.username
    if token.expires_at is not None:
        answer["exp"] = int(token.expires_at.timestamp())
    if token.project is not None:
        answer["project"] = token.project.path
    return answer
