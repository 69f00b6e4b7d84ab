"""Input nobody means well with, at every route of ``/v2/``: refused in the specification's words."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from slipway.registry.application import OPERATIONS
from slipway.repositories.models import Manifest
from tests.registry_client import RegistryClient, Reply, descriptor, digest_of, image_index, image_manifest
from tests.slipway.doors.test_hostile import BODIES, PATHS, QUERY_WORDS
from workers.oci.descriptor import OCI_MANIFEST

ADDRESSES = {
    "base": "/v2/",
    "token": "/auth/token",
    "catalog": "/v2/_catalog",
    "tags": "/v2/{name}/tags/list",
    "referrers": "/v2/{name}/referrers/{argument}",
    "manifest": "/v2/{name}/manifests/{argument}",
    "blob": "/v2/{name}/blobs/{argument}",
    "upload-start": "/v2/{name}/blobs/uploads/",
    "upload": "/v2/{name}/blobs/uploads/{argument}",
}
QUERY = ("n", "last", "after", "artifactType", "digest", "digest-algorithm", "mount", "from")
TOKEN_QUERY = ("scope", "service", "account", "offline_token", "client_id")
DOORS = sorted(OPERATIONS)
DATA = b"layer"


@pytest.fixture
def pushed(client: RegistryClient, path: str) -> str:
    return client.push_image(path, "v1", DATA)


def well(reply: Reply) -> None:
    """Answered, and if with an error then with one of the specification's."""
    assert reply.status < 500, reply
    if reply.status >= 400 and reply.body:
        assert reply.json["errors"][0]["message"]


def address_of(route: str, path: str) -> str:
    return ADDRESSES[route].format(name=path, argument=digest_of(DATA) if route != "upload" else "0" * 32)


def test_every_route_is_here() -> None:
    assert ADDRESSES.keys() == {route for route, _ in OPERATIONS}


@pytest.mark.parametrize(("route", "method"), DOORS)
def test_no_address_is_too_strange(
    client: RegistryClient, path: str, pushed: str, route: str, method: str
) -> None:
    for word in PATHS:
        for name, argument in ((f"{path}{word}", "v1"), (path, word), (path, f"sha256:{word}")):
            well(client.call(method, ADDRESSES[route].format(name=name, argument=argument)))


@pytest.mark.parametrize(("route", "method"), DOORS)
def test_no_query_is_too_strange(
    client: RegistryClient, path: str, pushed: str, route: str, method: str
) -> None:
    address = address_of(route, path)
    names = TOKEN_QUERY if route == "token" else QUERY
    for word in (*QUERY_WORDS, "a%00b", f"repository:{quote(path)}%00x:pull"):
        well(client.call(method, f"{address}?" + "&".join(f"{name}={word}" for name in names)))
        for name in names:
            well(client.call(method, f"{address}?{name}={word}"))
    mounting = f"{address}?mount={digest_of(DATA)}&from=a%00b"
    well(client.call(method, mounting))


@pytest.mark.parametrize(("route", "method"), [each for each in DOORS if each[1] in ("POST", "PUT", "PATCH")])
def test_no_body_is_too_strange(
    client: RegistryClient, path: str, pushed: str, route: str, method: str
) -> None:
    for body in BODIES.values():
        well(client.call(method, address_of(route, path).replace(digest_of(DATA), "v2"), body))


PAIRS = ["do\0ra:x", "dora:\0", "\0:\0", ":", "x" * 5000 + ":y", "\ud800:x"]


@pytest.mark.parametrize("pair", PAIRS, ids=range(len(PAIRS)))
def test_no_name_or_password_is_too_strange(anonymous: RegistryClient, pair: str) -> None:
    written = b64encode(pair.encode("utf-8", "surrogatepass")).decode()
    for address in ("/v2/", "/auth/token"):
        well(anonymous.call("GET", address, authorization=f"Basic {written}"))
    name, _, password = pair.encode("utf-8", "surrogatepass").partition(b":")
    form = f"grant_type=password&service=x&username={quote(name)}&password={quote(password)}"
    well(anonymous.call("POST", "/auth/token", form.encode()))


def odd_manifests() -> Iterator[tuple[str, bytes]]:
    def image(**more: Any) -> bytes:
        return image_manifest(b"{}", DATA, **more)

    yield "a long artifact type", image(artifactType="application/" + "x" * 244)
    yield "NUL in an artifact type", image(artifactType="a\0b")
    yield "NUL in an annotation", image(annotations={"a": "b\0c"})
    yield "NUL in the name of one", image(annotations={"a\0": "b"})
    inner = {**descriptor(image(), OCI_MANIFEST), "platform": {"os": "lin\0ux", "architecture": "amd64"}}
    yield "NUL in a platform", image_index(inner)


@pytest.mark.parametrize(
    ("what", "text"), list(odd_manifests()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_cannot_be_kept_is_an_invalid_manifest(
    client: RegistryClient, path: str, what: str, text: bytes
) -> None:
    for data in (b"{}", DATA):
        client.push_blob(path, data)
    client.put_manifest(path, "plain", image_manifest(b"{}", DATA))
    kind = json.loads(text)["mediaType"]
    reply = client.call("PUT", f"/v2/{path}/manifests/odd", text, content_type=kind)
    assert (reply.status, reply.code) == (400, "MANIFEST_INVALID"), what
    assert Manifest.objects.count() == 1


def test_what_only_looks_like_it_is_kept(client: RegistryClient, path: str) -> None:
    for data in (b"{}", DATA):
        client.push_blob(path, data)
    notes = {"a": "\\u0000", "long": "x" * 5000, "other": "\u00e9\u202e"}
    text = image_manifest(b"{}", DATA, artifactType="application/" + "x" * 243, annotations=notes)
    digest = client.put_manifest(path, "v1", text).headers["docker-content-digest"]
    assert Manifest.objects.get(digest=digest).annotations == notes
