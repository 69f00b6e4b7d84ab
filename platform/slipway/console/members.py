"""Who looks at a page: a signed-in user, or somebody to be led to the sign-in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import DataError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from slipway.accounts.actors import Actor
from slipway.accounts.authentication import origin_of
from slipway.accounts.errors import MfaRequired
from slipway.accounts.models import User
from slipway.errors import status_of
from slipway.threads import look
from workers.errors import UserError

P = ParamSpec("P")
Page = Callable[Concatenate[HttpRequest, Actor, P], HttpResponse]
WaitingPage = Callable[Concatenate[HttpRequest, Actor, P], Awaitable[HttpResponse]]


def actor_of(request: HttpRequest) -> Actor:
    if not isinstance(request.user, User):
        raise PermissionDenied
    return Actor(user=request.user, origin=origin_of(request))


def member_page(page: Page[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """The page of a signed-in user; what they may not see does not exist, what they may not do is refused."""

    @login_required
    @wraps(page)
    def wrapped(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            return page(request, actor_of(request), *args, **kwargs)
        except (UserError, DataError) as error:
            return _refuse(request, error)

    return wrapped  # type: ignore[return-value]  # wraps() makes the request a named argument


def waiting_page(
    page: WaitingPage[P],
) -> Callable[Concatenate[HttpRequest, P], Coroutine[Any, Any, HttpResponse]]:
    """As ``member_page``, for an asynchronous page: one that may take longer than a second to answer."""

    @wraps(page)
    async def wrapped(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not await look(lambda: request.user.is_authenticated):
            return redirect_to_login(request.get_full_path())
        try:
            return await page(request, await look(actor_of, request), *args, **kwargs)
        except (UserError, DataError) as error:
            return await look(_refuse, request, error)

    return wrapped  # type: ignore[return-value]  # as above


def _refuse(request: HttpRequest, error: UserError | DataError) -> HttpResponse:
    """What the page itself has no words for: Django answers with a page of its own."""
    if isinstance(error, MfaRequired):
        return render(request, "account/factor_needed.html", status=403)
    if isinstance(error, UserError):
        kind = _PAGES.get(status_of(error), BadRequest)
        raise kind(error.message) from error
    raise BadRequest("The database cannot hold this value.") from error  # a NUL, for PostgreSQL


_PAGES: dict[int, type[Exception]] = {403: PermissionDenied, 404: Http404}
