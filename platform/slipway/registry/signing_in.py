"""``/auth/token``: who they are and what they may do, put into a bearer token.

GET with Basic is Docker's, POST with a form OAuth 2's. Whatever is asked for beyond what is allowed is left
out of the token without a word, as clients expect: the request that needs it is then refused.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvalidToken
from slipway.projects.models import Project
from slipway.registry.answers import Answer, document
from slipway.registry.callers import by_password, split_basic
from slipway.registry.calls import Call
from slipway.registry.desk import Desk
from slipway.registry.faults import InvalidUpload
from slipway.registry.intake import pieces
from slipway.repositories import tokens
from slipway.repositories.access import Access, Verb, reads_for_home, verbs
from slipway.repositories.names import InvalidRepositoryName, RepositoryPath
from slipway.repositories.queries import find_repository

MAX_SCOPES = 100
MAX_FORM = 64 << 10


async def by_header(call: Call, desk: Desk) -> Answer:
    """GET."""
    return await desk.run(lambda: _by_header(call))


def _by_header(call: Call) -> Answer:
    scheme, _, text = call.header(b"authorization").partition(" ")
    if scheme and scheme.lower() != "basic":
        raise InvalidToken("Basic is how to sign in here: name and token.")
    access = by_password(*split_basic(text.strip()), call.origin) if scheme else Access(origin=call.origin)
    _, claims = _grant(access, call.parameters("scope"))
    body = _answer(claims, "token")
    body["access_token"] = body["token"]
    if call.parameter("offline_token") == "true" and access.actor is not None:
        body["refresh_token"] = _refresh_token(access.actor)
    return document(200, body, **{"Cache-Control": "no-store"})


async def by_form(call: Call, desk: Desk) -> Answer:
    """POST."""
    text = b""
    async for piece, _ in pieces(call):
        text += b"".join(piece)
        if len(text) > MAX_FORM:
            raise InvalidUpload("The form is too long.")
    form = parse_qsl(text.decode("utf-8", "replace"), keep_blank_values=True)
    return await desk.run(lambda: _by_form(call, form))


def _by_form(call: Call, form: list[tuple[str, str]]) -> Answer:
    given = dict(form)
    kind = given.get("grant_type")
    if kind == "password":
        access = by_password(given.get("username", ""), given.get("password", ""), call.origin)
    elif kind == "refresh_token":
        access = Access.of(_refreshed(given.get("refresh_token", ""), call.origin))
    else:
        raise InvalidUpload("grant_type: password or refresh_token is needed.")
    scopes = [value for name, value in form if name == "scope"]
    granted, claims = _grant(access, scopes)
    body = _answer(claims, "access_token")
    body |= {"scope": granted, "token_type": "Bearer"}
    if kind == "refresh_token":
        body["refresh_token"] = given["refresh_token"]
    elif given.get("access_type") == "offline" and access.actor is not None:
        body["refresh_token"] = _refresh_token(access.actor)
    return document(200, body, **{"Cache-Control": "no-store"})


def _answer(claims: tokens.Claims, name: str) -> dict[str, Any]:
    return {
        name: tokens.sign(claims, tokens.LIFE),
        "expires_in": tokens.LIFE,
        "issued_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


# --------------------------------------------------------------------------- what is granted


def _grant(access: Access, scopes: Iterable[str]) -> tuple[str, tokens.Claims]:
    """What of ``scopes`` the caller may: as text, and as the claims of their token."""
    wanted = [each for scope in scopes for each in scope.split()][:MAX_SCOPES]
    grants: dict[str, frozenset[str]] = {}
    catalog = False
    for scope in wanted:
        kind, _, rest = scope.partition(":")
        path, _, actions = rest.rpartition(":")
        if kind.partition("(")[0] == "repository":
            found = _allowed(access, path) & _asked(actions)
            grants[path] = grants.get(path, frozenset()) | found
        elif scope == "registry:catalog:*":
            catalog = not access.is_anonymous
    grants = {path: found for path, found in grants.items() if found}
    text = [f"repository:{path}:{','.join(sorted(found))}" for path, found in grants.items()]
    if access.is_node:
        return " ".join(text), tokens.Claims("access", is_node=True, grants=grants, catalog=catalog)
    return " ".join(text), tokens.claims_of(access.actor, grants, catalog=catalog)


def _asked(actions: str) -> set[str]:
    return {"pull", "push", "delete"} if "*" in actions.split(",") else set(actions.split(","))


def _allowed(access: Access, path: str) -> frozenset[str]:
    if access.is_node:
        found = (access.grants or {}).get(path, frozenset())
        repository = find_repository(path) if access.home is not None else None
        pulls = repository is not None and reads_for_home(access, repository)
        return found | {Verb.PULL.value} if pulls else found
    try:
        parts = RepositoryPath.parse(path)
    except InvalidRepositoryName:
        return frozenset()
    repository = find_repository(path)
    project = repository.project if repository else _project(parts)
    found = frozenset(verb.value for verb in verbs(access.actor, project, repository))
    return found if access.grants is None else found & access.grants.get(path, frozenset())


def _project(parts: RepositoryPath) -> Project | None:
    rows = Project.objects.select_related("team")
    return rows.filter(team__slug=parts.team, slug=parts.project).first()


# --------------------------------------------------------------------------- refresh tokens


def _refresh_token(actor: Actor) -> str:
    """It ends with the token it was made for, or with the password."""
    claims = tokens.Claims(
        "refresh",
        user=actor.user.hex if actor.user else "",
        token=actor.token.hex if actor.token else "",
        proof=tokens.password_proof(actor.user) if actor.user and not actor.token else "",
    )
    return tokens.sign(claims, tokens.REFRESH_LIFE)


def _refreshed(text: str, origin: str) -> Actor:
    claims = tokens.verify(text, "refresh")
    actor = tokens.find_actor(claims, origin)
    if actor is None:
        raise InvalidToken("This token was made for nobody.")
    if actor.token is None and actor.user is not None:
        fits = hmac.compare_digest(claims.proof, tokens.password_proof(actor.user))
        if not fits or actor.has_second_factor:
            raise InvalidToken("The password has changed since; sign in again.")
    return actor
