"""Requests made up from the OpenAPI document, by every role: no error of ours, every answer as described."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CheckFunction
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from slipway.nodes import log_reading
from tests.slipway.doors.table import ROLES
from tests.slipway.doors.world import NOBODY, World

CHECKS: list[CheckFunction] = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Streams are sent piece by piece, which the synchronous handler of these tests remarks on.
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous")


@schemathesis.serializer("application/x-ndjson")
def as_it_is(context: object, value: object) -> bytes:
    """A manifest's lines are bytes to the document; what they say is for tests/slipway/builds."""
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture
def schema(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The document of this checkout, with the application behind it, in the test's own transaction."""
    # A follow would wait for the agent, which never answers here.
    monkeypatch.setattr(log_reading, "PATIENCE", 0)
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield schemathesis.openapi.from_wsgi("/api/v1/schema", WSGIHandler(), base_url="http://testserver")
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ROLES)
def test_made_up_requests_are_answered_as_described(schema: Any, world: World, role: str) -> None:
    attack(schema, world, role, settings(max_examples=2, derandomize=True))


@pytest.mark.soak
@pytest.mark.parametrize("role", ROLES)
def test_many_made_up_requests_are_answered_as_described(schema: Any, world: World, role: str) -> None:
    attack(schema, world, role, settings(max_examples=20))


def attack(schema: Any, world: World, role: str, effort: settings) -> None:
    faults = []
    for found in schema.get_all_operations():
        operation = found.ok()
        try:
            assault(operation, world, role, effort)
        except (AssertionError, FailureGroup) as fault:
            faults.append(f"{operation.label}: {fault}")
    assert not faults, "\n\n".join(faults)


def assault(operation: Any, world: World, role: str, effort: settings) -> None:
    """Requests to one operation, each undone afterwards; arguments are half made up and half real."""
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    made_up = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))
    token = world.tokens.get(role)

    @settings(
        effort,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=made_up, real=st.sets(st.sampled_from(sorted(NOBODY)), min_size=len(NOBODY) // 2))
    def one(case: Any, real: set[str]) -> None:
        for name in case.path_parameters or {}:
            if name in real:
                case.path_parameters[name] = world.known[name]
        if operation.definition.raw.get("operationId") == "wait_for_container":
            case.query["timeout"] = "0"
        case.headers.pop("Authorization", None)
        if token is not None:
            case.headers["Authorization"] = f"Bearer {token}"
        case.cookies.clear()
        with transaction.atomic():
            response = case.call()
            transaction.set_rollback(True)
        case.validate_response(response, checks=CHECKS)
        assert response.status_code != 500, case.as_curl_command()

    one()
