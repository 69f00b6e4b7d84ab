"""The OpenAPI document: valid, without warnings, complete, and true of the answers."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import get_resolver
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.factories import make_container, make_image, make_job
from tests.slipway.api.conftest import People, Rest


@pytest.fixture
def document(db: None) -> dict[str, Any]:
    answer = Client().get("/api/v1/schema")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_it_is_made_without_a_warning() -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=io.StringIO())


def test_every_route_is_in_it(document: dict[str, Any]) -> None:
    resolver = get_resolver().namespace_dict["api"][1]
    names = {name for name in resolver.reverse_dict if isinstance(name, str)} - {"schema", "docs"}
    assert len(document["paths"]) == len(names)
    operations = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(operations) == len(set(operations))


def test_every_operation_tells_of_problems_and_how_to_sign_in(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert {"token": []} in operation["security"], path
            assert "default" in operation["responses"], path
            assert "401" in operation["responses"], path
            assert ("404" in operation["responses"]) == ("{" in path), path
            assert operation["summary"], path
    kinds = document["components"]["responses"]["Problem"]["content"]
    assert list(kinds) == ["application/problem+json"]


def test_streams_and_archives_are_described(document: dict[str, Any]) -> None:
    project = "/api/v1/projects/{team}/{project}"
    logs = document["paths"][f"{project}/containers/{{container}}/logs"]["get"]
    assert set(logs["responses"]["200"]["content"]) == {"text/plain", "application/x-ndjson"}
    archive = document["paths"][f"{project}/images"]["post"]["requestBody"]["content"]
    assert {"application/x-tar", "multipart/form-data"} <= archive.keys()
    assert "202" in document["paths"][f"{project}/images"]["post"]["responses"]


def check(document: dict[str, Any], component: str, value: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{component}", "components": document["components"]}
    Draft202012Validator(schema).validate(value)


def test_the_answers_are_as_described(document: dict[str, Any], people: People) -> None:
    make_image(people.project)
    container = make_container(people.project, cause={"code": "X", "message": "x", "facts": {}})
    job = make_job(people.project)
    rest = Rest(people.owner)
    for path, component in (
        ("/api/v1/me", "Me"),
        ("/api/v1/teams", "TeamPage"),
        (f"/api/v1/teams/{people.project.team.slug}/members", "MemberPage"),
        ("/api/v1/tokens", "TokenPage"),
        ("/api/v1/projects", "ProjectPage"),
        (people.path, "Project"),
        (f"{people.path}/images", "ImagePage"),
        (f"{people.path}/images/busybox", "ImageDetail"),
        (f"{people.path}/jobs/{job.hex}", "Job"),
        (f"{people.path}/containers?all=true", "ContainerPage"),
        (f"{people.path}/containers/{container.name}", "ContainerDetail"),
    ):
        answer = rest.get(path)
        assert answer.status_code == 200, answer.content
        check(document, component, answer.json())
    check(document, "NodePage", Rest(people.administrator).get("/api/v1/nodes").json())
    check(document, "Problem", rest.get(f"{people.path}/containers/none").json())
    check(document, "IssuedToken", rest.post("/api/v1/tokens", {"name": "x"}).json())
    created = rest.post(f"{people.path}/containers", {"image": "busybox", "env": ["A=b"]})
    check(document, "ContainerDetail", created.json())


def test_the_docs_page_needs_nobody_elses_server(people: People) -> None:
    page = Client().get("/api/v1/docs")
    text = page.content.decode()
    assert page.status_code == 200
    assert "http://" not in text.replace("http://testserver", "")
    assert "https://" not in text
    assert "<script>" not in text
    assert "<style" not in text
    assert " style=" not in text
    assert "default-src 'none'" in page["Content-Security-Policy"]
