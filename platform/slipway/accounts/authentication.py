"""How a request says who asks: a token, or the console's session with its CSRF proof."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from rest_framework import authentication
from rest_framework.request import Request

from slipway.accounts.actors import Actor, Robot
from slipway.accounts.models import User
from slipway.accounts.services import authenticate_token
from slipway.errors import CHALLENGE, CSRF_FIX, CsrfFailed


class TokenAuthentication(authentication.BaseAuthentication):
    """``Authorization: Bearer slp_…``; other schemes are not ours and count as no credentials."""

    def authenticate(self, request: Request) -> tuple[User | Robot, Actor] | None:
        scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        actor = authenticate_token(text.strip(), origin=origin_of(request))
        return actor.user or Robot(actor.label), actor

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class SessionAuthentication(authentication.SessionAuthentication):
    """The session's cookie; anything but reading needs the CSRF token too."""

    def authenticate(self, request: Request) -> tuple[User, Actor] | None:
        user = getattr(request._request, "user", None)
        if not isinstance(user, User) or not user.is_active:
            return None
        self.enforce_csrf(request)
        return user, Actor(user=user, origin=origin_of(request))

    def enforce_csrf(self, request: Request) -> None:
        check = authentication.CSRFCheck(_unreached)
        check.process_request(request)
        reason = check.process_view(request, _unreached, (), {})
        if reason is not None:
            raise CsrfFailed(f"The session's cookie came without a valid CSRF token. {CSRF_FIX}")


def origin_of(request: Request | HttpRequest) -> str:
    """The caller's address, for the audit log; the server has set it right behind a trusted proxy."""
    return str(request.META.get("REMOTE_ADDR", ""))


def _unreached(request: HttpRequest) -> Any:
    raise AssertionError("the CSRF check answers itself")
