"""Pull: end-1 to end-3."""

from __future__ import annotations

import json

import pytest

from tests.distribution.errors import absent, refused
from tests.registry_client import (
    RegistryClient,
    descriptor,
    digest_of,
    image_index,
    image_manifest,
)
from workers.oci.descriptor import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

DATA = bytes(range(256)) * 8
SIZE = len(DATA)
NOWHERE = digest_of(b"nobody has pushed this")


class Pull:
    def test_end_1_says_that_this_is_a_registry(self, client: RegistryClient) -> None:
        for address in ("/v2/", "/v2"):
            assert client.call("GET", address).status == 200
        head = client.call("HEAD", "/v2/")
        assert (head.status, head.body) == (200, b"")

    def test_end_1_asks_who_is_not_signed_in_to_sign_in(self, client: RegistryClient) -> None:
        reply = refused(client.nobody().call("GET", "/v2/"), 401, "UNAUTHORIZED")
        challenge = reply.headers["www-authenticate"]
        assert challenge.startswith('Bearer realm="http')

    # ------------------------------------------------------------------- end-2

    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    @pytest.mark.parametrize("data", [DATA, b"", b"{}"])
    def test_end_2_gives_a_blob(self, client: RegistryClient, path: str, data: bytes, algorithm: str) -> None:
        digest = digest_of(data, algorithm)
        location = client.call("POST", f"/v2/{path}/blobs/uploads/").headers["location"]
        assert client.call("PUT", f"{location}?digest={digest}", data).status == 201
        reply = client.call("GET", f"/v2/{path}/blobs/{digest}")
        assert (reply.status, reply.body) == (200, data)
        head = client.call("HEAD", f"/v2/{path}/blobs/{digest}")
        assert (head.status, head.body) == (200, b"")
        for answer in (reply, head):
            assert answer.headers["docker-content-digest"] == digest
            assert answer.headers["content-length"] == str(len(data))

    def test_end_2_knows_no_other_blob(self, client: RegistryClient, path: str, sibling: str) -> None:
        client.push_blob(path, DATA)
        refused(client.call("GET", f"/v2/{path}/blobs/{NOWHERE}"), 404, "BLOB_UNKNOWN")
        absent(client.call("HEAD", f"/v2/{path}/blobs/{NOWHERE}"))
        refused(client.call("GET", f"/v2/{path}/blobs/sha256:bad"), 400, "DIGEST_INVALID")
        client.push_blob(sibling, b"a blob of another repository")
        other = digest_of(b"a blob of another repository")
        refused(client.call("GET", f"/v2/{path}/blobs/{other}"), 404, "BLOB_UNKNOWN")

    @pytest.mark.parametrize(
        ("asked", "first", "last"),
        [
            ("bytes=500-1499", 500, 1499),
            ("bytes=500-", 500, SIZE - 1),
            ("bytes=-500", SIZE - 500, SIZE - 1),
            ("bytes=2000-5000", 2000, SIZE - 1),
            ("bytes=0-0", 0, 0),
        ],
    )
    def test_end_2_gives_a_part(
        self, client: RegistryClient, path: str, asked: str, first: int, last: int
    ) -> None:
        digest = client.push_blob(path, DATA)
        reply = client.call("GET", f"/v2/{path}/blobs/{digest}", range=asked)
        assert (reply.status, reply.body) == (206, DATA[first : last + 1])
        assert reply.headers["content-length"] == str(last - first + 1)
        assert reply.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"

    @pytest.mark.parametrize("asked", ["bytes=5000-10000", f"bytes={SIZE}-", "bytes=-0", "bytes=500-0"])
    def test_end_2_has_no_part_beyond_the_end(self, client: RegistryClient, path: str, asked: str) -> None:
        digest = client.push_blob(path, DATA)
        reply = client.call("GET", f"/v2/{path}/blobs/{digest}", range=asked)
        assert (reply.status, reply.headers["content-range"]) == (416, f"bytes */{SIZE}")

    @pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "lines=1-2", "bytes=a-b"])
    def test_end_2_gives_the_whole_where_no_one_part_is_asked_for(
        self, client: RegistryClient, path: str, asked: str
    ) -> None:
        digest = client.push_blob(path, DATA)
        reply = client.call("GET", f"/v2/{path}/blobs/{digest}", range=asked)
        assert (reply.status, reply.body) == (200, DATA)

    def test_end_2_sends_nothing_that_the_client_has(self, client: RegistryClient, path: str) -> None:
        digest = client.push_blob(path, DATA)
        tag = client.call("GET", f"/v2/{path}/blobs/{digest}").headers["etag"]
        reply = client.call("GET", f"/v2/{path}/blobs/{digest}", if_none_match=tag)
        assert (reply.status, reply.body) == (304, b"")
        part = client.call("GET", f"/v2/{path}/blobs/{digest}", range="bytes=0-9", if_range=tag)
        assert (part.status, part.body) == (206, DATA[:10])

    # ------------------------------------------------------------------- end-3

    @pytest.mark.parametrize("kind", [OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX])
    def test_end_3_gives_a_manifest_by_tag_and_digest(
        self, client: RegistryClient, path: str, kind: str
    ) -> None:
        client.push_blob(path, b"{}")
        inner = image_manifest(b"{}", mediaType=OCI_MANIFEST if kind == OCI_INDEX else kind)
        client.put_manifest(path, digest_of(inner), inner)
        text = image_index(descriptor(inner, OCI_MANIFEST)) if kind == OCI_INDEX else inner
        client.put_manifest(path, "v1", text)
        for reference in ("v1", digest_of(text)):
            address = f"/v2/{path}/manifests/{reference}"
            reply = client.call("GET", address, accept=kind)
            head = client.call("HEAD", address, accept=kind)
            assert (reply.status, reply.body) == (200, text)
            assert (head.status, head.body) == (200, b"")
            for answer in (reply, head):
                assert answer.headers["content-type"] == kind
                assert answer.headers["content-length"] == str(len(text))
                assert answer.headers["docker-content-digest"] == digest_of(text)

    def test_end_3_knows_no_other_manifest(self, client: RegistryClient, path: str) -> None:
        client.push_image(path, "v1", DATA)
        for reference in ("v2", NOWHERE, "x" * 128):
            refused(client.call("GET", f"/v2/{path}/manifests/{reference}"), 404, "MANIFEST_UNKNOWN")
            absent(client.call("HEAD", f"/v2/{path}/manifests/{reference}"))
        for reference in (".v1", "x" * 129, "v1+2"):  # of what is no tag there is none
            refused(client.call("GET", f"/v2/{path}/manifests/{reference}"), 404, "MANIFEST_UNKNOWN")
        refused(client.call("GET", f"/v2/{path}/manifests/sha256:bad"), 400, "DIGEST_INVALID")

    def test_a_repository_nobody_pushed_to_is_unknown(self, client: RegistryClient, path: str) -> None:
        for address in ("manifests/v1", f"manifests/{NOWHERE}", f"blobs/{NOWHERE}"):
            refused(client.call("GET", f"/v2/{path}/{address}"), 404, "NAME_UNKNOWN")
            absent(client.call("HEAD", f"/v2/{path}/{address}"))

    @pytest.mark.parametrize(
        "name", ["UPPER/case/x", "a/b/c_", "a/b/-c", "a/b/c..d", "one", "a/b", "%2e%2e/b/c"]
    )
    def test_what_is_no_name_is_unknown(self, client: RegistryClient, name: str) -> None:
        refused(client.call("GET", f"/v2/{name}/manifests/v1"), 404, "NAME_UNKNOWN")

    def test_what_is_not_done_is_said_with_what_is(self, client: RegistryClient, path: str) -> None:
        digest = client.push_blob(path, DATA)
        for address, allowed in (
            ("/v2/", {"GET", "HEAD"}),
            (f"/v2/{path}/blobs/{digest}", {"GET", "HEAD", "DELETE"}),
            (f"/v2/{path}/manifests/v1", {"GET", "HEAD", "PUT", "DELETE"}),
            (f"/v2/{path}/tags/list", {"GET"}),
        ):
            reply = refused(client.call("POST", address), 405, "UNSUPPORTED")
            assert {each.strip() for each in reply.headers["allow"].split(",")} == allowed

    def test_errors_are_json_whatever_was_asked_for(self, client: RegistryClient, path: str) -> None:
        reply = client.call("GET", f"/v2/{path}/manifests/v1", accept="text/html")
        assert json.loads(refused(reply, 404, "NAME_UNKNOWN").body)
