"""What allauth does to accounts: on record, and other sessions ended where it matters."""

from __future__ import annotations

from typing import Any

from allauth.account import signals as account
from allauth.mfa import signals as mfa
from allauth.mfa.models import Authenticator
from django.db import transaction
from django.http import HttpRequest

from slipway.accounts.actors import Actor
from slipway.accounts.authentication import origin_of
from slipway.accounts.models import User
from slipway.accounts.sessions import end_other_sessions
from slipway.audit.services import record


def connect() -> None:
    account.user_logged_in.connect(_signed_in)
    account.user_signed_up.connect(_signed_up)
    for changed in (account.password_changed, account.password_reset, account.password_set):
        changed.connect(_password_changed)
    account.email_changed.connect(_email_changed)
    mfa.authenticator_added.connect(_factor_added)
    mfa.authenticator_removed.connect(_factor_removed)
    mfa.authenticator_reset.connect(_codes_made)


def _note(request: HttpRequest, user: User, action: str, **detail: Any) -> None:
    with transaction.atomic():
        record(Actor(user=user, origin=origin_of(request)), action, user, **detail)


def _signed_in(request: HttpRequest, user: User, **kwargs: Any) -> None:
    _note(request, user, "session.start", by_provider="sociallogin" in kwargs)


def _signed_up(request: HttpRequest, user: User, **kwargs: Any) -> None:
    _note(request, user, "user.sign_up", by_provider="sociallogin" in kwargs)


def _password_changed(request: HttpRequest, user: User, **kwargs: Any) -> None:
    """Whoever knew the old one is signed out everywhere."""
    end_other_sessions(user, request.session.session_key)
    _note(request, user, "user.password_change")


def _email_changed(request: HttpRequest, user: User, **kwargs: Any) -> None:
    _note(request, user, "user.email_change")


def _factor_added(request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    """Sessions from before have proved less than is asked for now."""
    if authenticator.type != Authenticator.Type.RECOVERY_CODES:
        end_other_sessions(user, request.session.session_key)
    _note(request, user, "factor.add", kind=authenticator.type)


def _factor_removed(request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    _note(request, user, "factor.remove", kind=authenticator.type)


def _codes_made(request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any) -> None:
    _note(request, user, "factor.renew", kind=authenticator.type)
