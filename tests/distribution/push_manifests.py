"""Push, the manifests: end-7."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from tests.distribution.errors import absent, refused
from tests.registry_client import (
    RegistryClient,
    descriptor,
    digest_of,
    image_index,
    image_manifest,
)
from workers.oci.descriptor import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

LAYER = b"a layer " * 100
EMPTY = "application/vnd.oci.empty.v1+json"
THING = "application/vnd.example.thing.v1"
LARGEST = 4 << 20
AWAY = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


def large(size: int) -> bytes:
    """An image's manifest of so many bytes."""
    text = image_manifest(b"{}", annotations={"filling": ""})
    return text.replace(b'"filling": ""', b'"filling": "' + b"A" * (size - len(text)) + b'"')


def artifact(**more: Any) -> bytes:
    body: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": THING,
        "config": {**descriptor(b"{}", EMPTY), "data": b64encode(b"{}").decode()},
        "layers": [descriptor(b"{}", EMPTY)],
    }
    return json.dumps(body | more).encode()


ELSEWHERE = {
    "mediaType": AWAY,
    "digest": digest_of(b"elsewhere"),
    "size": 9,
    "urls": ["https://store.example.com/layer"],
}
KINDS: dict[str, bytes] = {
    "image": image_manifest(b"{}", LAYER),
    "odd spaces": image_manifest(b"{}", LAYER).replace(b", ", b",\n\t  "),
    "docker": image_manifest(b"{}", LAYER, mediaType=DOCKER_MANIFEST),
    "no layers": image_manifest(b"{}"),
    "a layer twice": image_manifest(b"{}", LAYER, LAYER),
    "artifact": artifact(),
    "artifact of a layer": artifact(layers=[descriptor(LAYER, THING)]),
    "fields of their own": image_manifest(b"{}", LAYER, **{"org.example.field": {"a": [1, None]}}),
    "layers elsewhere": artifact(layers=[ELSEWHERE, descriptor(LAYER, THING)]),
    "empty index": image_index(),
    "index of artifacts": image_index(artifactType=THING),
    "docker index": image_index(mediaType=DOCKER_INDEX),
    "large": large(LARGEST),
}


@pytest.fixture
def stocked(client: RegistryClient, path: str) -> str:
    """A repository with blobs, and no manifest."""
    for data in (b"{}", LAYER):
        client.push_blob(path, data)
    return path


class PushManifests:
    @pytest.mark.parametrize("kind", KINDS)
    def test_end_7_keeps_every_kind_byte_for_byte(
        self, client: RegistryClient, stocked: str, kind: str
    ) -> None:
        text = KINDS[kind]
        for reference in ("v1", digest_of(text), digest_of(text, "sha512")):
            reply = client.put_manifest(stocked, reference, text)
            digest = reference if ":" in reference else digest_of(text)
            assert reply.headers["docker-content-digest"] == digest
            pulled = client.call("GET", reply.headers["location"])
            assert (pulled.status, pulled.body) == (200, text)
            assert pulled.headers["content-type"] == json.loads(text)["mediaType"]
            assert client.call("GET", f"/v2/{stocked}/manifests/{reference}").body == text

    def test_end_7_keeps_indexes_of_images_and_of_indexes(self, client: RegistryClient, stocked: str) -> None:
        images = [KINDS["image"], KINDS["docker"]]
        for image in images:
            client.put_manifest(stocked, digest_of(image), image)
        kinds = (OCI_MANIFEST, DOCKER_MANIFEST)
        platforms = ({"os": "linux", "architecture": each} for each in ("amd64", "arm64"))
        entries = [
            descriptor(image, kind, platform=platform)
            for image, kind, platform in zip(images, kinds, platforms, strict=True)
        ]
        index = image_index(*entries)
        client.put_manifest(stocked, digest_of(index), index)
        nested = image_index(descriptor(index, OCI_INDEX))
        client.put_manifest(stocked, "nested", nested)
        assert client.call("GET", f"/v2/{stocked}/manifests/nested").body == nested

    def test_a_tag_moves(self, client: RegistryClient, stocked: str) -> None:
        for kind in ("image", "artifact"):
            client.put_manifest(stocked, "v1", KINDS[kind])
            assert client.call("GET", f"/v2/{stocked}/manifests/v1").body == KINDS[kind]
        assert client.call("GET", f"/v2/{stocked}/manifests/{digest_of(KINDS['image'])}").status == 200

    @pytest.mark.parametrize(
        "given", [f"{OCI_MANIFEST}; charset=utf-8", OCI_MANIFEST.upper(), "", "application/json"]
    )
    def test_parameters_of_the_content_type_say_nothing(
        self, client: RegistryClient, stocked: str, given: str
    ) -> None:
        address = f"/v2/{stocked}/manifests/v1"
        assert client.call("PUT", address, KINDS["image"], content_type=given).status == 201
        assert client.call("HEAD", address).headers["content-type"] == OCI_MANIFEST

    def test_a_manifest_may_leave_its_media_type_to_the_content_type(
        self, client: RegistryClient, stocked: str
    ) -> None:
        body = json.loads(KINDS["image"])
        del body["mediaType"]
        for kind in (OCI_MANIFEST, DOCKER_MANIFEST):
            text = json.dumps(body | {"annotations": {"of": kind}}).encode()
            address = f"/v2/{stocked}/manifests/v1"
            assert client.call("PUT", address, text, content_type=kind).status == 201
            assert client.call("HEAD", address).headers["content-type"] == kind

    @pytest.mark.parametrize("streamed", [False, True])
    def test_a_manifest_has_an_end(self, client: RegistryClient, stocked: str, streamed: bool) -> None:
        text = large(LARGEST + 1)
        body = [text[:1000], text[1000:]] if streamed else text
        reply = client.call("PUT", f"/v2/{stocked}/manifests/v1", body, content_type=OCI_MANIFEST)
        refused(reply, 413, "MANIFEST_INVALID")
        absent(client.call("HEAD", f"/v2/{stocked}/manifests/v1"))

    @pytest.mark.parametrize(
        "text",
        [
            image_manifest(b"no such config", LAYER),
            image_manifest(b"{}", LAYER, b"no such layer"),
            image_index(descriptor(b"no such manifest", OCI_MANIFEST)),
        ],
    )
    def test_what_names_what_is_not_here_is_refused(
        self, client: RegistryClient, stocked: str, text: bytes
    ) -> None:
        kind = json.loads(text)["mediaType"]
        reply = client.call("PUT", f"/v2/{stocked}/manifests/v1", text, content_type=kind)
        refused(reply, 404, "MANIFEST_BLOB_UNKNOWN")
        absent(client.call("HEAD", f"/v2/{stocked}/manifests/v1"))

    @pytest.mark.parametrize(
        "text", [b"", b"[]", b"{", b'{"schemaVersion": 1}', b'{"schemaVersion": 2, "layers": []}', b"\xff"]
    )
    def test_what_is_no_manifest_is_refused(self, client: RegistryClient, stocked: str, text: bytes) -> None:
        reply = client.call("PUT", f"/v2/{stocked}/manifests/v1", text, content_type=OCI_MANIFEST)
        refused(reply, 400, "MANIFEST_INVALID")

    def test_a_manifest_has_the_digest_it_is_put_under(self, client: RegistryClient, stocked: str) -> None:
        text = KINDS["image"]
        for reference in (digest_of(text + b"  "), digest_of(b"x", "sha512"), "sha256:baddigeststring"):
            address = f"/v2/{stocked}/manifests/{reference}"
            reply = client.call("PUT", address, text, content_type=OCI_MANIFEST)
            refused(reply, 400, "DIGEST_INVALID")
            assert client.call("GET", address).status in (400, 404)

    @pytest.mark.parametrize("tag", [".v1", "-v1", "x" * 129, "v1+2"])
    def test_what_is_no_tag_is_refused(self, client: RegistryClient, stocked: str, tag: str) -> None:
        address = f"/v2/{stocked}/manifests/{tag}"
        reply = client.call("PUT", address, KINDS["image"], content_type=OCI_MANIFEST)
        refused(reply, 400, "MANIFEST_INVALID")

    @pytest.mark.parametrize("kind", ["image", "index"])
    def test_a_subject_is_taken_note_of_before_it_is_there(
        self, client: RegistryClient, stocked: str, kind: str
    ) -> None:
        subject = descriptor(b"not here yet", OCI_MANIFEST)
        text = artifact(subject=subject) if kind == "image" else image_index(subject=subject)
        reply = client.put_manifest(stocked, digest_of(text), text)
        assert reply.headers["oci-subject"] == subject["digest"]
        assert "oci-subject" not in client.put_manifest(stocked, "v1", KINDS["image"]).headers
