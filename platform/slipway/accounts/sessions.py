"""The browsers somebody is signed in with: listed, ended one by one or all but the present one."""

from __future__ import annotations

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.accounts.errors import NotAllowed, NotFound
from slipway.accounts.models import User
from slipway.audit.services import record


def list_sessions(actor: Actor) -> QuerySet[UserSession]:
    """The actor's own sessions that still open something, newest first. Tokens of one project see none."""
    if actor.user is None or (actor.token is not None and actor.token.project_id is not None):
        return UserSession.objects.none()
    alive = Session.objects.filter(expire_date__gt=timezone.now())
    mine = UserSession.objects.filter(user=actor.user, session_key__in=alive.values("session_key"))
    return mine.order_by("-created_at", "-id")


def get_session(actor: Actor, session_id: str) -> UserSession:
    """Raise ``NotFound``."""
    number = (
        int(session_id) if session_id.isascii() and session_id.isdecimal() and len(session_id) < 16 else 0
    )
    found = list_sessions(actor).filter(pk=number).first()
    if found is None:
        raise NotFound(f"You have no session {session_id[:40]!r}.")
    return found


def end_session(actor: Actor, session: UserSession) -> None:
    """Sign that browser out. Raise ``NotFound`` for other people's, ``NotAllowed`` for a weak token."""
    if actor.user is None or session.user_id != actor.user.pk:
        raise NotFound
    if actor.token is not None and "admin" not in actor.token.scopes:
        raise NotAllowed("A token needs the scope admin to end sessions.")
    with transaction.atomic():
        record(actor, "session.end", actor.user, from_address=session.ip)
        session.end()


def end_other_sessions(user: User, current: str | None) -> int:
    """End every session of the user but the one with the key ``current``; how many there were."""
    with transaction.atomic():
        others = UserSession.objects.filter(user=user).exclude(session_key=current or "")
        keys = list(others.values_list("session_key", flat=True))
        Session.objects.filter(session_key__in=keys).delete()
        others.delete()
    return len(keys)


def end_others(actor: Actor, current: str | None) -> int:
    """``end_other_sessions`` of the actor, on record. Raise ``NotAllowed``."""
    if actor.user is None or actor.token is not None:
        raise NotAllowed("Only somebody signed in has a session to keep.")
    with transaction.atomic():
        count = end_other_sessions(actor.user, current)
        record(actor, "session.end_others", actor.user, count=count)
    return count
