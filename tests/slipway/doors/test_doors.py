"""Every route and method, asked by everybody; and nothing outside the table opens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from django.contrib.messages import ERROR, get_messages
from django.db import transaction
from django.test import Client
from django.urls import reverse

from tests.slipway.doors.table import FILE, ROLES, Door, read_doors, routes
from tests.slipway.doors.world import NOBODY, World

DOORS = [door for door in read_doors() if not door.name.startswith("ws:")]
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
REST_ONLY_PAGES = {"api:schema", "api:docs"}
PLACES = {"team", "project", "slug"}
VOLATILE = ("instance", "request_id")


def holds_something(door: Door) -> bool:
    """Whether something of a team or project is behind the door: people, hosts, templates are nobody's.

    A context is named by its digest; nodes keep those of projects apart (tests/workers/test_contexts.py).
    """
    nobodys = {"username", "action", "kind", "host", "context", "template"}
    return "team" in door.parameters and bool(door.parameters - PLACES - nobodys)


def ask(client: Client, door: Door, method: str, given: Mapping[str, str]) -> Any:
    """One request whose effects are undone again."""
    more: dict[str, Any] = {}
    if method != "GET":
        more["data"] = door.content(given)
        if door.is_rest or method != "POST":
            more["content_type"] = "application/json"
    with transaction.atomic():
        answer = client.generic if method not in METHODS else getattr(client, method.lower())
        response = answer(door.address(given), **more)
        transaction.set_rollback(True)
    return response


# --------------------------------------------------------------------------- the table is complete


def test_every_route_has_a_name_of_its_own() -> None:
    counts = Counter(route.name for route in routes())
    assert [name for name, count in counts.items() if count > 1 or name.endswith(":") or not name] == []


def test_every_route_has_a_line_in_the_table() -> None:
    known = {door.name for door in DOORS}
    missing = [route for route in routes() if route.name not in known]
    lines = [f"{route.name:<29} GET     200   200    404      200   401" for route in missing]
    assert not lines, f"add to {FILE.name}, as its head tells:\n" + "\n".join(lines)


def test_every_line_of_the_table_is_of_a_route() -> None:
    assert {door.name for door in DOORS} - {route.name for route in routes()} == set()


def test_every_argument_has_something_of_the_world_and_something_of_nobody(world: World) -> None:
    needed = {parameter for route in routes() for parameter in route.parameters}
    assert needed <= NOBODY.keys(), "world.py: give NOBODY and World.known a value for these"
    assert world.known.keys() == NOBODY.keys()


def test_the_openapi_document_names_the_same_operations(db: None) -> None:
    document = Client().get(reverse("api:schema")).json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    braces = {name: f"{{{name}}}" for name in NOBODY}
    walked = {
        (door.method, _unquoted(door.address(braces)))
        for door in DOORS
        if door.is_rest and door.name not in REST_ONLY_PAGES
    }
    assert walked == described, "doors.txt and the schema differ by these"


def _unquoted(address: str) -> str:
    return address.partition("?")[0].replace("%7B", "{").replace("%7D", "}")


# --------------------------------------------------------------------------- and true


@pytest.mark.parametrize("door", DOORS, ids=str)
def test_everybody_gets_the_answer_in_the_table(world: World, door: Door) -> None:
    found = {}
    for role in ROLES:
        client = world.caller(role, by_token=door.is_rest)
        found[role] = outcome(ask(client, door, door.method, world.known))
    assert found == door.answers


def outcome(response: Any) -> str:
    """As the table writes it."""
    is_told = any(message.level >= ERROR for message in get_messages(response.wsgi_request))
    return f"{response.status_code}{'!' if is_told else ''}"


@pytest.mark.parametrize("door", [door for door in DOORS if door.answers["stranger"] == "404"], ids=str)
def test_what_is_not_the_strangers_answers_as_what_does_not_exist(world: World, door: Door) -> None:
    client = world.caller("stranger", by_token=door.is_rest)
    real = ask(client, door, door.method, world.known)
    unreal = ask(client, door, door.method, NOBODY)
    assert told(real, world.known) == told(unreal, NOBODY)


@pytest.mark.parametrize("door", [door for door in DOORS if holds_something(door)], ids=str)
def test_nothing_is_reached_through_a_place_it_does_not_belong_to(world: World, door: Door) -> None:
    """The stranger's own team and project, with the owner's things below them."""
    nothing = {**NOBODY, **{name: world.theirs[name] for name in PLACES}}
    client = world.caller("stranger", by_token=door.is_rest)
    real = ask(client, door, door.method, world.theirs)
    unreal = ask(client, door, door.method, nothing)
    assert real.status_code == 404
    assert told(real, world.theirs) == told(unreal, nothing)


def told(response: Any, given: Mapping[str, str]) -> dict[str, Any]:
    """All that an answer tells, but for the names that were asked for."""
    headers = {name: value for name, value in response.items() if name not in CHANGING}
    if response["Content-Type"] == "application/problem+json":
        body = {name: value for name, value in response.json().items() if name not in VOLATILE}
        text = repr(body)
    else:
        text = re.sub(r'(nonce|value|content)="[^"]*"', "", response.content.decode())
    for name, value in sorted(given.items(), key=lambda item: -len(item[1])):  # one may hold another
        if len(value) > 3:
            text = text.replace(value, f"<{name.removesuffix('_id')}>")
    return {"status": response.status_code, "headers": headers, "text": text}


CHANGING = ("X-Request-Id", "Content-Length", "Content-Security-Policy")
"""An id, a length that goes with names, a nonce."""


@pytest.mark.parametrize(
    "name", [route.name for route in routes() if route.room.startswith("slipway.")], ids=str
)
def test_methods_that_are_not_in_the_table_are_not_allowed(world: World, name: str) -> None:
    mine = [door for door in DOORS if door.name == name]
    client = world.caller("owner", by_token=mine[0].is_rest)
    for method in set(METHODS) - {door.method for door in mine}:
        assert ask(client, mine[0], method, world.known).status_code == 405, (
            f"{method} {name} answers: give it a line in {FILE.name}"
        )
