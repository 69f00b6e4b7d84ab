"""Errors as clients see them, field by field."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from django.test import Client, override_settings
from django.urls import path

from slipway import urls
from slipway.accounts.models import User
from slipway.views import ApiView
from tests.factories import make_container, make_image, make_user
from tests.slipway.api.conftest import Edge, People, Rest


class Broken(ApiView):
    authentication_classes = []
    permission_classes = []

    def get(self, request: Any) -> Any:
        raise RuntimeError("the secret is otter")


class Faulty:
    urlpatterns = [path("api/v1/broken", Broken.as_view()), *urls.urlpatterns]
    handler500 = urls.handler500


def post(people: People, body: bytes | str, kind: str = "application/json") -> dict[str, Any]:
    answer = Rest(people.owner).client.post(f"{people.path}/containers", body, content_type=kind)
    assert answer["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == answer.status_code
    return document


def test_a_problem_document_field_by_field(people: People) -> None:
    answer = Rest(people.owner).get(f"{people.path}/containers/nothing")
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Cache-Control"] == "no-store"
    assert re.fullmatch(r"[0-9a-f]{32}", answer["X-Request-Id"])
    assert answer.json() == {
        "type": "urn:slipway:problem:not-found",
        "title": "Not found",
        "status": 404,
        "detail": "There is no container 'nothing' that you can see.",
        "code": "NOT_FOUND",
        "instance": f"urn:slipway:request:{answer['X-Request-Id']}",
        "request_id": answer["X-Request-Id"],
        "facts": {},
    }


def test_a_proxy_may_choose_the_request_id(people: People) -> None:
    client = Client(headers={"x-request-id": "proxy-0001"})
    assert client.get("/api/v1/me").json()["request_id"] == "proxy-0001"
    forged = client.get("/api/v1/me", headers={"x-request-id": 'a"b\nc'})
    assert re.fullmatch(r"[0-9a-f]{32}", forged.json()["request_id"])


def test_malformed_json_names_line_and_column(people: People) -> None:
    document = post(people, '{\n  "image": "busybox",\n  "name" "x"\n}')
    assert (document["status"], document["code"]) == (400, "BODY_MALFORMED")
    assert document["facts"] == {"line": 3, "column": 10}
    assert "line 3, column 10" in document["detail"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "image: This field is required."),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b'{"image": NaN}', "NaN is no JSON value"),
        (b'{"image": "a", "image": "b"}', "'image' is given twice"),
        (b"[]", "An object was expected, not list"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"limits": {"pids": %s}}' % (b"9" * 5000), "a number in it is too long"),
    ],
)
def test_a_body_that_is_no_request_is_told_why(people: People, body: bytes, words: str) -> None:
    document = post(people, body)
    assert document["status"] == 400
    assert words in document["detail"]


def test_an_unknown_field_is_refused_by_name(people: People) -> None:
    make_image(people.project)
    document = post(people, json.dumps({"image": "busybox", "comand": ["x"], "limits": {"memory": 1}}))
    assert (document["status"], document["code"]) == (400, "VALIDATION_FAILED")
    assert document["errors"][0]["field"] == "comand"
    assert "Known here: image, name, entrypoint, command" in document["errors"][0]["message"]
    document = post(people, json.dumps({"image": "busybox", "limits": {"memory": 1}}))
    assert document["errors"] == [
        {"field": "limits.memory", "message": "No such field. Known here: memory_bytes, cpu_millis, pids."}
    ]


def test_a_wrong_type_is_named_by_its_path(people: People) -> None:
    document = post(people, json.dumps({"image": "busybox", "command": ["a", {"b": 1}], "tty": "perhaps"}))
    assert {each["field"] for each in document["errors"]} == {"command[1]", "tty"}
    assert document["detail"].startswith("command[1]: ")
    assert "and 1 more" in document["detail"]


def test_an_unknown_query_field_is_refused(people: People) -> None:
    answer = Rest(people.owner).get(f"{people.path}/containers", al="true")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "al"


@pytest.mark.parametrize(
    ("change", "code", "status"),
    [
        ({"image": "nothing"}, "IMAGE_UNKNOWN", 404),
        ({"image": "under_/score"}, "REFERENCE_INVALID", 400),
        ({"name": "-"}, "NAME_INVALID", 400),
        ({"name": "taken"}, "NAME_TAKEN", 409),
        ({"env": ["A=" + "x" * (1 << 20)]}, "ENV_TOO_LARGE", 400),
        ({"env": ["novalue"]}, "SPEC_INVALID", 400),
        ({"limits": {"memory_bytes": 1 << 50}}, "LIMIT_TOO_HIGH", 400),
        ({"stop_signal": "SIGNOTHING"}, "SPEC_INVALID", 400),
        ({"user": "0:0:0"}, "SPEC_INVALID", 400),
    ],
)
def test_each_bad_request_has_its_own_code(
    people: People, change: dict[str, Any], code: str, status: int
) -> None:
    make_container(people.project, name="taken", image=make_image(people.project))
    document = post(people, json.dumps({"image": "busybox", **change}))
    assert (document["code"], document["status"]) == (code, status)


def test_other_media_types_are_refused(people: People) -> None:
    document = post(people, "image=busybox", "application/x-www-form-urlencoded")
    assert (document["status"], document["code"]) == (415, "MEDIA_TYPE_UNSUPPORTED")


def test_an_answer_nobody_can_give_is_refused(people: People) -> None:
    answer = Rest(people.owner).client.get("/api/v1/me", headers={"accept": "image/png"})
    assert (answer.status_code, answer.json()["code"]) == (406, "NOT_ACCEPTABLE")


def test_a_method_that_is_not_there_says_which_are(people: People) -> None:
    answer = Rest(people.owner).client.put("/api/v1/teams")
    assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert answer["Allow"] == "GET, POST, HEAD, OPTIONS"


def test_a_path_that_leads_nowhere_is_a_problem_too(people: People) -> None:
    answer = Client().get("/api/v1/nothing/here")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    assert "/api/v1/docs" in answer.json()["detail"]


def test_the_unexpected_is_logged_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with override_settings(ROOT_URLCONF=Faulty):
        answer = Client(raise_request_exception=False).get("/api/v1/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL")
    assert "otter" not in answer.content.decode()
    assert "RuntimeError" not in answer.content.decode()
    record = next(each for each in caplog.records if "request_failed" in str(each.msg))
    assert answer.json()["request_id"] in str(record.msg)


# --------------------------------------------------------------------------- the session


def test_a_session_reads_without_and_writes_only_with_the_csrf_token(people: People) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.get(memberships__team=people.project.team, memberships__role="owner"))
    assert client.get("/api/v1/me").json()["token"] is None
    body = {"slug": "fresh-team"}
    answer = client.post("/api/v1/teams", body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "CSRF_FAILED")
    assert "X-CSRFToken" in answer.json()["detail"]
    page = client.get("/api/v1/docs")
    token = re.search(r'data-csrf="([^"]+)"', page.content.decode())
    assert token is not None
    headers = {"X-CSRFToken": token[1]}
    answer = client.post("/api/v1/teams", body, content_type="application/json", headers=headers)
    assert answer.status_code == 201, answer.content


def test_a_session_of_a_locked_account_is_nobody(db: None) -> None:
    user = make_user()
    client = Client()
    client.force_login(user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert client.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize("text", ["slp_x", "slp_AAAAAAAA_" + "B" * 38, "", "x" * 5000, "slp_é_é"])
def test_what_is_no_token_is_refused(db: None, text: str) -> None:
    header = f"Bearer {text}".encode().decode("latin-1")
    answer = Client().get("/api/v1/me", headers={"authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (401, "TOKEN_INVALID")
    assert answer["WWW-Authenticate"] == (
        'Bearer realm="slipway", error="invalid_token", error_description="TOKEN_INVALID"'
    )


# --------------------------------------------------------------------------- the size of bodies


async def test_a_large_body_is_refused_before_it_is_read(edge: Edge, crowd: People) -> None:
    async def endless() -> Any:
        for _ in range(200):
            yield b" " * 65536

    at = f"{crowd.path}/containers"
    for data in (io.BytesIO(b" " * (5 << 20)), endless()):
        async with edge.request("POST", at, crowd.owner, data=data) as answer:
            document = await answer.json(content_type="application/problem+json")
            assert (answer.status, document["code"]) == (413, "BODY_TOO_LARGE")
            assert document["facts"] == {"limit": 4 << 20}
