"""The protocol of ``/v2/``, field by field as the specification has it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest

from slipway.blobs.directory import DirectoryStore
from slipway.projects import ledger
from slipway.projects.models import Project, QuotaLimit, Resource
from slipway.registry.application import Registry
from slipway.registry.desk import Desk
from slipway.registry.pulls import write
from slipway.repositories.documents import MAX_SIZE
from slipway.repositories.models import Blob, Manifest, Repository, Upload
from tests.registry_client import (
    RegistryClient,
    descriptor,
    digest_of,
    image_index,
    image_manifest,
    nothing_else,
)
from workers.oci.descriptor import DOCKER_MANIFEST, OCI_MANIFEST

DATA = b"some bytes of a layer " * 1000
DIGEST = digest_of(DATA)


def files(store: DirectoryStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def held(project: Project) -> int:
    return ledger.used(project.pk).get(Resource.REGISTRY, 0)


# --------------------------------------------------------------------------- blobs


def test_a_blob_is_pushed_with_one_post(client: RegistryClient, path: str) -> None:
    reply = client.call("POST", f"/v2/{path}/blobs/uploads/?digest={DIGEST}", DATA)
    assert (reply.status, reply.headers["location"]) == (201, f"/v2/{path}/blobs/{DIGEST}")
    assert reply.headers["docker-content-digest"] == DIGEST
    pulled = client.call("GET", reply.headers["location"])
    assert (pulled.status, pulled.body) == (200, DATA)
    assert pulled.headers["docker-content-digest"] == DIGEST
    headers = pulled.headers["content-length"], pulled.headers["docker-distribution-api-version"]
    assert headers == (str(len(DATA)), "registry/2.0")


def test_a_blob_is_pushed_with_post_then_put(client: RegistryClient, path: str) -> None:
    begun = client.call("POST", f"/v2/{path}/blobs/uploads/")
    assert (begun.status, begun.headers["range"]) == (202, "0-0")
    done = client.call("PUT", f"{begun.headers['location']}?digest={DIGEST}", DATA)
    assert (done.status, done.headers["location"]) == (201, f"/v2/{path}/blobs/{DIGEST}")
    assert client.call("GET", done.headers["location"]).body == DATA
    assert not Upload.objects.exists()


def test_a_blob_is_pushed_in_chunks_in_order_only(client: RegistryClient, path: str) -> None:
    location = client.call("POST", f"/v2/{path}/blobs/uploads/").headers["location"]
    first = client.call("PATCH", location, DATA[:5000], content_range="0-4999")
    assert (first.status, first.headers["range"]) == (202, "0-4999")
    for wrong in ("0-4999", "6000-6999", "nonsense", "4999-5998"):
        refused = client.call("PATCH", location, DATA[:1000], content_range=wrong)
        assert (refused.status, refused.headers["range"]) == (416, "0-4999")
        assert refused.headers["location"] == location
    state = client.call("GET", location)
    assert (state.status, state.headers["range"], state.body) == (204, "0-4999", b"")
    second = client.call("PATCH", location, DATA[5000:6000], content_range="5000-5999")
    assert second.headers["range"] == "0-5999"
    done = client.call(
        "PUT", f"{location}?digest={DIGEST}", DATA[6000:], content_range=f"6000-{len(DATA) - 1}"
    )
    assert done.status == 201
    assert client.call("GET", f"/v2/{path}/blobs/{DIGEST}").body == DATA


def test_a_chunk_must_be_as_long_as_it_says(client: RegistryClient, path: str) -> None:
    location = client.call("POST", f"/v2/{path}/blobs/uploads/").headers["location"]
    reply = client.call("PATCH", location, DATA[:1000], content_range="0-4999")
    assert (reply.status, reply.code) == (400, "SIZE_INVALID")


def test_a_streamed_chunk_needs_neither_length_nor_range(client: RegistryClient, path: str) -> None:
    location = client.call("POST", f"/v2/{path}/blobs/uploads/").headers["location"]
    streamed = client.call("PATCH", location, [DATA[:7], DATA[7:9000], DATA[9000:]])
    assert (streamed.status, streamed.headers["range"]) == (202, f"0-{len(DATA) - 1}")
    assert client.call("PUT", f"{location}?digest={DIGEST}").status == 201


def test_another_web_process_goes_on_with_an_upload(
    client: RegistryClient, path: str, store: DirectoryStore, registry: Registry
) -> None:
    """It has never seen the bytes before and hashes them anew, as after a kill."""
    location = client.call("POST", f"/v2/{path}/blobs/uploads/").headers["location"]
    client.call("PATCH", location, DATA[:5000])
    other = Registry(nothing_else, Desk(registry.desk.run, store, registry.desk.count_pull))
    client.registry = other
    assert client.call("GET", location).headers["range"] == "0-4999"
    assert client.call("PATCH", location, DATA[5000:]).status == 202
    assert client.call("PUT", f"{location}?digest={DIGEST}").status == 201


def test_a_push_that_broke_off_goes_on_where_it_ended(client: RegistryClient, path: str) -> None:
    location = client.call("POST", f"/v2/{path}/blobs/uploads/").headers["location"]
    client.call("PATCH", location, [DATA[:3000]], breaks_off=True)
    assert client.call("GET", location).headers["range"] == "0-2999"
    assert client.call("PATCH", location, DATA[3000:]).status == 202
    assert client.call("PUT", f"{location}?digest={DIGEST}").status == 201


def test_a_single_post_that_broke_off_leaves_nothing(
    client: RegistryClient, path: str, store: DirectoryStore, project: Project
) -> None:
    client.call("POST", f"/v2/{path}/blobs/uploads/?digest={DIGEST}", [DATA[:3000]], breaks_off=True)
    assert (files(store), Upload.objects.count(), held(project)) == ([], 0, 0)


@pytest.mark.parametrize("chunked", [False, True])
def test_bytes_that_are_not_the_digests_are_refused_and_leave_nothing(
    client: RegistryClient, path: str, store: DirectoryStore, project: Project, chunked: bool
) -> None:
    if chunked:
        location = client.call("POST", f"/v2/{path}/blobs/uploads/").headers["location"]
        client.call("PATCH", location, DATA[:100])
        reply = client.call("PUT", f"{location}?digest={DIGEST}", DATA[101:])
    else:
        reply = client.call("POST", f"/v2/{path}/blobs/uploads/?digest={DIGEST}", DATA[1:])
    assert (reply.status, reply.code) == (400, "DIGEST_INVALID")
    assert reply.json["errors"][0]["detail"]["expected"] == DIGEST
    assert (files(store), Upload.objects.count(), held(project)) == ([], 0, 0)


@pytest.mark.parametrize("digest", ["", "sha256:abc", "md5:" + "0" * 32, "sha256:" + "G" * 64, "../../x"])
def test_what_is_no_digest_is_refused(client: RegistryClient, path: str, digest: str) -> None:
    location = client.call("POST", f"/v2/{path}/blobs/uploads/").headers["location"]
    reply = client.call("PUT", f"{location}?digest={digest}", DATA)
    assert (reply.status, reply.code) == (400, "DIGEST_INVALID")


def test_sha512_is_as_good(client: RegistryClient, path: str) -> None:
    digest = digest_of(DATA, "sha512")
    location = client.call("POST", f"/v2/{path}/blobs/uploads/").headers["location"]
    client.call("PATCH", location, DATA[:700])
    assert client.call("PUT", f"{location}?digest={digest}", DATA[700:]).status == 201
    assert client.call("POST", f"/v2/{path}/blobs/uploads/?digest={digest}", DATA).status == 201
    assert client.call("GET", f"/v2/{path}/blobs/{digest}").body == DATA


def test_an_empty_blob_is_a_blob(client: RegistryClient, path: str) -> None:
    location = client.call("POST", f"/v2/{path}/blobs/uploads/").headers["location"]
    assert client.call("PUT", f"{location}?digest={digest_of(b'')}").status == 201
    reply = client.call("GET", f"/v2/{path}/blobs/{digest_of(b'')}")
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "0")


def test_a_cancelled_upload_is_gone(
    client: RegistryClient, path: str, store: DirectoryStore, project: Project
) -> None:
    location = client.call("POST", f"/v2/{path}/blobs/uploads/").headers["location"]
    client.call("PATCH", location, DATA)
    assert client.call("DELETE", location).status == 204
    for method in ("GET", "PATCH", "DELETE"):
        reply = client.call(method, location)
        assert (reply.status, reply.code) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert (files(store), held(project)) == ([], 0)


def test_head_tells_size_and_digest(client: RegistryClient, path: str) -> None:
    client.push_blob(path, DATA)
    reply = client.call("HEAD", f"/v2/{path}/blobs/{DIGEST}")
    assert (reply.status, reply.headers["content-length"], reply.body) == (200, str(len(DATA)), b"")
    assert reply.headers["docker-content-digest"] == DIGEST
    unknown = client.call("GET", f"/v2/{path}/blobs/{digest_of(b'other')}")
    assert (unknown.status, unknown.code) == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-9", 0, 9), ("bytes=5-", 5, len(DATA) - 1), ("bytes=-7", len(DATA) - 7, len(DATA) - 1)],
)
def test_part_of_a_blob(client: RegistryClient, path: str, asked: str, first: int, last: int) -> None:
    client.push_blob(path, DATA)
    reply = client.call("GET", f"/v2/{path}/blobs/{DIGEST}", range=asked)
    assert (reply.status, reply.body) == (206, DATA[first : last + 1])
    assert reply.headers["content-range"] == f"bytes {first}-{last}/{len(DATA)}"
    stale = client.call("GET", f"/v2/{path}/blobs/{DIGEST}", range=asked, if_range='"other"')
    assert (stale.status, stale.body) == (200, DATA)


def test_a_part_beyond_the_end_is_none(client: RegistryClient, path: str) -> None:
    client.push_blob(path, DATA)
    reply = client.call("GET", f"/v2/{path}/blobs/{DIGEST}", range=f"bytes={len(DATA)}-")
    assert (reply.status, reply.headers["content-range"]) == (416, f"bytes */{len(DATA)}")
    assert client.call("GET", f"/v2/{path}/blobs/{DIGEST}", range="bytes=0-1,4-5").body == DATA


def test_what_the_client_has_is_not_sent_again(client: RegistryClient, path: str) -> None:
    manifest = client.push_image(path, "v1", DATA)
    for address in (f"/v2/{path}/blobs/{DIGEST}", f"/v2/{path}/manifests/v1"):
        tag = client.call("GET", address).headers["etag"]
        reply = client.call("GET", address, if_none_match=f'"other", {tag}')
        assert (reply.status, reply.body) == (304, b"")
    assert manifest


def test_a_blob_is_mounted_from_where_the_caller_may_read(
    client: RegistryClient, stranger: RegistryClient, path: str, project: Project
) -> None:
    client.push_blob(path, DATA)
    reply = client.call("POST", f"/v2/{project.path}/other/blobs/uploads/?mount={DIGEST}&from={path}")
    assert (reply.status, reply.headers["location"]) == (201, f"/v2/{project.path}/other/blobs/{DIGEST}")
    assert client.call("GET", reply.headers["location"]).body == DATA
    theirs = Project.objects.select_related("team").get(slug="mine").path
    for source in (path, f"{project.path}/unheard-of"):
        refused = stranger.call("POST", f"/v2/{theirs}/copy/blobs/uploads/?mount={DIGEST}&from={source}")
        assert refused.status == 202
        assert "uploads" in refused.headers["location"]
    assert stranger.call("HEAD", f"/v2/{theirs}/copy/blobs/{DIGEST}").status == 404


# --------------------------------------------------------------------------- manifests


def test_a_manifest_is_kept_byte_for_byte(client: RegistryClient, path: str, pulls: list[UUID]) -> None:
    config, layer = b"{}", DATA
    client.push_blob(path, config)
    client.push_blob(path, layer)
    odd = image_manifest(config, layer).replace(b", ", b",\n\t  ")
    digest = digest_of(odd)
    reply = client.call("PUT", f"/v2/{path}/manifests/v1", odd, content_type=OCI_MANIFEST)
    assert (reply.status, reply.headers["location"]) == (201, f"/v2/{path}/manifests/{digest}")
    assert reply.headers["docker-content-digest"] == digest
    for reference in ("v1", digest):
        pulled = client.call("GET", f"/v2/{path}/manifests/{reference}")
        assert (pulled.status, pulled.body, pulled.headers["content-type"]) == (200, odd, OCI_MANIFEST)
        head = client.call("HEAD", f"/v2/{path}/manifests/{reference}")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(odd)))
        assert head.headers["docker-content-digest"] == digest
    assert pulls == [Repository.objects.get().pk] * 2


def test_a_push_notes_what_platform_the_image_is_for(client: RegistryClient, path: str) -> None:
    client.push_image(path, "v1", DATA)
    assert Manifest.objects.get().platform == "linux/amd64"
    client.push_image(path, "v2", DATA)
    assert set(Manifest.objects.values_list("platform", flat=True)) == {"linux/amd64"}


def test_dockers_schema_2_and_indexes_are_kept_too(client: RegistryClient, path: str) -> None:
    config = b"{}"
    client.push_blob(path, config)
    docker = image_manifest(config, mediaType=DOCKER_MANIFEST)
    client.put_manifest(path, digest_of(docker), docker)
    index = image_index(
        descriptor(docker, DOCKER_MANIFEST, platform={"os": "linux", "architecture": "arm64"})
    )
    client.put_manifest(path, "multi", index)
    assert client.call("GET", f"/v2/{path}/manifests/multi").body == index


def test_a_manifest_is_refused_while_its_repository_lacks_what_it_names(
    client: RegistryClient, path: str, project: Project
) -> None:
    client.push_blob(f"{project.path}/other", DATA)
    client.push_blob(path, b"{}")
    manifest = image_manifest(b"{}", DATA)
    refused = client.call("PUT", f"/v2/{path}/manifests/v1", manifest, content_type=OCI_MANIFEST)
    assert (refused.status, refused.code) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert refused.json["errors"][0]["detail"] == {"digest": DIGEST}
    index = image_index(descriptor(manifest, OCI_MANIFEST))
    kind = "application/vnd.oci.image.index.v1+json"
    refused = client.call("PUT", f"/v2/{path}/manifests/v1", index, content_type=kind)
    assert (refused.status, refused.code) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert client.call("GET", f"/v2/{path}/manifests/v1").status == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"schemaVersion": 1}',
        b'{"schemaVersion": 2, "layers": []}',
        b'{"schemaVersion": 2, "mediaType": "text/plain"}',
        b'{"schemaVersion": 2, "config": {}, "manifests": [], "layers": []}',
        b'{"schemaVersion": 2, "schemaVersion": 2}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_manifest_is_refused(client: RegistryClient, path: str, body: bytes) -> None:
    reply = client.call("PUT", f"/v2/{path}/manifests/v1", body, content_type=OCI_MANIFEST)
    assert (reply.status, reply.code) == (400, "MANIFEST_INVALID")


def test_a_manifest_has_an_end(client: RegistryClient, path: str) -> None:
    for body in (bytes(MAX_SIZE + 1), [bytes(MAX_SIZE), b"1", b"2"]):
        reply = client.call("PUT", f"/v2/{path}/manifests/v1", body, content_type=OCI_MANIFEST)
        assert (reply.status, reply.code) == (413, "MANIFEST_INVALID")


def test_a_manifest_must_have_the_digest_it_is_put_under(client: RegistryClient, path: str) -> None:
    client.push_blob(path, b"{}")
    wrong = "sha256:" + "0" * 64
    reply = client.call("PUT", f"/v2/{path}/manifests/{wrong}", image_manifest(b"{}"))
    assert (reply.status, reply.code) == (400, "DIGEST_INVALID")


def test_nothing_is_found_where_nothing_is(client: RegistryClient, path: str, project: Project) -> None:
    client.push_image(path, "v1", DATA)
    for reference in ("v2", digest_of(b"other"), ".not-a-tag"):
        for method in ("GET", "HEAD", "DELETE"):
            reply = client.call(method, f"/v2/{path}/manifests/{reference}")
            assert reply.status == 404
    assert client.call("GET", f"/v2/{path}/manifests/v2").code == "MANIFEST_UNKNOWN"
    for address in ("manifests/v1", "tags/list", f"blobs/{DIGEST}"):
        reply = client.call("GET", f"/v2/{project.path}/unheard-of/{address}")
        assert (reply.status, reply.code) == (404, "NAME_UNKNOWN")


def test_tags_and_manifests_are_deleted(client: RegistryClient, path: str) -> None:
    digest = client.push_image(path, "v1", DATA)
    client.call("PUT", f"/v2/{path}/manifests/v2", client.call("GET", f"/v2/{path}/manifests/v1").body)
    assert client.call("DELETE", f"/v2/{path}/manifests/v1").status == 202
    assert client.call("GET", f"/v2/{path}/manifests/v1").status == 404
    assert client.call("DELETE", f"/v2/{path}/blobs/{DIGEST}").code == "UNSUPPORTED"
    assert client.call("DELETE", f"/v2/{path}/manifests/{digest}").status == 202
    for reference in ("v2", digest):
        assert client.call("GET", f"/v2/{path}/manifests/{reference}").status == 404
    assert client.call("DELETE", f"/v2/{path}/blobs/{DIGEST}").status == 404


def test_an_unused_blob_is_deleted(client: RegistryClient, path: str) -> None:
    client.push_blob(path, DATA)
    assert client.call("DELETE", f"/v2/{path}/blobs/{DIGEST}").status == 202
    assert client.call("GET", f"/v2/{path}/blobs/{DIGEST}").status == 404


# --------------------------------------------------------------------------- quota


def limit(project: Project, amount: int) -> None:
    QuotaLimit.objects.create(project=project, resource=Resource.REGISTRY, amount=amount)


def test_over_the_quota_nothing_is_taken(
    client: RegistryClient, path: str, project: Project, store: DirectoryStore
) -> None:
    limit(project, 100_000)
    declared = client.call(
        "POST", f"/v2/{path}/blobs/uploads/?digest={DIGEST}", b"", content_length=str(20 << 30)
    )
    assert (declared.status, declared.code) == (403, "DENIED")
    detail = declared.json["errors"][0]["detail"]
    assert (detail["limit"], detail["asked"], detail["resource"]) == (100_000, 20 << 30, "registry_bytes")
    location = client.call("POST", f"/v2/{path}/blobs/uploads/").headers["location"]
    streamed = client.call("PATCH", location, [bytes(60_000), bytes(60_000)])
    assert (streamed.status, streamed.code) == (403, "DENIED")
    assert (files(store), held(project), Upload.objects.count()) == ([], 0, 0)


def test_bytes_count_once_per_project(client: RegistryClient, path: str, project: Project) -> None:
    client.push_blob(path, DATA)
    client.push_blob(f"{project.path}/other", DATA)
    client.push_blob(path, DATA)
    assert held(project) == len(DATA)
    assert Blob.objects.count() == 1
    client.push_image(path, "v1", DATA)
    manifest = client.call("GET", f"/v2/{path}/manifests/v1").body
    config = Blob.objects.exclude(digest=DIGEST).get()
    assert held(project) == len(DATA) + len(manifest) + config.size


def test_a_large_blob_declared_and_never_sent_costs_nothing(
    client: RegistryClient, path: str, project: Project, store: DirectoryStore
) -> None:
    begun = client.call("POST", f"/v2/{path}/blobs/uploads/")
    client.call("PATCH", begun.headers["location"], breaks_off=True, content_length=str(20 << 30))
    assert (held(project) < 1 << 20, files(store)) == (True, [])


def test_nothing_more_is_read_for_a_client_that_has_gone(
    client: RegistryClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway.registry.application.PIECE", 100)
    client.push_blob(path, DATA)
    reply = client.call("GET", f"/v2/{path}/blobs/{DIGEST}", [b""], breaks_off=True)
    assert len(reply.body) < len(DATA) // 2


def test_pulls_are_counted(client: RegistryClient, path: str) -> None:
    client.push_image(path, "v1", DATA)
    for pulls in (3, 3):
        write(Counter({Repository.objects.get().pk: pulls}))
    assert Repository.objects.exclude(last_pull_at=None).get().pull_count == 6
