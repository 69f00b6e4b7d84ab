"""Signing in by name and password where no browser is: only for accounts that need nothing more."""

from __future__ import annotations

from functools import cache as once
from hashlib import sha256

from django.contrib.auth.hashers import check_password, make_password
from django.core.cache import cache
from django.db.models import Q

from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvalidToken
from slipway.accounts.models import User
from workers.errors import UserError

ADDRESS_TRIES = 10
"""Failures from one address within ``MINUTE``, and of one name within ``FIVE_MINUTES``."""
NAME_TRIES = 5
MINUTE = 60
FIVE_MINUTES = 300


class TooManyTries(UserError):
    code = "TOO_MANY_REQUESTS"


class WrongPassword(InvalidToken):
    """Unknown name, wrong password, an account shut out: one answer."""


class FactorNeeded(InvalidToken):
    """The password is right, but the account has a second factor, which cannot be asked for here."""


def authenticate_password(username: str, password: str, *, origin: str = "") -> Actor:
    """Raise ``WrongPassword``, ``FactorNeeded``, ``TooManyTries``."""
    keys = {
        f"password:from:{origin}": (ADDRESS_TRIES, MINUTE),
        f"password:of:{sha256(username.lower().encode()).hexdigest()}": (NAME_TRIES, FIVE_MINUTES),
    }
    waits = [seconds for key, (tries, seconds) in keys.items() if int(cache.get(key) or 0) >= tries]
    if waits:
        raise TooManyTries(
            "Too many wrong passwords; wait a few minutes, or use a token.", retry_after=max(waits)
        )
    named = Q(username=username) | (Q(email__iexact=username) & ~Q(email=""))
    # With a NUL PostgreSQL refuses even to compare.
    user = User.objects.filter(named, is_active=True).first() if username and "\0" not in username else None
    # As much work for a name that nobody has.
    if not check_password(password, user.password if user else _nobodys()) or user is None:
        for key, (_, seconds) in keys.items():
            cache.add(key, 0, seconds)
            cache.incr(key)
        raise WrongPassword(
            "Unknown user name or wrong password. A token does as a password: make one at /tokens."
        )
    actor = Actor(user=user, origin=origin)
    if actor.has_second_factor:
        raise FactorNeeded(
            "This account has a second factor: use a token as the password; make one at /tokens."
        )
    return actor


@once
def _nobodys() -> str:
    return make_password("nobody's")
