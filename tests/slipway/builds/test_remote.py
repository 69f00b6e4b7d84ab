"""Contexts by an address: which is a repository, and what may go with a file."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.builds import services
from slipway.builds.bodies import BuildBody, request_of, source_of
from slipway.builds.errors import InvalidBuild
from slipway.builds.requests import BuildRequest
from slipway.errors import InvalidFields
from slipway.views import validated
from tests.roads import RecordingRoad
from tests.slipway.builds.acting import CANARY, begin, create, sent, succeed, world
from workers.messages import BuildSource

ARCHIVE = "https://files.example.org/web-1.2.tar.gz?key=1"


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"remote": "https://h.example/a.git"}, "git"),
        ({"remote": "https://h.example/a#main:sub"}, "git"),
        ({"remote": "https://h.example/a", "ref": "main"}, "git"),
        ({"remote": "https://h.example/a", "subdirectory": "sub"}, "git"),
        ({"remote": "https://github.com/acme/web"}, "git"),
        ({"remote": "github.com/acme/web"}, "git"),
        ({"remote": "https://github.com/acme/web/archive/v1.tar.gz"}, "url"),
        ({"remote": "https://h.example/a.git.tar"}, "url"),
        ({"remote": ARCHIVE}, "url"),
        ({"remote": "http://h.example/Dockerfile"}, "url"),
        ({}, "none"),
    ],
)
def test_an_address_says_what_it_is(asked: dict[str, Any], kind: str) -> None:
    assert source_of(validated(BuildBody, asked)).kind == kind


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(InvalidFields):
        source_of(validated(BuildBody, {"remote": "ftp://h.example/a.tar"}))


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "https://me:pw@h.example/a.tar"},
        {"url": ARCHIVE, "username": "me", "password": "pw"},
        {"url": ARCHIVE, "ref": "main"},
        {"url": "https:///a.tar"},
        {"url": "file:///a.tar"},
        {"url": f"https://h.example/{'a' * 2000}"},
        {"url": "https://h.example/a\n.tar"},
        {},
    ],
)
def test_what_goes_with_a_repository_only_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidBuild):
        BuildRequest(source=BuildSource(kind="url", **fields)).checked()


@pytest.mark.django_db
def test_the_node_is_told_the_address_and_a_retry_asks_it_again(road: RecordingRoad) -> None:
    who = world()
    body = validated(BuildBody, {"remote": ARCHIVE, "secrets": {"s": CANARY}})
    build = create(road, who, request_of(body, source_of(body)))
    assert (build.source_kind, build.source, build.title) == ("url", {"url": ARCHIVE}, "web-1.2.tar.gz")
    succeed(begin(build))
    build.refresh_from_db()
    build.job.refresh_from_db()
    assert services.may_retry(build)
    services.retry(who[0], build, secrets={"s": CANARY})
    road.commit()
    assert [(each.source.kind, each.source.url) for each in sent(road)] == [("url", ARCHIVE)] * 2
