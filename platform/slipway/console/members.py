"""Who looks at a page: a signed-in user, or somebody to be led to the sign-in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from slipway.accounts.actors import Actor
from slipway.accounts.authentication import origin_of
from slipway.accounts.errors import MfaRequired, NotAllowed, NotFound
from slipway.accounts.models import User

P = ParamSpec("P")
Page = Callable[Concatenate[HttpRequest, Actor, P], HttpResponse]


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
        except NotFound as error:
            raise Http404(error.message) from error
        except MfaRequired:
            return render(request, "account/factor_needed.html", status=403)
        except NotAllowed as error:
            raise PermissionDenied(error.message) from error

    return wrapped
