"""Input nobody means well with, at every door: refused in words of ours, never an error of ours."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from tests.slipway.doors.table import Door, read_doors
from tests.slipway.doors.world import World

ELSEWHERE = ("ws:", "account_", "mfa_", "social", "readyz")
"""Of the framework; and one that says 503 here, since no Redis runs."""
DOORS = [door for door in read_doors() if not door.name.startswith(ELSEWHERE)]
ADDRESSES = [door for door in DOORS if door.parameters]
READS = [door for door in DOORS if door.method == "GET" and "wait" not in door.name]
WRITES = [door for door in DOORS if door.is_rest and door.method in ("POST", "PUT", "PATCH")]
WORDS = {
    "nul": "a\0b",
    "surrogate": "\ud800",
    "right to left": "\u202egnp.exe",
    "long": "x" * 5000,
    "digits": "9" * 400,
    "dots": "..",
    "quotes": "'\";--",
}
PATHS = ("%00", "%ff%fe", "%ed%a0%80", "x" * 3000, "9" * 400)
QUERY = ("cursor", "limit", "project", "team", "q", "state", "before", "position", "tail", "since", "object")
QUERY_WORDS = ("%00", "9" * 400, "%ff", "%ed%a0%80", "-1", "1e999", "W10:1abcde:forged")
NUMBERS: list[Any] = [10**30, -(10**30), 2**63, 1e308, True, "1", [], {}, None]
BODIES: dict[str, bytes] = {
    "nothing": b"",
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "half": b'{"name": ',
    "not utf-8": b'{"name": "\xff"}',
    "lone surrogate": rb'{"name": "\ud800"}',
    "deep": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "long number": b'{"name": ' + b"9" * 5000 + b"}",
    "infinity": b'{"name": Infinity}',
    "twice": b'{"name": 1, "name": 2}',
    "a key with NUL": rb'{"a\u0000b": 1}',
}


def refuse_nothing_worse(response: Any) -> None:
    """503 is the node's, which answers nobody here."""
    assert response.status_code < 500 or response.status_code == 503, response.content


@lru_cache(maxsize=1)
def caller(world: World, *, by_token: bool) -> Client:
    """One per test: what a request does to the session is rolled back with it."""
    return world.caller("owner", by_token=by_token)


def ask(world: World, door: Door, address: str, method: str | None = None, **more: Any) -> Any:
    client = caller(world, by_token=door.is_rest)
    with transaction.atomic():
        response = getattr(client, (method or door.method).lower())(address, **more)
        transaction.set_rollback(True)
    return response


@pytest.mark.parametrize("door", ADDRESSES, ids=str)
def test_no_address_is_too_strange(world: World, door: Door) -> None:
    usual = door.address(world.known)
    for word in PATHS:
        for name in door.parameters:
            value = world.known[name]
            refuse_nothing_worse(ask(world, door, usual.replace(value, word)))


@pytest.mark.parametrize(
    "door", [door for door in DOORS if door.method == "GET" and "wait" not in door.name], ids=str
)
def test_no_query_is_too_strange(world: World, door: Door) -> None:
    """All names at once; and where that was refused, which says little of the other names, one by one."""
    address = door.address(world.known).partition("?")[0]
    refused = []
    for word in QUERY_WORDS:
        answer = ask(world, door, f"{address}?" + "&".join(f"{name}={word}" for name in QUERY))
        refuse_nothing_worse(answer)
        refused += [word] if answer.status_code >= 400 else []
    for query in (f"{name}={word}" for name in QUERY for word in refused[:2]):
        refuse_nothing_worse(ask(world, door, f"{address}?{query}"))


@pytest.mark.parametrize("door", WRITES, ids=str)
def test_no_body_is_too_strange(world: World, door: Door) -> None:
    for body in BODIES.values():
        answer = ask(world, door, door.address(world.known), data=body, content_type="application/json")
        refuse_nothing_worse(answer)


@pytest.mark.parametrize("door", [door for door in WRITES if door.body], ids=str)
def test_no_value_is_too_strange(world: World, door: Door) -> None:
    usual = door.content(world.known)
    for name in usual:
        for value in (*WORDS.values(), *NUMBERS):
            body = json.dumps({**usual, name: value})
            answer = ask(world, door, door.address(world.known), data=body, content_type="application/json")
            refuse_nothing_worse(answer)


@pytest.mark.parametrize("door", [door for door in DOORS if door.body and not door.is_rest], ids=str)
def test_no_form_is_too_strange(world: World, door: Door) -> None:
    usual = door.content(world.known)
    for name in usual:
        for value in (word for kind, word in WORDS.items() if kind != "surrogate"):
            refuse_nothing_worse(ask(world, door, door.address(world.known), data={**usual, name: value}))


@pytest.mark.parametrize("door", [door for door in DOORS if door.is_rest], ids=str)
def test_what_a_door_can_do_may_be_asked(world: World, door: Door) -> None:
    for method in ("OPTIONS", "HEAD"):
        refuse_nothing_worse(ask(world, door, door.address(world.known), method))
