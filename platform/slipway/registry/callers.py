"""Who calls: a bearer token, or name and password (a token's text, mostly) in the clear of TLS."""

from __future__ import annotations

import binascii
from base64 import b64decode

from slipway.accounts.errors import InvalidToken
from slipway.accounts.passwords import authenticate_password
from slipway.accounts.services import authenticate_token
from slipway.registry.calls import Call
from slipway.repositories import tokens
from slipway.repositories.access import Access

PREFIX = "slp_"


def brings_grants(call: Call) -> bool:
    """Whether the caller has a bearer token of the registry, which ``identify`` reads without a database."""
    return call.header(b"authorization")[:9].lower() == "bearer ey"


def identify(call: Call) -> Access:
    """Raise what says that the credentials are no good; whoever brings none is anonymous."""
    scheme, _, text = call.header(b"authorization").partition(" ")
    scheme, text = scheme.lower(), text.strip()
    if not scheme:
        return Access(origin=call.origin)
    if scheme == "bearer":
        if text.startswith(PREFIX):
            return Access.of(authenticate_token(text, origin=call.origin))
        return tokens.access_of(tokens.verify(text, "access"), call.origin)
    if scheme == "basic":
        return by_password(*split_basic(text), call.origin)
    raise InvalidToken(f"The scheme {scheme[:20]!r} is not known here; Bearer and Basic are.")


def split_basic(text: str) -> tuple[str, str]:
    try:
        user, colon, password = b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidToken("Basic: name and password in base64 are needed.") from error
    if not colon or "\0" in user:
        raise InvalidToken("Basic: name and password in base64 are needed.")
    return user, password


def by_password(user: str, password: str, origin: str) -> Access:
    """A token's text is enough, whatever the name; a node's token needs the name ``node``."""
    if password.startswith(PREFIX):
        return Access.of(authenticate_token(password, origin=origin))
    if user == tokens.NODE_USER:
        return tokens.access_of(tokens.verify(password, "access"), origin)
    return Access.of(authenticate_password(user, password, origin=origin))
