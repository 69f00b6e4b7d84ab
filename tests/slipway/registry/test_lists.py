"""Tags, repositories and referrers, a page at a time."""

from __future__ import annotations

import json
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from slipway.projects.models import Project
from slipway.repositories.models import Manifest, Repository, Tag
from slipway.repositories.names import sort_key
from tests.registry_client import RegistryClient, descriptor, digest_of, image_index, image_manifest
from workers.oci.descriptor import OCI_INDEX, OCI_MANIFEST


def following(header: str) -> str:
    match = re.fullmatch(r'<(.+)>; rel="next"', header)
    assert match is not None
    return match[1]


def test_tags_come_in_the_order_of_letters_without_regard_to_case(client: RegistryClient, path: str) -> None:
    client.push_image(path, "beta", b"x")
    manifest = client.call("GET", f"/v2/{path}/manifests/beta").body
    for tag in ("Alpha", "gamma", "1.0", "_x", "Beta", "a-b", "a.b"):
        client.put_manifest(path, tag, manifest)
    tags = client.call("GET", f"/v2/{path}/tags/list").json
    assert tags == {"name": path, "tags": ["1.0", "_x", "a-b", "a.b", "Alpha", "Beta", "beta", "gamma"]}
    page = client.call("GET", f"/v2/{path}/tags/list?n=3&last=a-b")
    assert page.json["tags"] == ["a.b", "Alpha", "Beta"]
    assert client.call("GET", following(page.headers["link"])).json["tags"] == ["beta", "gamma"]
    empty = client.call("GET", f"/v2/{path}/tags/list?n=0")
    assert (empty.json["tags"], "link" in empty.headers) == ([], False)
    assert client.call("GET", f"/v2/{path}/tags/list?last=A.B").json["tags"][0] == "a.b"
    assert len(client.call("GET", f"/v2/{path}/tags/list?n=nonsense").json["tags"]) == 8


def test_ten_thousand_tags_come_in_pages_of_equal_cost(client: RegistryClient, path: str) -> None:
    client.push_image(path, "first", b"x")
    repository, manifest = Repository.objects.get(), Manifest.objects.get()
    names = [f"v{number}" for number in range(10_000)]
    Tag.objects.bulk_create(
        Tag(repository=repository, manifest=manifest, name=name, sort_key=sort_key(name)) for name in names
    )
    seen: list[str] = []
    costs = set()
    address = f"/v2/{path}/tags/list?n=900"
    while address:
        with CaptureQueriesContext(connection) as queries:
            page = client.call("GET", address)
        costs.add(len(queries))
        seen += page.json["tags"]
        address = following(page.headers["link"]) if "link" in page.headers else ""
    assert seen == sorted(["first", *names], key=sort_key)
    assert len(costs) == 1


def test_the_catalog_shows_what_the_caller_sees(
    client: RegistryClient, stranger: RegistryClient, anonymous: RegistryClient, project: Project
) -> None:
    for name in ("a", "b", "c"):
        client.push_image(f"{project.path}/{name}", "v1", b"x")
    paths = [f"{project.path}/{name}" for name in ("a", "b", "c")]
    Repository.objects.filter(path=paths[1]).update(visibility="public")
    assert client.call("GET", "/v2/_catalog").json == {"repositories": paths}
    page = client.call("GET", "/v2/_catalog?n=2")
    assert page.json["repositories"] == paths[:2]
    assert client.call("GET", following(page.headers["link"])).json["repositories"] == paths[2:]
    assert stranger.call("GET", "/v2/_catalog").json["repositories"] == [paths[1]]
    refused = anonymous.call("GET", "/v2/_catalog")
    assert refused.status == 401
    assert 'scope="registry:catalog:*"' in refused.headers["www-authenticate"]
    narrow = client.sign_in(f"repository:{paths[0]}:pull").call("GET", "/v2/_catalog")
    assert narrow.status == 401
    assert 'error="insufficient_scope"' in narrow.headers["www-authenticate"]
    assert client.sign_in("registry:catalog:*").call("GET", "/v2/_catalog").json["repositories"] == paths


SBOM = "application/vnd.example.sbom.v1"


def referrer(client: RegistryClient, path: str, subject: bytes, **more: object) -> bytes:
    client.push_blob(path, b"{}")
    text = image_manifest(b"{}", subject=descriptor(subject, OCI_MANIFEST), **more)
    reply = client.put_manifest(path, digest_of(text), text)
    assert reply.headers["oci-subject"] == digest_of(subject)
    return text


def test_referrers_of_a_manifest(client: RegistryClient, path: str) -> None:
    client.push_image(path, "v1", b"layer")
    subject = client.call("GET", f"/v2/{path}/manifests/v1").body
    one = referrer(client, path, subject, artifactType=SBOM, annotations={"a": "b"})
    two = referrer(client, path, subject)
    index = image_index(subject=descriptor(subject, OCI_MANIFEST))
    client.put_manifest(path, digest_of(index), index)
    reply = client.call("GET", f"/v2/{path}/referrers/{digest_of(subject)}")
    assert (reply.status, reply.headers["content-type"]) == (200, OCI_INDEX)
    assert "oci-filters-applied" not in reply.headers
    assert reply.json == {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {**descriptor(one, OCI_MANIFEST), "artifactType": SBOM, "annotations": {"a": "b"}},
            {**descriptor(two, OCI_MANIFEST), "artifactType": json.loads(two)["config"]["mediaType"]},
            descriptor(index, OCI_INDEX),
        ],
    }
    filtered = client.call("GET", f"/v2/{path}/referrers/{digest_of(subject)}?artifactType={SBOM}")
    assert filtered.headers["oci-filters-applied"] == "artifactType"
    assert [each["digest"] for each in filtered.json["manifests"]] == [digest_of(one)]


def test_a_referrer_may_come_before_its_subject_and_none_is_an_empty_list(
    client: RegistryClient, path: str
) -> None:
    referrer(client, path, b"not there yet")
    assert (
        len(client.call("GET", f"/v2/{path}/referrers/{digest_of(b'not there yet')}").json["manifests"]) == 1
    )
    assert client.call("GET", f"/v2/{path}/referrers/{digest_of(b'other')}").json["manifests"] == []
    reply = client.call("GET", f"/v2/{path}/referrers/nonsense")
    assert (reply.status, reply.code) == (400, "DIGEST_INVALID")


def test_long_lists_of_referrers_have_pages(
    client: RegistryClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.registry.listings.REFERRERS", 2)
    made = [digest_of(referrer(client, path, b"s", annotations={"n": str(n)})) for n in range(5)]
    seen: list[str] = []
    address = f"/v2/{path}/referrers/{digest_of(b's')}?artifactType="
    while address:
        page = client.call("GET", address)
        seen += [each["digest"] for each in page.json["manifests"]]
        address = following(page.headers["link"]) if "link" in page.headers else ""
    assert seen == made
