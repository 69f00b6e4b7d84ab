"""Bearer tokens of the registry: signed, short-lived statements of who may pull from and push to what.

A JSON web token with HMAC-SHA256, as registry clients expect one. The key is derived from Django's secret,
so it is rotated with it: what a former secret signed is accepted for as long as that one is kept.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from slipway.accounts.actors import Actor
from slipway.accounts.models import Token, TokenScope, User
from slipway.ids import parse_id
from slipway.projects.models import Project
from slipway.repositories.access import Access, Grants
from workers.errors import UserError

LIFE = 300
"""Seconds. A right that is withdrawn may still be used to pull for so long; to push it is asked for anew."""
REFRESH_LIFE = 90 * 86_400
NODE_USER = "node"
"""The user name under which a node gives a token made for it as a password."""
MAX_LENGTH = 16_384


class InvalidBearer(UserError):
    """Not a token of ours, or no longer one; the client is to get another."""

    code = "BEARER_INVALID"


@dataclass(frozen=True)
class Claims:
    kind: str
    """``access`` or ``refresh``."""
    user: str = ""
    """Id of a user; empty for robots, nodes and nobody."""
    token: str = ""
    """Id of the token of ours that was used."""
    is_node: bool = False
    grants: Grants = field(default_factory=dict)
    catalog: bool = False
    home: str = ""
    """Id of a project: a node that works for it may pull what the project may, and its user."""
    is_bound: bool = False
    """That user came with a token good for this project alone."""
    proof: str = ""
    """Of a refresh token made for a password: it ends with that password."""
    expires: int = 0


def sign(claims: Claims, life: int, now: float | None = None) -> str:
    now = int(now if now is not None else time.time())
    body: dict[str, Any] = {"k": claims.kind, "iat": now, "nbf": now - 5, "exp": now + life}
    more = {
        "sub": claims.user,
        "tok": claims.token,
        "node": claims.is_node,
        "cat": claims.catalog,
        "home": claims.home,
        "bound": claims.is_bound,
        "proof": claims.proof,
    }
    body |= {name: value for name, value in more.items() if value}
    body["access"] = [
        {"type": "repository", "name": path, "actions": sorted(verbs)}
        for path, verbs in claims.grants.items()
    ]
    text = f"{_HEADER}.{_encode(json.dumps(body, separators=(',', ':')).encode())}"
    return f"{text}.{_encode(_signature(_keys()[0], text))}"


def verify(text: str, kind: str, now: float | None = None) -> Claims:
    """Raise ``InvalidBearer``."""
    if len(text) > MAX_LENGTH:
        raise InvalidBearer("This is no token of this registry.")
    claims = _signed(text, _keys())
    if claims.kind != kind or claims.expires <= (now if now is not None else time.time()):
        raise InvalidBearer("This token has expired; ask for another.")
    return claims


@lru_cache(maxsize=512)
def _signed(text: str, keys: tuple[bytes, ...]) -> Claims:
    """What a token says that one of ``keys`` signed; a client sends the same one many times."""
    head, _, signature = text.rpartition(".")
    if not head.startswith(f"{_HEADER}."):
        raise InvalidBearer("This is no token of this registry.")
    given = _decode(signature)
    if not any(hmac.compare_digest(_signature(key, head), given) for key in keys):
        raise InvalidBearer("This token was not signed here.")
    body = json.loads(_decode(head.partition(".")[2]))
    return Claims(
        body["k"],
        body.get("sub", ""),
        body.get("tok", ""),
        body.get("node", False),
        {each["name"]: frozenset(each["actions"]) for each in body["access"]},
        body.get("cat", False),
        home=body.get("home", ""),
        is_bound=body.get("bound", False),
        proof=body.get("proof", ""),
        expires=body["exp"],
    )


def mint(
    project: Project,
    repository: str,
    actions: Iterable[str],
    ttl: int = 900,
    *,
    for_actor: Actor | None = None,
) -> str:
    """A token for one errand: ``actions`` (``pull``, ``push``) in ``repository`` of ``project``.

    ``/v2/`` takes it as a bearer token, and as the password of the user ``node``. ``for_actor`` is who the
    errand is done for: pushes are then theirs in the audit log, and end when they may not push any more.
    """
    path = f"{project.path}/{repository}"
    claims = claims_of(for_actor, {path: frozenset(actions)})
    if for_actor is None or for_actor.is_operator:
        claims = Claims("access", is_node=True, grants=claims.grants)
    return sign(claims, ttl)


def claims_of(actor: Actor | None, grants: Mapping[str, frozenset[str]], *, catalog: bool = False) -> Claims:
    return Claims(
        "access",
        user=actor.user.hex if actor and actor.user else "",
        token=actor.token.hex if actor and actor.token else "",
        grants=grants,
        catalog=catalog,
    )


def access_of(claims: Claims, origin: str = "") -> Access:
    return Access(
        lambda: find_actor(claims, origin),
        claims.grants,
        is_anonymous=not (claims.user or claims.token or claims.is_node),
        is_node=claims.is_node,
        origin=origin,
        may_list=claims.catalog,
        home=parse_id(claims.home) if claims.home else None,
    )


def find_actor(claims: Claims, origin: str = "") -> Actor | None:
    """Who the token was made for, as they stand now; None for nobody and for a node.

    Raise ``InvalidBearer`` when user or token are gone, revoked or shut out.
    """
    if not claims.user and not claims.token:
        return None
    token = user = None
    if claims.token:
        key = parse_id(claims.token)
        rows = Token.objects.select_related("user", "created_by", "project__team")
        token = rows.filter(pk=key).first() if key else None
        if token is None or not token.is_active:
            raise InvalidBearer("The token behind this one was revoked or has expired.")
        user = token.user
    elif (key := parse_id(claims.user)) is not None:
        user = User.objects.filter(pk=key).first()
    if (user is None and (token is None or not token.is_robot)) or (user is not None and not user.is_active):
        raise InvalidBearer("The account behind this token is gone.")
    if claims.is_bound and (key := parse_id(claims.home)) is not None:
        home = Project.objects.select_related("team").filter(pk=key).first()
        token = Token(user=user, project=home, scopes=[TokenScope.READ.value])
    return Actor(user=user, token=token, origin=origin)


def password_proof(user: User) -> str:
    """Changes with the password, and tells nothing about it."""
    return hmac.new(_keys()[0], user.password.encode(), hashlib.sha256).hexdigest()[:32]


# --------------------------------------------------------------------------- signing


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise InvalidBearer("This is no token of this registry.") from error


_HEADER = _encode(b'{"alg":"HS256","typ":"JWT"}')
"""Always this one: a token cannot choose how it is checked."""


def _signature(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _keys() -> tuple[bytes, ...]:
    """The present one first."""
    return tuple(_derive(secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))


@lru_cache(maxsize=16)
def _derive(secret: str) -> bytes:
    expand = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"slipway registry tokens")
    return expand.derive(secret.encode())
