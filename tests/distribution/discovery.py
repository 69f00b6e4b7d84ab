"""Content discovery: end-8 and end-12."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.distribution.errors import refused
from tests.registry_client import RegistryClient, Reply, descriptor, digest_of, image_index, image_manifest
from workers.oci.descriptor import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST

NAMES = ["1.0", "_x", "a-b", "a.b", "Alpha", "Beta", "gamma", "x" * 128]
SBOM = "application/vnd.example.sbom.v1"
SIGNATURE = "application/vnd.example.signature.v1+json"
NOBODY = digest_of(b"nobody says anything about this")


def following(reply: Reply) -> str:
    """The address of the next page, empty on the last one."""
    header = reply.headers.get("link", "")
    match = re.fullmatch(r'<(/[^<>]+)>; *rel="next"', header)
    assert match or not header
    return match[1] if match else ""


def tagged(client: RegistryClient, path: str) -> None:
    client.push_blob(path, b"{}")
    for name in sorted(NAMES):
        client.put_manifest(path, name, image_manifest(b"{}"))


def said(client: RegistryClient, path: str, text: bytes) -> dict[str, Any]:
    """Push ``text``, which has a subject; how a list of referrers has it."""
    client.push_blob(path, b"{}")
    client.put_manifest(path, digest_of(text), text)
    body = json.loads(text)
    kind = body.get("artifactType") or body.get("config", {}).get("mediaType")
    found = descriptor(text, body["mediaType"])
    found |= {"artifactType": kind} if kind else {}
    return found | ({"annotations": body["annotations"]} if "annotations" in body else {})


class Discovery:
    def test_end_8a_lists_tags_in_the_order_of_letters(self, client: RegistryClient, path: str) -> None:
        tagged(client, path)
        reply = client.call("GET", f"/v2/{path}/tags/list")
        assert (reply.status, reply.json) == (200, {"name": path, "tags": NAMES})
        assert reply.headers["content-type"] == "application/json"
        assert following(reply) == ""

    def test_end_8a_lists_nothing_where_nothing_is_tagged(
        self, client: RegistryClient, path: str, sibling: str
    ) -> None:
        client.push_blob(path, b"{}")
        assert client.call("GET", f"/v2/{path}/tags/list").json == {"name": path, "tags": []}
        refused(client.call("GET", f"/v2/{sibling}/tags/list"), 404, "NAME_UNKNOWN")

    def test_end_8b_lists_so_many_after_a_tag(self, client: RegistryClient, path: str) -> None:
        tagged(client, path)
        address = f"/v2/{path}/tags/list"
        for count in (1, 3, len(NAMES), 100):
            page = client.call("GET", f"{address}?n={count}")
            assert (page.status, page.json["tags"]) == (200, NAMES[:count])
            assert bool(following(page)) == (count < len(NAMES))
        for position, name in enumerate(NAMES, 1):
            after = client.call("GET", f"{address}?last={name}")
            assert after.json["tags"] == NAMES[position:]
            page = client.call("GET", f"{address}?n=2&last={name}")
            assert page.json["tags"] == NAMES[position : position + 2]
        # A tag that has gone since is as good a place to go on from.
        assert client.call("GET", f"{address}?last=b").json["tags"] == NAMES[5:]

    def test_end_8b_lists_none_if_none_are_wanted(self, client: RegistryClient, path: str) -> None:
        tagged(client, path)
        for query in ("n=0", "n=0&last=a.b"):
            page = client.call("GET", f"/v2/{path}/tags/list?{query}")
            assert (page.status, page.json["tags"], following(page)) == (200, [], "")

    def test_links_lead_through_all_tags(self, client: RegistryClient, path: str) -> None:
        tagged(client, path)
        seen: list[str] = []
        address = f"/v2/{path}/tags/list?n=3"
        while address:
            page = client.call("GET", address)
            seen += page.json["tags"]
            address = following(page)
        assert seen == NAMES

    # ------------------------------------------------------------------- end-12

    def test_end_12a_lists_what_is_said_about_a_manifest(self, client: RegistryClient, path: str) -> None:
        client.push_image(path, "v1", b"layer")
        subject = client.call("GET", f"/v2/{path}/manifests/v1").body
        about = descriptor(subject, OCI_MANIFEST)
        texts = [
            image_manifest(b"{}", subject=about, artifactType=SBOM, annotations={"org.example.a": "ä\n"}),
            image_manifest(b"{}", subject=about, annotations={"b": ""}),
            image_index(subject=about, artifactType=SIGNATURE),
            image_index(subject=about),
        ]
        expected = [said(client, path, text) for text in texts]
        assert [each.get("artifactType") for each in expected] == [SBOM, OCI_CONFIG, SIGNATURE, None]
        reply = client.call("GET", f"/v2/{path}/referrers/{digest_of(subject)}")
        assert (reply.status, reply.headers["content-type"]) == (200, OCI_INDEX)
        assert reply.json == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": expected}
        assert "oci-filters-applied" not in reply.headers

    def test_end_12b_lists_those_of_a_type(self, client: RegistryClient, path: str) -> None:
        about = descriptor(b"subject", OCI_MANIFEST)
        kinds = (SBOM, SIGNATURE, SBOM)
        made = [
            said(
                client,
                path,
                image_manifest(b"{}", subject=about, artifactType=kind, annotations={"n": str(number)}),
            )
            for number, kind in enumerate(kinds)
        ]
        for kind, expected in ((SBOM, [made[0], made[2]]), (SIGNATURE, [made[1]]), ("text/plain", [])):
            query = kind.replace("+", "%2B")
            reply = client.call("GET", f"/v2/{path}/referrers/{digest_of(b'subject')}?artifactType={query}")
            assert (reply.status, reply.json["manifests"]) == (200, expected)
            assert reply.headers["oci-filters-applied"] == "artifactType"

    def test_a_subject_of_sha512_is_as_good(self, client: RegistryClient, path: str) -> None:
        about = descriptor(b"subject", OCI_MANIFEST) | {"digest": digest_of(b"subject", "sha512")}
        made = said(client, path, image_manifest(b"{}", subject=about))
        reply = client.call("GET", f"/v2/{path}/referrers/{about['digest']}")
        assert reply.json["manifests"] == [made]
        other = client.call("GET", f"/v2/{path}/referrers/{digest_of(b'subject')}")
        assert other.json["manifests"] == []

    def test_referrers_are_never_not_found(self, client: RegistryClient, path: str, sibling: str) -> None:
        client.push_blob(path, b"{}")
        nothing = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
        for repository in (path, sibling):  # nobody has pushed to the second
            reply = client.call("GET", f"/v2/{repository}/referrers/{NOBODY}")
            assert (reply.status, reply.headers["content-type"], reply.json) == (200, OCI_INDEX, nothing)
            for bad in ("nonsense", "sha256:abc", "sha256"):
                refused(client.call("GET", f"/v2/{repository}/referrers/{bad}"), 400, "DIGEST_INVALID")

    def test_a_list_of_referrers_is_no_longer_than_a_manifest(
        self, client: RegistryClient, path: str
    ) -> None:
        about = descriptor(b"subject", OCI_MANIFEST)
        filled = [
            json.loads(image_manifest(b"{}", subject=about, annotations={"n": str(n)})) for n in range(7)
        ]
        for body in filled:
            body["annotations"]["filling"] = "Ä" * 700_000
        texts = [json.dumps(body, ensure_ascii=False).encode() for body in filled]
        made = [said(client, path, text) for text in texts]
        seen: list[Any] = []
        address = f"/v2/{path}/referrers/{digest_of(b'subject')}"
        pages = 0
        while address:
            page = client.call("GET", address)
            assert len(page.body) <= 4 << 20
            seen += page.json["manifests"]
            address = following(page)
            pages += 1
        assert (seen == made, pages) == (True, 4)

    def test_the_schema_of_tags_for_referrers_is_left_to_clients(
        self, client: RegistryClient, path: str
    ) -> None:
        """Older ones keep their lists in a tag; it is a tag like another."""
        client.push_blob(path, b"{}")
        name = NOBODY.replace(":", "-")
        assert client.call("GET", f"/v2/{path}/manifests/{name}").status == 404
        index = image_index()
        client.put_manifest(path, name, index)
        assert client.call("GET", f"/v2/{path}/manifests/{name}").body == index
