"""Content management: end-9 and end-10."""

from __future__ import annotations

from tests.distribution.errors import absent, refused
from tests.registry_client import RegistryClient, descriptor, digest_of, image_index, image_manifest
from workers.oci.descriptor import OCI_MANIFEST

LAYER = b"a layer " * 100
NOWHERE = digest_of(b"nobody has pushed this")


class Management:
    def test_end_9_deletes_a_tag_and_no_more(self, client: RegistryClient, path: str) -> None:
        digest = client.push_image(path, "v1", LAYER)
        client.put_manifest(path, "v2", client.call("GET", f"/v2/{path}/manifests/v1").body)
        reply = client.call("DELETE", f"/v2/{path}/manifests/v1")
        assert (reply.status, reply.body) == (202, b"")
        refused(client.call("GET", f"/v2/{path}/manifests/v1"), 404, "MANIFEST_UNKNOWN")
        absent(client.call("HEAD", f"/v2/{path}/manifests/v1"))
        assert client.call("GET", f"/v2/{path}/tags/list").json["tags"] == ["v2"]
        for reference in ("v2", digest):
            assert client.call("GET", f"/v2/{path}/manifests/{reference}").status == 200
        assert client.call("DELETE", f"/v2/{path}/manifests/v2").status == 202
        assert client.call("GET", f"/v2/{path}/manifests/{digest}").status == 200

    def test_end_9_deletes_a_manifest_with_its_tags(self, client: RegistryClient, path: str) -> None:
        digest = client.push_image(path, "v1", LAYER)
        client.put_manifest(path, "v2", client.call("GET", f"/v2/{path}/manifests/v1").body)
        reply = client.call("DELETE", f"/v2/{path}/manifests/{digest}")
        assert (reply.status, reply.body) == (202, b"")
        for reference in ("v1", "v2", digest):
            refused(client.call("GET", f"/v2/{path}/manifests/{reference}"), 404, "MANIFEST_UNKNOWN")
            absent(client.call("HEAD", f"/v2/{path}/manifests/{reference}"))
        assert client.call("GET", f"/v2/{path}/tags/list").json["tags"] == []

    def test_end_9_deletes_indexes_and_manifests_of_sha512(self, client: RegistryClient, path: str) -> None:
        client.push_blob(path, b"{}")
        for text in (image_manifest(b"{}"), image_index()):
            digest = digest_of(text, "sha512")
            client.put_manifest(path, digest, text)
            assert client.call("DELETE", f"/v2/{path}/manifests/{digest}").status == 202
            assert client.call("GET", f"/v2/{path}/manifests/{digest}").status == 404

    def test_end_9_deletes_nothing_that_is_not_there(self, client: RegistryClient, path: str) -> None:
        refused(client.call("DELETE", f"/v2/{path}/manifests/{NOWHERE}"), 404, "NAME_UNKNOWN")
        refused(client.call("DELETE", f"/v2/{path}/manifests/v1"), 404, "NAME_UNKNOWN")
        client.push_image(path, "v1", LAYER)
        for reference in (NOWHERE, "v2", ".v2"):
            refused(client.call("DELETE", f"/v2/{path}/manifests/{reference}"), 404, "MANIFEST_UNKNOWN")
        refused(client.call("DELETE", f"/v2/{path}/manifests/sha256:bad"), 400, "DIGEST_INVALID")
        assert client.call("GET", f"/v2/{path}/manifests/v1").status == 200

    def test_a_deleted_manifest_is_pushed_again(self, client: RegistryClient, path: str) -> None:
        digest = client.push_image(path, "v1", LAYER)
        assert client.call("DELETE", f"/v2/{path}/manifests/{digest}").status == 202
        assert client.push_image(path, "v1", LAYER) == digest
        assert client.call("GET", f"/v2/{path}/manifests/v1").status == 200

    def test_what_is_deleted_says_nothing_about_its_subject_any_more(
        self, client: RegistryClient, path: str
    ) -> None:
        client.push_blob(path, b"{}")
        text = image_manifest(b"{}", subject=descriptor(b"subject", OCI_MANIFEST))
        address = f"/v2/{path}/referrers/{digest_of(b'subject')}"
        client.put_manifest(path, digest_of(text), text)
        assert len(client.call("GET", address).json["manifests"]) == 1
        assert client.call("DELETE", f"/v2/{path}/manifests/{digest_of(text)}").status == 202
        assert client.call("GET", address).json["manifests"] == []

    def test_end_10_deletes_a_blob(self, client: RegistryClient, path: str, sibling: str) -> None:
        for algorithm in ("sha256", "sha512"):
            digest = digest_of(LAYER, algorithm)
            for repository in (path, sibling):
                address = f"/v2/{repository}/blobs/uploads/?digest={digest}"
                assert client.call("POST", address, LAYER).status == 201
            reply = client.call("DELETE", f"/v2/{path}/blobs/{digest}")
            assert (reply.status, reply.body) == (202, b"")
            refused(client.call("GET", f"/v2/{path}/blobs/{digest}"), 404, "BLOB_UNKNOWN")
            absent(client.call("HEAD", f"/v2/{path}/blobs/{digest}"))
            refused(client.call("DELETE", f"/v2/{path}/blobs/{digest}"), 404, "BLOB_UNKNOWN")
            assert client.call("GET", f"/v2/{sibling}/blobs/{digest}").body == LAYER

    def test_end_10_deletes_no_blob_that_a_manifest_names(self, client: RegistryClient, path: str) -> None:
        client.push_image(path, "v1", LAYER)
        address = f"/v2/{path}/blobs/{digest_of(LAYER)}"
        assert "GET" in refused(client.call("DELETE", address), 405, "UNSUPPORTED").headers["allow"]
        assert client.call("GET", address).body == LAYER

    def test_end_10_deletes_nothing_that_is_not_there(self, client: RegistryClient, path: str) -> None:
        refused(client.call("DELETE", f"/v2/{path}/blobs/{NOWHERE}"), 404, "NAME_UNKNOWN")
        client.push_blob(path, LAYER)
        refused(client.call("DELETE", f"/v2/{path}/blobs/{NOWHERE}"), 404, "BLOB_UNKNOWN")
        refused(client.call("DELETE", f"/v2/{path}/blobs/sha256:bad"), 400, "DIGEST_INVALID")
